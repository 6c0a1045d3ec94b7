"""History of speed and quality: one JSON line for each run, and a picture of all of them.

    python benchmarks/history.py                       # or: make history

Times are processor times of one thread, in units of a yardstick: a fixed piece of NumPy that is timed between the measurements.
So a slower or busier machine changes them little. The least of a few repetitions counts. Half a minute.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import isac_torch as it
from isac_torch.files import write_whole

ROOT = Path(__file__).parents[1]
LINES = ROOT / "docs" / "history.jsonl"
PICTURE = ROOT / "docs" / "images" / "history.png"
SEED = 910_000
TIMES = {
    "problem": "statistics and coefficients",
    "opc_batched": "certified optimum",
    "gnn": "network",
    "gnn_dominate": "network, no worse than uniform",
    "deployed": "deployed network, one call of a single network",
}
"""What is timed, for each drop of 16x16x4, in yardsticks."""
QUALITIES = {"gnn_ratio": "network / optimum", "gnn_dominate_ratio": "network / optimum, no worse than uniform"}
"""Smallest rate over that of the certified optimum, mean over the drops."""


def yardstick() -> float:
    """Processor seconds of a fixed piece of NumPy: eigenvalues of 200 matrices of 32 rows and 20 products of 256 rows."""
    generator = np.random.default_rng(1)
    small, large = generator.standard_normal((200, 32, 32)), generator.standard_normal((256, 256))
    start = time.process_time()
    np.linalg.eigvalsh(small + small.mT)
    for _ in range(20):
        large = large @ large / 256.0
    return time.process_time() - start


def timed(act: Callable[[], Any], count: int, repetitions: int) -> float:
    """Processor time of `act` for each of its `count` drops, in yardsticks: the least of some repetitions, after a warm-up."""
    act()
    found = []
    for _ in range(repetitions):
        unit = yardstick()
        start = time.process_time()
        act()
        found.append((time.process_time() - start) / count / unit)
    return min(found)


def measured(size: str = "16x16x4", drops: int = 64, repetitions: int = 5) -> dict[str, float]:
    """Every time of `TIMES` and quality of `QUALITIES`."""
    found: dict[str, float] = {}
    for name, requirement in (("gnn", it.Requirement()), ("gnn_dominate", it.Requirement(kind="dominate"))):
        scenario = it.TrackingScenario.of_size(size, requirement=requirement)
        drop = scenario.sample(drops, generator=torch.Generator().manual_seed(SEED))
        problem = it.power_problem(drop, scenario)
        optimal, network = it.named_allocator("opc_batched" if name == "gnn" else "opc_dominate"), it.named_allocator(name)
        best, learned = it.allocate(problem, optimal), it.allocate(problem, network)
        met = best.status == int(it.Status.OPTIMAL)
        valid = torch.where(learned.violation <= 1e-6, learned.value, 0.0)
        rates = [torch.log2(1.0 + value[met]) for value in (valid, best.value)]
        found[f"{name}_ratio"] = float((rates[0] / rates[1]).mean())
        found[name] = timed(lambda: it.allocate(problem, network), drops, repetitions)  # noqa: B023 - called at once
        if name == "gnn":
            found["problem"] = timed(lambda: it.power_problem(drop, scenario), drops, repetitions)  # noqa: B023
            found["opc_batched"] = timed(lambda: it.allocate(problem, optimal), drops, repetitions)  # noqa: B023
            found["deployed"] = _deployed(drop, scenario, repetitions)
    return found


def _deployed(drop: Any, scenario: it.TrackingScenario, repetitions: int) -> float:
    networks = [it.Snapshot.from_drop(drop, index, scenario) for index in range(min(16, drop.num_drops))]
    allocator = it.DeployedAllocator.load()
    return timed(lambda: [allocator(network) for network in networks], len(networks), repetitions)


def line(values: dict[str, float]) -> dict[str, Any]:
    """A line of the history: when, which commit, which versions, and the numbers to four digits."""
    said = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": said.stdout.strip() or "unknown",
        "version": it.__version__,
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name: float(f"{values[name]:.4g}") for name in (*TIMES, *QUALITIES)},
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a history; none where there is no file."""
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def draw(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Times above, qualities below, over the commits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 1, figsize=(8, 6), sharex=True, height_ratios=[3, 2], layout="constrained")
    for panel, names in zip(panels, (TIMES, QUALITIES), strict=True):
        for name, label in names.items():
            panel.plot(range(len(lines)), [entry[name] for entry in lines], "o-", label=label)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    panels[0].set(yscale="log", ylabel="processor time per drop,\nyardsticks")
    panels[1].set(ylabel="smallest rate\nover the optimum's")
    panels[1].set_xticks(range(len(lines)), [f"{entry['date']}\n{entry['commit']}" for entry in lines], fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(argv: list[str] | None = None) -> None:
    """Measure, append the line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="16x16x4", help="APs x UEs x targets")
    parser.add_argument("--drops", type=int, default=64, help="drops of every measurement")
    parser.add_argument("--repetitions", type=int, default=5, help="of which the fastest counts")
    parser.add_argument("--json", type=Path, default=LINES, help="file that the line is appended to")
    parser.add_argument("--png", type=Path, default=PICTURE, help="picture of all lines")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    lines = [*read(options.json), line(measured(options.size, options.drops, options.repetitions))]
    write_whole(options.json, "".join(json.dumps(entry) + "\n" for entry in lines))
    draw(lines, options.png)
    print(json.dumps(lines[-1], indent=1))


if __name__ == "__main__":
    main()
