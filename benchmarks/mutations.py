"""Do the tests notice a mistake? Changes one random place of the code at a time and runs the tests of its folder.

    python benchmarks/mutations.py                                      # 3 mutations per folder, about an hour of one core
    python benchmarks/mutations.py --rooms sensing roles --count 10 --seed 4 --json runs/mutations.json

All happens in a copy of the tree in a temporary folder. A mutation is *caught* where some test fails or hangs. Each line
names the file, the line, and what was replaced by what; one that survives is a gap in the tests, or equivalent: no input
tells it from the original (a longer cache, a line that is printed). Which of both it is, the reader decides. Never mutated:
annotations, error messages, texts, and axes of arrays, whose mistakes the shape checks find. The table at the end has one
line per folder. Exit code 1 if any mutation survived.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("isac_torch", "datasets", "trainers", "tests", "configs", "docs", "benchmarks", "examples", "pyproject.toml")
ROOMS = {
    "propagation": "isac_torch/propagation: tests/propagation tests/tracking/test_drop.py",
    "tracking": "isac_torch/tracking: tests/tracking tests/nn",
    "sensing": "isac_torch/sensing: tests/sensing tests/tracking/test_sensing.py",
    "downlink_pilots": "isac_torch/downlink_pilots: tests/downlink_pilots tests/allocators/test_pilot_allocators.py",
    "solvers": "isac_torch/solvers: tests/solvers tests/allocators/test_batched.py tests/allocators/test_pilot_allocators.py",
    "nn": "isac_torch/nn: tests/nn tests/trainers/test_steps.py tests/allocators/test_learned.py",
    "allocators": "isac_torch/allocators: tests/allocators tests/solvers",
    "roles": "isac_torch/roles: tests/roles tests/tracking/test_roles.py",
    "deployment": "isac_torch/deployment: tests/deployment",
    "large": "isac_torch/large: tests/large",
    "evaluation": "isac_torch/evaluation: tests/evaluation",
    "datasets": "datasets: tests/datasets tests/commands/test_cli_data.py",
    "trainers": "trainers: tests/trainers",
}
"""Folder: where its code is, and the tests that shall notice."""

_OPERATOR = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult}
_COMPARISON: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_PAIRS = (("minimum", "maximum"), ("amin", "amax"), ("min", "max"), ("argmin", "argmax"), ("any", "all"), ("cos", "sin"))
_FUNCTION = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])} | {
    "clamp_min": "clamp_max",
    "at_least": "at_most",
    "at_most": "at_least",
}
_SHAPE = {"dim", "axis", "start_dim", "end_dim", "encoding", "strict", "copy", "keepdims", "keepdim"}


@dataclass(frozen=True)
class Mutation:
    """What was changed; outcome: `failed` or `hung` tests, or `survived`."""

    room: str
    file: str
    line: int
    old: str
    new: str
    outcome: str
    seconds: float


def places(tree: ast.Module) -> list[ast.expr]:
    """Expressions that can be mutated."""
    kept: set[int] = set()
    for part in (part for node in ast.walk(tree) for part in _left_alone(node)):
        kept.update(id(inner) for inner in ast.walk(part))
    return [
        node for node in ast.walk(tree) if isinstance(node, ast.expr) and id(node) not in kept and mutated(node) is not None
    ]


def _left_alone(node: ast.AST) -> list[ast.AST]:
    """What of a node is no calculation: annotations, errors, texts, axes."""
    found = [part for name in ("annotation", "returns") if (part := getattr(node, name, None)) is not None]
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
        found.append(node)
    if isinstance(node, ast.Subscript):
        found.append(node.slice)
    if isinstance(node, ast.keyword) and node.arg in _SHAPE:
        found.append(node.value)
    if isinstance(node, ast.Call):
        found += [part for part in node.args if isinstance(part, ast.UnaryOp | ast.Tuple)]  # -1, (0, 1): axes
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        found.append(node.test)  # TYPE_CHECKING
    return found


def mutated(node: ast.expr) -> str | None:
    """Source of another expression, or None where no rule fits."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATOR:
        other: ast.expr = ast.BinOp(node.left, _OPERATOR[type(node.op)](), node.right)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISON:
        other = ast.Compare(node.left, [_COMPARISON[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        other = ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.Attribute) and node.attr in _FUNCTION:
        other = ast.Attribute(node.value, _FUNCTION[node.attr], ast.Load())
    elif isinstance(node, ast.Name) and node.id in _FUNCTION:
        other = ast.Name(_FUNCTION[node.id])
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        other = ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        other = ast.Constant(node.value + 1 if isinstance(node.value, int) else 1.5 * node.value or 0.1)
    else:
        return None
    return f"({ast.unparse(other)})" if isinstance(other, ast.BinOp | ast.Compare | ast.BoolOp) else ast.unparse(other)


def replaced(source: str, node: ast.expr, new: str) -> str:
    """The source with `new` in the node's place."""
    lines = source.encode().split(b"\n")
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = [*lines[:first], lines[first][: node.col_offset]]
    after = [lines[last][node.end_col_offset :], *lines[last + 1 :]]
    return (b"\n".join(before) + new.encode() + b"\n".join(after)).decode()


def one_mutation(copy: Path, room: str, dice: random.Random, limit: float) -> Mutation:
    """Mutate one place of a folder, run its tests, and put the place back."""
    folder, tests = ROOMS[room].split(": ")
    files = [file for file in sorted((copy / folder).rglob("*.py")) if places(ast.parse(file.read_text()))]
    file = dice.choices(files, [file.stat().st_size for file in files])[0]
    source = file.read_text()
    node = dice.choice(places(ast.parse(source)))
    old, new = ast.get_source_segment(source, node) or "", mutated(node) or ""
    file.write_text(replaced(source, node, new))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    try:
        code = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=limit, check=False).returncode
        outcome = "failed" if code else "survived"
    except subprocess.TimeoutExpired:
        outcome = "hung"
    finally:
        file.write_text(source)
    return Mutation(
        room, str(file.relative_to(copy)), node.lineno, " ".join(old.split()), new, outcome, round(time.monotonic() - start, 1)
    )


def main() -> int:
    """Mutate what the arguments ask for; the JSON file is written after every mutation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--count", type=int, default=3, help="mutations per folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which tests count as hanging")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    found: list[Mutation] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, symlinks=True)
            else:
                shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
        for turn in range(options.count):
            for room in options.rooms:
                done = one_mutation(copy, room, random.Random(f"{options.seed} {turn} {room}"), options.limit)
                found.append(done)
                print(
                    f"{done.outcome:8s} {done.file}:{done.line} | {done.old} -> {done.new} | {done.seconds:.0f} s", flush=True
                )
                if options.json:
                    options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    for room in options.rooms:
        mine = [one.outcome != "survived" for one in found if one.room == room]
        print(f"{room:16s} {sum(mine)} of {len(mine)} caught")
    return int(any(one.outcome == "survived" for one in found))


if __name__ == "__main__":
    sys.exit(main())
