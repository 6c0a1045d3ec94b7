"""Drops per second of SINR, SIR and SICNR against NumPy loops, the Kronecker form against dense solves, and peak memory.

    python benchmarks/sensing.py --json sensing.json                  # from the root of the project, about two minutes

SINR and SIR start from the tables of a drop and its powers; SICNR starts from the samples that the APs send in one block, and
includes clutter covariance and the printed tracking test at every target. Batched in float64. The loops are the tests' oracles:
plain loops for SINR and SIR, dense matrices with explicit inverse roots for SICNR. `cpu_seconds` is the processor's time.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the oracles are no part of the package

from isac_torch.allocation import equal_split
from isac_torch.sensing.clutter import temporal_covariance
from isac_torch.sensing.echoes import EchoScene, echo_scene
from isac_torch.sensing.glrt import Glrt, moments
from isac_torch.sensing.quality import assess, echo_quality, select_scene
from isac_torch.sensing.signals import draw_blocks, transmitted
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup
from tests.oracles import detection as dense
from tests.oracles import metrics as loop
from tests.oracles.world import power_tables, world_of_drop

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure what the options ask for and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    parser.add_argument("--drops", type=int, default=64, help="drops of the batches")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--seed", type=int, default=2024)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {"threads": options.threads, "drops": options.drops, "seed": options.seed, **measure(options.drops, options.seed)}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def measure(num_drops: int, seed: int) -> dict[str, Any]:
    """All numbers of one batch of 16x16x4."""
    scenario, setup = TrackingScenario(), SensingSetup()
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed))
    problem = power_problem(drop, scenario)
    power = equal_split(problem)
    scene = echo_scene(drop, scenario, setup)
    generator = torch.Generator().manual_seed(seed + 1)
    blocks = draw_blocks(drop, channel_statistics(drop, scenario), scenario, 1, setup.samples(scenario), generator)
    sent = transmitted(blocks, drop, power)
    world, tables = world_of_drop(drop, scenario, 0), power_tables(power, drop, 0)
    batched = {
        "sinr": (lambda: problem.sinr(power), lambda: [loop.sinr(k, world, *tables) for k in range(scenario.num_ues)]),
        "sir": (lambda: problem.sir(power), lambda: [loop.sir(t, world, *tables) for t in range(scenario.num_targets)]),
        "sicnr": (lambda: echo_quality(sent, scene, Glrt("paper")).ratio, lambda: dense_sicnr(sent, scene)),
    }
    rows = {}
    for name, (fast, slow) in batched.items():
        ours, theirs = clock(fast), clock(slow)
        rows[name] = {
            "drops_per_second": num_drops / ours["seconds"],
            "drops_per_cpu_second": num_drops / ours["cpu_seconds"],
            "loop_drops_per_second": 1.0 / theirs["seconds"],
            "ratio_to_loop": theirs["seconds"] / ours["seconds"] * num_drops,
        }
    check = echo_quality(sent[:1], select_scene(scene, torch.tensor([0])), Glrt("paper")).ratio[0, 0]
    error = float((check - torch.tensor(dense_sicnr(sent, scene))).abs().max() / check.max())
    return {**rows, "sicnr_error": error, "kronecker": kronecker(sent, scene), "peak_memory": memory(scenario, setup)}


def clock(run: Callable[[], object], least: float = 1.0) -> dict[str, float]:
    """Mean wall and processor time of a run, s, over at least a second, after one for warmth."""
    run()
    count, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < least:
        run()
        count += 1
    return {"seconds": (time.perf_counter() - start) / count, "cpu_seconds": (time.process_time() - cpu) / count}


def dense_sicnr(sent: torch.Tensor, scene: EchoScene) -> list[float]:
    """SICNR of the first drop's targets by dense matrices."""
    signal, antennas = sent[0, 0].numpy(), sent.shape[-1]
    targets = scene.response.shape[1]
    result = []
    for target in range(targets):
        receiver = int(scene.listening[0, target, 0])
        order = [target, *(t for t in range(targets) if t != target)]
        white = np.stack([np.eye(antennas**2)] * sent.shape[2])
        covariance = dense.clutter_covariance(signal, scene.clutter.power[0, receiver].numpy(), white)
        covariance = covariance + np.eye(len(covariance))
        echoes = [
            dense.echo_matrix(
                signal,
                scene.scale[0, t, receiver].numpy(),
                scene.response[0, t].numpy(),
                scene.listener_response[0, t, receiver].numpy(),
            )
            for t in order
        ]
        filtering = dense.inverse_root(covariance)
        basis = dense.projection_basis(echoes[0], echoes[1:], filtering, "paper")
        reflectivity = [scene.reflectivity[0, t].numpy() for t in order]
        own, other = dense.ratio_parts(echoes[0], echoes[1:], reflectivity, covariance, basis, filtering)
        result.append(own / other)
    return result


def kronecker(sent: torch.Tensor, scene: EchoScene) -> dict[str, float]:
    """Gram matrices of one target per drop: our form against a Cholesky factor of the (N tau_s)^2 covariance, both batched."""
    few = torch.arange(min(8, sent.shape[0]))
    part, view = sent[few], select_scene(scene, few)
    antennas = sent.shape[-1]
    eye = torch.eye(antennas, dtype=sent.dtype)

    def fast() -> torch.Tensor:
        return moments(part, view, Glrt()).gram

    def slow() -> torch.Tensor:
        temporal = temporal_covariance(part, view.clutter)
        parts = []
        for target in range(view.response.shape[1]):
            listener = view.listening[:, target, 0]
            own = temporal[few, 0, listener]
            covariance = torch.einsum("dst,ab->dsatb", own, eye).flatten(3).flatten(1, 2)
            factor = torch.linalg.cholesky(covariance + torch.eye(covariance.shape[-1], dtype=sent.dtype))
            illuminated = (
                torch.einsum("dmn,dmtn->dtm", view.response[:, target].conj(), part[:, 0])
                * view.scale[few, target, listener][:, None]
            )
            echoes = torch.einsum("dtm,da->dtam", illuminated, view.listener_response[few, target, listener]).flatten(1, 2)
            filtered = torch.linalg.solve_triangular(factor, echoes, upper=False)
            parts.append(filtered.mH @ filtered)
        return torch.stack(parts, dim=1)

    difference = (fast()[:, 0, :, 0] - slow()).abs().max() / slow().abs().max()
    quick, thorough = clock(fast), clock(slow)
    return {
        "ms_per_drop": 1e3 * quick["seconds"] / len(few),
        "dense_ms_per_drop": 1e3 * thorough["seconds"] / len(few),
        "speed_up": thorough["seconds"] / quick["seconds"],
        "speed_up_cpu": thorough["cpu_seconds"] / quick["cpu_seconds"],
        "largest_relative_difference": float(difference),
    }


def memory(scenario: TrackingScenario, setup: SensingSetup) -> dict[str, float]:
    """Growth of the process's peak memory when blocks and drops of a run grow fourfold each, MiB: chunks bound it."""
    peaks = {}
    for name, drops, blocks in (("4x100", 4, 100), ("16x400", 16, 400)):
        drop = scenario.sample(drops, generator=torch.Generator().manual_seed(0))
        power = equal_split(power_problem(drop, scenario))
        assess(drop, scenario, setup, power, Glrt("paper"), num_blocks=blocks, seed=0)
        peaks[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return peaks


if __name__ == "__main__":
    main()
