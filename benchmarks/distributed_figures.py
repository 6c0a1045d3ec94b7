"""Figures of policies that run at the APs, drawn from what distributed_policies.py has measured.

python benchmarks/distributed_figures.py distributed.json docs/images
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from textwrap import fill
from typing import Any

from isac_torch.files import written_whole

ROUNDS = ("0", "1", "2", "4", "8")
_SHARE = {"ylabel": "share of the central optimum", "ylim": (0.0, 1.0)}


def against_rounds(found: dict[str, Any], path: Path) -> None:
    """Share of the optimum against rounds, and against bytes per AP."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.6), sharey=True, layout="constrained")
    for kind, marker in (("distributed", "o"), ("distributed_classical", "^"), ("unfolded", "s")):
        curve, floats = found[kind], float(found[f"{kind}_floats_per_ap_round"])
        for name, style in (("valid_mean", "-"), ("strict_mean", "--")):
            label = f"{kind.replace('_', ', ')}, " + ("drops that meet all" if name == "valid_mean" else "missed count 0")
            share = [curve[rounds][name] for rounds in ROUNDS]
            left.plot(range(len(ROUNDS)), share, style, marker=marker, label=label)
            right.plot([4.0 * floats * int(rounds) for rounds in ROUNDS], share, style, marker=marker)
    left.set_xticks(range(len(ROUNDS)), ROUNDS)
    left.set(xlabel="rounds of messages", **_SHARE)
    upload = 4.0 * float(found["central_upload_floats_per_ap"])
    right.axvline(upload, color="gray", linestyle=":")
    right.text(upload, 0.03, " upload to a centre", color="gray")
    right.set(xlabel="bytes per AP, single precision", xlim=(-100.0, None))
    left.legend(fontsize=8, loc="lower right")
    _written(figure, (left, right), path)


def against_faults(found: dict[str, Any], path: Path) -> None:
    """Share of the optimum against the share of late or lost messages, and against the time between slots."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 4.2), layout="constrained")
    for kind, marker in (("lost", "s"), ("late by 1", "o"), ("late by 3", "^")):
        for rounds, style in (("8", "-"), ("4", "--")):
            curve = {0.0: found["channel"]["clear"]}
            for name, value in found["channel"].items():
                share, _, what = name.partition("% ")
                if what == kind:
                    curve[float(share) / 100.0] = value
            share_of = [value[rounds]["strict_mean"] for value in curve.values()]
            unit = " rounds" if kind.endswith("3") else " round" if kind.endswith("1") else ""
            left.plot(list(curve), share_of, style, marker=marker, label=f"{kind}{unit}, {rounds} rounds")
    left.set(xlabel="share of the messages", **_SHARE)
    slots = {float(name.split(", ")[1].removesuffix(" s")): row for name, row in found["slots"].items()}
    for index, name in enumerate(next(iter(slots.values()))):
        style = "--" if "exchanges" in name or "where" in name else "-"
        share_of = [row[name]["strict_mean"] for row in slots.values()]
        right.plot(range(len(slots)), share_of, style, marker="osv^Dxp*"[index], label=fill(name, 50))
    right.set(xlabel="time between slots, s", ylim=(0.75, 1.0))
    right.set_xticks(range(len(slots)), [f"{step:g}" for step in slots])
    for axis in (left, right):
        axis.legend(fontsize=7, loc="lower left")
    _written(figure, (left, right), path)


def _written(figure: Any, axes: tuple[Any, ...], path: Path) -> None:
    for axis in axes:
        axis.grid(alpha=0.3)
    with written_whole(path) as staged:
        figure.savefig(staged, dpi=130, format="png")


def main() -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, help="what distributed_policies.py wrote")
    parser.add_argument("folder", type=Path, help="folder of the figures")
    given = parser.parse_args()
    found = json.loads(given.json.read_text())
    against_rounds(found, given.folder / "distributed.png")
    against_faults(found, given.folder / "distributed_faults.png")


if __name__ == "__main__":
    main()
