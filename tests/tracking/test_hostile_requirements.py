"""Whatever is asked of the radar: refused in one line, or answered with finite powers within the budgets."""

import math
import random
from dataclasses import replace

import pytest
import torch

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.cli import main
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import ScenarioError
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import KINDS, RANGES, Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.variants import scenario_variant

BEYOND = [
    (name, value)
    for name, (least, most) in RANGES.items()
    for value in (least - 1e-7, most * 1.01, 1e9, -1e9, math.nan, math.inf, -math.inf)
    if name != "blocks"
]


def random_requirement(source: random.Random) -> Requirement:
    """Any kind with numbers drawn from their ranges' ends and middles."""
    numbers = {}
    for name, (least, most) in RANGES.items():
        middle = getattr(Requirement(), name)
        numbers[name] = source.choice([least, most, 1.0 if middle is None else middle, None if middle is None else middle])
    numbers["cell"] = source.choice([250.0, 1e6])  # finer grids are many cells, not hostile ones
    return Requirement(source.choice(KINDS), **numbers)


@pytest.mark.parametrize(("name", "value"), [*BEYOND, ("blocks", 0), ("blocks", -1), ("blocks", 10**9)], ids=str)
def test_numbers_out_of_range_are_refused_in_one_line(name: str, value: float) -> None:
    with pytest.raises(ScenarioError) as caught:
        Requirement("dominate", **{name: value})
    assert str(caught.value).startswith(f"requirement.{name}=")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["dominat", "", "DOMINATE"])
def test_unknown_kinds_are_refused_in_one_line(kind: str) -> None:
    with pytest.raises(ScenarioError, match=r"requirement\.kind") as caught:
        scenario_variant(TrackingScenario(), {"requirement": {"kind": kind}})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("targets", [0, 1, 2])
def test_what_is_not_refused_is_answered(targets: int) -> None:
    source = random.Random(7 + targets)
    for _ in range(6):
        asked = random_requirement(source)
        scenario = TrackingScenario.of_size(f"4x2x{targets}", requirement=asked)
        drop = scenario.sample(1, generator=torch.Generator().manual_seed(3))
        problem = power_problem(drop, scenario)
        found = allocate(problem, named_allocator("opc_batched"))
        assert bool(found.power.isfinite().all()), asked
        assert not bool(found.value.isnan().any() | found.violation.isnan().any()), asked
        assert found.status[0] != Status.FAILED, asked
        assert bool((problem.ap_load(found.power) <= problem.budget * (1.0 + 1e-6)).all()), asked


@pytest.mark.parametrize("targets", [0, 1, 2])
def test_the_runtime_answers_the_same(targets: int) -> None:
    source, allocator = random.Random(70 + targets), DeployedAllocator.load()
    scenario = TrackingScenario.of_size(f"4x2x{targets}")
    snapshot = Snapshot.from_drop(scenario.sample(1, generator=torch.Generator().manual_seed(3)), 0, scenario)
    snapshots = [replace(snapshot, requirement=random_requirement(source)) for _ in range(12)]
    for asked, answer in zip(snapshots, allocator.many(snapshots), strict=True):
        assert all(math.isfinite(power) and power >= 0.0 for power in answer.power), asked.requirement
        values = [*answer.sicnr, *answer.position_error, *answer.sinr, answer.quality]
        assert not any(math.isnan(value) for value in values), asked.requirement


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("kind", "dominat"),
        ("sicnr", "-1"),
        ("scan", "1e9"),
        ("sicnr_min_db", "1e9"),
        ("miss", "0"),
        ("miss", "1"),
        ("cell", ".nan"),
    ],
)
def test_generate_refuses_with_exit_code_2(option: str, value: str, tmp_path, capsys) -> None:
    change = [f"--scenario.requirement.{option}", value, "--num_drops", "1", "--output", str(tmp_path / "new")]
    assert main(["generate", *change]) == 2
    error = capsys.readouterr().err.strip()
    assert option in error
    assert "Traceback" not in error
    assert not (tmp_path / "new").exists()
