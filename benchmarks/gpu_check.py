"""Whether an accelerator gives the same numbers as the processor, and how fast it is: one JSON, at most eight minutes.

    python benchmarks/gpu_check.py --json runs/gpu_check.json                      # on cuda
    python benchmarks/gpu_check.py --json quick.json --device cpu --drops 8        # the script itself, anywhere

Parity: coefficients, SINR, constraints and the certified optimum of the same drops on both devices, float64, largest relative
difference. Speed: drops a second of the batched engine and training steps a second of the tracking network, after a warm-up;
those of the processor, with its own number of threads, stand beside them. Steps stop where `--seconds` a measurement are over.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import isac_torch as it
from isac_torch.nn.tracking.network import AllocationNetwork

SIZE, SEED = "16x16x4", 970_000_000


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Measure, write the JSON and return it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--drops", type=int, default=256, help="drops in a batch")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of the four measurements of speed, at most")
    parser.add_argument("--size", default=SIZE)
    options = parser.parse_args(argv)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("this PyTorch sees no cuda device; install the build for your driver, or give --device cpu")
    found = {
        "device": torch.cuda.get_device_name(options.device) if options.device.startswith("cuda") else options.device,
        "torch": torch.__version__,
        "version": it.__version__,
        "size": options.size,
        "drops": options.drops,
        "parity": parity(options.size, min(options.drops, 32), options.device),
        "speed": {device: speed(options, device) for device in dict.fromkeys([options.device, "cpu"])},
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    return found


def problem_on(size: str, drops: int, device: str) -> it.MaxMinSinrProblem:
    """The same drops whatever the device; their coefficients are computed there."""
    scenario = it.TrackingScenario.of_size(size)
    drop = scenario.sample(drops, generator=torch.Generator().manual_seed(SEED))
    return it.power_problem(drop.to(device), scenario)


def parity(size: str, drops: int, device: str) -> dict[str, float]:
    """Largest relative difference of what both devices compute."""
    here, there = problem_on(size, drops, "cpu"), problem_on(size, drops, device)
    best, other = it.allocate(here, it.BatchedOptimal(gap=1e-6)), it.allocate(there, it.BatchedOptimal(gap=1e-6))
    power = best.power.to(device)
    return {
        "signal": difference(here.signal, there.signal),
        "leakage": difference(here.leakage, there.leakage),
        "sinr": difference(here.sinr(best.power), there.sinr(power)),
        "violation": float((here.violations(best.power).worst - there.violations(power).worst.cpu()).abs().max()),
        "optimum": difference(best.value, other.value),
        "status_differs": int((best.status != other.status.cpu()).sum()),
    }


def difference(one: Tensor, other: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((one - other.cpu()).abs().max() / one.abs().max())


def speed(options: argparse.Namespace, device: str) -> dict[str, float]:
    """Drops a second of the engine in float64, training steps and drops a second of the network in float32."""
    problem = problem_on(options.size, options.drops, device)
    engine = per_second(lambda: it.allocate(problem, it.BatchedOptimal()), options.seconds, device)
    torch.manual_seed(SEED)
    small, network = problem.cast(torch.float32), AllocationNetwork().to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        network.loss(small, network.points(small)[-1], 3.0).mean().backward()
        optimiser.step()

    steps = per_second(step, options.seconds, device)
    return {
        "engine_drops_per_second": engine * options.drops,
        "training_steps_per_second": steps,
        "training_drops_per_second": steps * options.drops,
    }


def per_second(call: Callable[[], object], seconds: float, device: str, most: int = 50) -> float:
    """Calls a second, after one that does not count."""

    def timed() -> float:
        begin = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    timed()
    times: list[float] = []
    while len(times) < most and sum(times) < seconds:
        times.append(timed())
    return len(times) / sum(times)


if __name__ == "__main__":
    main()
