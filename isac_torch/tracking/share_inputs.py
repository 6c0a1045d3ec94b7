"""What the exported network of shares reads: the arrays of a `ShareProblem` by name, without those that follow from others."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from isac_torch.tensors import Array, counting, namespace
from isac_torch.tracking.share_problem import KINDS, DensePosition, ShareProblem

POSITION = ("energy", "cross", "spread", "arrival", "departure", "prior")
SHARE_UNITS = {
    "signal": "1/sqrt(W)",
    "leakage": "1/W",
    "coherent": "1/sqrt(W)",
    "serves": "0 or 1",
    "sent": "0 or 1",
    "budget": "W",
    "reference": "W",
    "wanted": "1/W over the largest",
    "unwanted": "1/W over the largest wanted",
    "noise": "over the largest wanted",
    "energy": "1/W over what is required",
    "cross": "1/W over what is required",
    "spread": "1/W over what is required",
    "arrival": "1/m",
    "departure": "1/m",
    "prior": "over what is required",
    "constraint_kind": "one-hot, 0 where one stands in",
    "position_kind": "one-hot, 0 where one stands in",
}
"""Inputs of the graph and their units."""
SHARE_INPUTS = list(SHARE_UNITS)
SHARE_OUTPUTS = ["share"]
"""[drop, link]: power of each link over its AP's budget."""
SHARE_SYSTEM = "tracking-shares"
"""What such a network calls itself."""


def share_inputs(problem: ShareProblem[Array]) -> dict[str, Array]:
    """The inputs of the graph, by name."""
    constraints = problem.wanted.shape[1]
    targets = problem.position.energy.shape[1]
    kinds = problem.kind[:, problem.kind.shape[1] - constraints - targets :]
    found: dict[str, Any] = {name: getattr(problem.position, name) for name in POSITION}
    found |= {"constraint_kind": kinds[:, :constraints], "position_kind": kinds[:, constraints:]}
    return {name: found[name] if name in found else getattr(problem, name) for name in SHARE_INPUTS}


def share_problem_of(inputs: dict[str, Array]) -> ShareProblem[Array]:
    """The problem whose inputs these are, by products and concatenations alone."""
    xp = namespace(inputs["signal"])
    rows, positions = inputs["constraint_kind"], inputs["position_kind"]
    column = counting(KINDS, rows)
    ap, ue = (xp.astype(column == index, rows.dtype) for index in range(2))
    nodes = [inputs["sent"][..., :1] * 0.0 + ap, inputs["serves"][..., :1] * 0.0 + ue, rows, positions]
    position = DensePosition(
        **{name: inputs[name] for name in POSITION},
        required=positions[..., 0] * 0.0 + 1.0,
        link_ap=inputs["sent"][:, 0],  # not read: `sent` says it
        sent=inputs["sent"],
    )
    own = {item.name for item in fields(ShareProblem)} & set(inputs)
    return ShareProblem(
        **{name: inputs[name] for name in own},
        position=position,
        kind=xp.concat(nodes, axis=1),
        real=xp.concat([rows.sum(2), positions.sum(2)], axis=1),
    )
