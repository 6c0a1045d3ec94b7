"""What each iterative allocator of the downlink-pilot system reaches, step by step, and where the paper's algorithm ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isac_torch.allocation import equal_split
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotFirstOrder
from isac_torch.weights import shipped_weights

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem


def traces(problem: MinMaxNmseProblem) -> dict[str, list[tuple[float, float, float]]]:
    """(1 / largest NMSE, certified bound, KKT residual) after each step of every iterative allocator, for one drop.

    Steps: a conic programme of ours, a pass of the paper's algorithm, a gradient step of plain ascent, a correction or learned
    step of the shipped network. Only ours meets the localisation bounds at every step.
    """
    from isac_torch.downlink_pilots.graph import link_graph
    from isac_torch.nn.ascent import ascend
    from isac_torch.nn.checkpoint import load_network
    from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
    from isac_torch.nn.downlink_pilots.shares import STEP_LENGTH, SharesHill, powers, start_logits
    from isac_torch.solvers.downlink_pilots.ascent import descend
    from isac_torch.solvers.downlink_pilots.certificate import upper_bound
    from isac_torch.solvers.downlink_pilots.paper import sequential_taylor
    from isac_torch.solvers.downlink_pilots.stationarity import kkt_residual

    iterates: dict[str, list[Tensor]] = {"ours": [], "sca_paper": [], "sca_paper_reset": []}
    best = descend(problem, equal_split(problem), steps=iterates["ours"])
    sequential_taylor(problem, steps=iterates["sca_paper"])
    sequential_taylor(problem, passes=12, reset=True, steps=iterates["sca_paper_reset"])
    passed: list[Tensor] = []
    ascend(SharesHill(problem), start_logits(problem), DownlinkPilotFirstOrder.steps, STEP_LENGTH, passed=passed)
    iterates["first_order"] = [powers(problem, logits) for logits in passed]
    network, single = load_network(shipped_weights("downlink_pilots"), DownlinkPilotNetwork)[0], problem.cast(torch.float32)
    with torch.no_grad():
        points = [start_logits(single), *network.trajectory(single, link_graph(single))]
    iterates["gnn_raw"] = [powers(problem, logits.to(problem.gain)) for logits in points]
    bound = upper_bound(problem, best, gap=1e-4)
    return {
        name: [(float(problem.objective(power)), bound, kkt_residual(problem, power)) for power in powers]
        for name, powers in iterates.items()
    }


def weaker_share(num_drops: int, seed: int, eps: float, folder: Path | None = None) -> dict[str, float]:
    """Mean share of all power that the UE with the smaller sum of large-scale gains has under each scheme, on drops of two UEs
    at DL:UL 5:5. Powers are kept in `folder`.
    """
    from isac_torch.downlink_pilots.build import power_problem
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
    from isac_torch.evaluation.studies.liao_powers import CHUNK, Chunk

    total = dict.fromkeys(("full", "sca_paper", "ours"), 0.0)
    for start in range(0, num_drops, CHUNK):
        chunk = Chunk(DownlinkPilotScenario(), min(CHUNK, num_drops - start), (seed, start // CHUNK), folder)
        drop = chunk.drops()
        problem = power_problem(drop, chunk.scenario)
        weaker = drop.gain.sum(-1).argmin(-1, keepdim=True)
        powers = (equal_split(problem), chunk.sca(problem, eps), chunk.ours(problem)["power"])
        for name, power in zip(total, powers, strict=True):
            sent = problem.per_ue(power).sum(-1)
            total[name] += float((sent.gather(1, weaker)[:, 0] / sent.sum(-1)).sum())
    return {name: value / num_drops for name, value in total.items()}


def final_residuals(num_drops: int, seed: int, eps: float, folder: Path | None = None) -> dict[str, list[float]]:
    """KKT residual at the end of the paper's algorithm on drops of DL:UL 5:5: `printed`, and with the bracket `reopened`
    for each of 12 passes. Powers are kept in `folder`.
    """
    from isac_torch.downlink_pilots.build import power_problem
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
    from isac_torch.evaluation.studies.liao_powers import CHUNK, Chunk
    from isac_torch.solvers.downlink_pilots.stationarity import kkt_residual

    found: dict[str, list[float]] = {"printed": [], "reopened": []}
    for start in range(0, num_drops, CHUNK):
        chunk = Chunk(DownlinkPilotScenario(), min(CHUNK, num_drops - start), (seed, start // CHUNK), folder)
        problem = power_problem(chunk.drops(), chunk.scenario)
        for name, power in (("printed", chunk.sca(problem, eps)), ("reopened", chunk.sca(problem, eps, reopened=12))):
            drops = (problem.select(torch.tensor([index])) for index in range(chunk.count))
            found[name] += [kkt_residual(drop, power[index, None]) for index, drop in enumerate(drops)]
    return found
