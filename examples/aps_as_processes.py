"""The distributed policy as programs that know only their own APs and exchange messages over sockets.

python examples/aps_as_processes.py --size 16x16x4 --programs 4 --rounds 8
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from isac_torch import TrackingScenario, allocate, named_allocator, power_problem
from isac_torch.allocators.tracking.ap_groups import run_as_processes
from isac_torch.allocators.tracking.distributed import Distributed
from isac_torch.weights import shipped_weights


def say(line: str) -> None:
    """Print a line."""
    print(line)  # noqa: T201 - what the example is for


def main(argv: Sequence[str] | None = None) -> None:
    """Run one network's policy in processes of their own, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="16x16x4", help="APs x UEs x targets")
    parser.add_argument("--programs", type=int, default=4, help="processes; each runs every so-many-th AP")
    parser.add_argument("--rounds", type=int, default=8, help="of messages")
    parser.add_argument("--seed", type=int, default=3, help="of the network")
    given = parser.parse_args(argv)
    scenario = TrackingScenario.of_size(given.size)
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(given.seed))
    problem = power_problem(drop, scenario)
    policy = shipped_weights("distributed")
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        power = run_as_processes(policy, problem, given.programs, given.rounds, Path(folder))
        say(f"{given.programs} processes, {given.rounds} rounds: {time.perf_counter() - begin:.1f} s, most of it to start them")
    best = allocate(problem, named_allocator("opc_batched"))
    whole = Distributed.load(policy, given.rounds)
    with torch.no_grad():
        batched = whole.policy.double().exits(problem, given.rounds)[-1].exp() * problem.link_budget
    say(f"largest difference from the batched form: {float((power - batched).abs().max()):.1e} W")
    say(f"smallest SINR: {float(problem.objective(power)):.4f}, of the certified optimum of a centre: {float(best.value):.4f}")
    if problem.num_constraints:
        quality = (problem.sir(power) / problem.sir_min).min()
        say(f"worst sensing SIR over what is required: {float(quality):.3f}")


if __name__ == "__main__":
    main()
