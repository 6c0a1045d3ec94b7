"""The network of shares (`nn.tracking.share_network`) as a graph: its corrections, without the learned steps after them.

What the learned steps do, Newton steps of the runtime do better: the graph has 700 operations instead of thousands.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.deployment.card import ARCHIVE, ONNX
from isac_torch.errors import BundleError
from isac_torch.nn.graphs import write_graphs
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.nn.tracking.shares import share_power
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.requirement import KINDS, Requirement
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.share_inputs import SHARE_INPUTS, SHARE_OUTPUTS, SHARE_UNITS, share_inputs, share_problem_of
from isac_torch.tracking.share_problem import ShareProblem

PARITY_SIZES = ("2x1x1", "3x2x0", "8x6x2", "16x16x4", "32x32x8")
"""Sizes at which the graphs must answer as the network does, with every kind of requirement."""
PARITY = 1e-3
"""Largest difference of a share of a budget, at the median drop."""
_SEED = 70_000_000


class ShareArchive(nn.Module):
    """The corrections as a function of plain arrays: inputs are `SHARE_INPUTS`, output is each link's share of its budget."""

    def __init__(self, network: ShareNetwork) -> None:
        """Around a trained network."""
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.stepper = None

    def forward(
        self,
        signal: Float[Tensor, "drop 1 link"],
        leakage: Float[Tensor, "drop ue link"],
        coherent: Float[Tensor, "drop ue link"],
        serves: Float[Tensor, "drop ue link"],
        sent: Float[Tensor, "drop ap link"],
        budget: Float[Tensor, "drop 1 ap"],
        reference: Float[Tensor, "drop 1 link"],
        wanted: Float[Tensor, "drop constraint link"],
        unwanted: Float[Tensor, "drop constraint link"],
        noise: Float[Tensor, "drop constraint 1"],
        energy: Float[Tensor, "drop target listening link"],
        cross: Float[Tensor, "drop target listening link"],
        spread: Float[Tensor, "drop target listening link"],
        arrival: Float[Tensor, "drop target listening 3"],
        departure: Float[Tensor, "drop target ap 3"],
        prior: Float[Tensor, "drop target 3"],
        constraint_kind: Float[Tensor, "drop constraint 5"],
        position_kind: Float[Tensor, "drop target 5"],
    ) -> Float[Tensor, "drop link"]:
        """Power of each link over its AP's budget."""
        arrays = (
            signal, leakage, coherent, serves, sent, budget, reference, wanted, unwanted, noise,
            energy, cross, spread, arrival, departure, prior, constraint_kind, position_kind,
        )  # fmt: skip
        problem = share_problem_of(dict(zip(SHARE_INPUTS, arrays, strict=True)))
        return share_power(problem, self.network(problem)) / (budget @ sent)[:, 0]


def write_share_graphs(archive: ShareArchive, folder: Path) -> None:
    """ONNX and .pt2, every size open."""
    from torch.export import Dim

    scenario = TrackingScenario.of_size("16x14x5", serving_aps=3, listening_aps=2, requirement=Requirement("dominate"))
    drop, ue, link, ap, row, target, rx = (
        Dim(name, min=2) for name in ("drops", "ues", "links", "aps", "rows", "targets", "rx")
    )
    axes = {
        **dict.fromkeys(("signal", "reference"), (drop, None, link)),
        **dict.fromkeys(("leakage", "coherent", "serves"), (drop, ue, link)),
        **dict.fromkeys(("wanted", "unwanted"), (drop, row, link)),
        **dict.fromkeys(("energy", "cross", "spread"), (drop, target, rx, link)),
        **dict.fromkeys(("noise", "constraint_kind"), (drop, row, None)),
        **dict.fromkeys(("prior", "position_kind"), (drop, target, None)),
        "sent": (drop, ap, link),
        "budget": (drop, None, ap),
        "arrival": (drop, target, rx, None),
        "departure": (drop, target, ap, None),
    }
    write_graphs(archive, _inputs(scenario, 6), axes, SHARE_OUTPUTS, folder)


def share_parity(archive: ShareArchive, folder: Path) -> list[dict[str, Any]]:
    """Largest differences of both graphs at each size. BundleError where the median drop of a size exceeds PARITY."""
    from onnxruntime import InferenceSession

    session = InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    stored = torch.export.load(folder / ARCHIVE).module(check_guards=False)  # they would refuse sizes of one
    found = []
    for size in PARITY_SIZES:
        parts = []
        for kind in KINDS:
            inputs = _inputs(TrackingScenario.of_size(size, requirement=Requirement(kind)), 2)  # type: ignore[arg-type]
            with torch.no_grad():
                wanted, kept = (graph(*inputs.values()).numpy() for graph in (archive, stored))
            got = session.run(SHARE_OUTPUTS, {name: value.numpy() for name, value in inputs.items()})[0]
            parts.append([np.abs(answer - wanted).max(1) for answer in (got, kept)])
        apart = np.concatenate(parts, axis=1)
        if not (np.median(apart, axis=1) <= PARITY).all():
            raise BundleError(
                f"at {size} the exported graphs differ from the network by {apart.max():.1e} of a budget, not {PARITY:g}; "
                "use the versions of constraints.txt"
            )
        found.append({"size": size, "onnx": float(apart[0].max()), "archive": float(apart[1].max()), "drops": apart.shape[1]})
    return found


def share_facts(parity: list[dict[str, Any]]) -> dict[str, Any]:
    """What only the card of such a network holds."""
    return {
        "scenario": "tracking system: max-min SINR, per-AP budgets, requirements of every kind",
        "inputs": dict.fromkeys(SHARE_INPUTS, "float32"),
        "input_units": SHARE_UNITS,
        "balance": {},
        "outputs": dict(zip(SHARE_OUTPUTS, ("power of each link over its AP's budget",), strict=True)),
        "parity": parity,
    }


def _inputs(scenario: TrackingScenario, num_drops: int) -> dict[str, Tensor]:
    drop = scenario.sample(num_drops, generator=torch.Generator().manual_seed(_SEED))
    problem = ShareProblem.of(power_problem(drop, scenario).cast(torch.float32))
    return {name: value.contiguous() for name, value in share_inputs(problem).items()}
