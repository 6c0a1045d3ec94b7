"""The allocating network for sensing constraints of any kind: shares of the budgets, corrected where they stand.

Everything that a constraint asks for enters as numbers about the point where the network stands, which at first are the
reference powers: by how much each constraint is met there (under `dominate` minus the logarithm of its factor), of which kind
it is, and how its quality changes with each link's power. So one set of weights serves every kind and factor, any number of
scan cells, one or no target, and any network size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.graph import standardised
from isac_torch.nn.ascent import LearnedSteps
from isac_torch.nn.tracking.merit import MAX_MIN, Aim
from isac_torch.nn.tracking.one_shot import RelationLayer, States
from isac_torch.nn.tracking.shares import (
    ShareHill,
    elasticities,
    log_quality,
    merit_gradient,
    reference_power,
    share_power,
    start_shares,
    training_loss,
)
from isac_torch.tracking.problem import MaxMinSinrProblem

FEATURE_VERSION = 1
"""Raised with every change of meaning, order or scaling of the features: weights of another version are refused."""
_LINK, _LINK_EXTRA = 4, 4
_KINDS = 5
"""UE, constraint of a target, of a scan cell, on a position, AP."""
_NODE_EXTRA = _KINDS + 3
_RELATIONS = 3
_GAIN, _LEAK = (15.0, 15.0), (35.0, 12.0)
"""Mean and spread, dB, of a serving link's gain times its budget, and of the disturbance by a link at full budget."""
_POINT_WEIGHT, _POINT_SHARPNESS = 1.0, 30.0
"""Weight of missing quality and sharpness of the smallest SINR in the gradients that the layers read."""


@dataclass(frozen=True)
class _Point:
    """Where the network stands: powers (W), what links and nodes should know of them, and the relations between both."""

    extra: States
    relations: list[Tensor]


class ShareNetwork(nn.Module):
    """Corrects the reference powers in three stages, each fed with the gradient of the merit where it stands.

    1. `layers` message layers, then a first correction. 2. `refinements` message layers, each with a correction of its own.
    3. `steps` learned steps, shaped like Adam's, whose lengths the state of the link or AP decides.
    """

    SYSTEM: ClassVar[str] = "tracking-shares"
    FEATURE_VERSION: ClassVar[int] = FEATURE_VERSION
    AIMS: ClassVar[tuple[Aim, ...]] = (MAX_MIN,)
    """What it can be asked for."""

    def __init__(self, hidden: int = 32, layers: int = 2, refinements: int = 1, steps: int = 16) -> None:
        """Network of width `hidden`; zero `refinements` or `steps` leave that stage out."""
        super().__init__()
        self.shape = {"hidden": hidden, "layers": layers, "refinements": refinements, "steps": steps}
        self.encode_link, self.encode_node = nn.Linear(_LINK + _LINK_EXTRA, hidden), nn.Linear(_NODE_EXTRA, hidden)
        sizes = (hidden, _RELATIONS, _LINK_EXTRA, _NODE_EXTRA)
        self.layers = nn.ModuleList(RelationLayer(*sizes) for _ in range(layers))
        self.refinements = nn.ModuleList(RelationLayer(*sizes) for _ in range(refinements))
        self.link_heads = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(1 + refinements))
        self.ap_heads = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(1 + refinements))
        for parameter in [*self.link_heads.parameters(), *self.ap_heads.parameters()]:
            nn.init.zeros_(parameter)
        self.stepper = LearnedSteps(hidden, steps) if steps else None

    @property
    def corrections(self) -> int:
        """Corrections before the learned steps."""
        return len(self.link_heads)

    def forward(self, problem: MaxMinSinrProblem) -> Float[Tensor, "drop logit"]:
        """Logits for `share_power`."""
        return self.points(problem)[-1]

    def points(self, problem: MaxMinSinrProblem, aim: Aim = MAX_MIN) -> list[Float[Tensor, "drop logit"]]:
        """Logits after each correction and each step; in evaluation mode the best of the steps comes once more, last."""
        if aim not in self.AIMS:
            raise ValueError(f"{aim} is none of {self.AIMS}")
        return list(self._trajectory(problem))

    def _trajectory(self, problem: MaxMinSinrProblem) -> Iterator[Float[Tensor, "drop logit"]]:
        logits = start_shares(problem)
        point = _point(problem, logits)
        features = torch.cat([_link_features(problem), point.extra.link], -1)
        state = States(self.encode_link(features).relu(), self.encode_node(point.extra.node).relu())
        for layer in self.layers:
            state = layer(state, point.relations, point.extra)
        logits = logits + self._correction(0, state, problem)
        yield logits
        for index, layer in enumerate(self.refinements, 1):
            point = _point(problem, logits.detach())
            state = layer(state, point.relations, point.extra)
            logits = logits + self._correction(index, state, problem)
            yield logits
        if self.stepper is not None:
            both = torch.cat([state.link, state.node[:, -problem.num_aps :]], 1)
            yield from self.stepper(both, ShareHill(problem), logits)

    def _correction(self, index: int, state: States, problem: MaxMinSinrProblem) -> Tensor:
        link, ap = self.link_heads[index](state.link), self.ap_heads[index](state.node[:, -problem.num_aps :])
        return torch.cat([link, ap], 1).squeeze(-1)

    def power(
        self, problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"], aim: Aim = MAX_MIN
    ) -> Float[Tensor, "drop link"]:
        """Powers (W) of the logits that the network gives."""
        return share_power(problem, logits)

    def loss(
        self, problem: MaxMinSinrProblem, logits: Float[Tensor, "drop logit"], row_weight: float, aim: Aim = MAX_MIN
    ) -> Float[Tensor, " drop"]:
        """What training minimises, per drop."""
        return training_loss(problem, logits, row_weight)


def _link_features(problem: MaxMinSinrProblem) -> Float[Tensor, "drop link feature"]:
    """Whether the link serves; gain times budget over the noise; mean disturbance at full budget; share in uniform powers."""
    limit = problem.link_budget
    gain = (problem.signal.square().flatten(1)) * limit[:, : problem.num_comm_links]
    serves = torch.zeros_like(limit)
    serves[:, : problem.num_comm_links] = 1.0
    gain = torch.cat([gain, gain.new_zeros(len(gain), problem.num_links - problem.num_comm_links)], 1)
    share = reference_power(problem) / limit
    columns = [serves, standardised(gain, _GAIN) * serves, standardised(problem.leakage.sum(1) * limit, _LEAK), share]
    return torch.stack(columns, -1)


def _point(problem: MaxMinSinrProblem, logits: Tensor) -> _Point:
    """Extra numbers of links: gradient of the merit, its part by the UEs, both relative to the drop's; power over budget as a
    logarithm and as it is. Of nodes: kind; log SINR over the smallest, log quality, or load; the same compressed; how far it
    decides. Relations: whose link it is; interference or quality that the link makes, as shares; the same signed slopes.
    """
    with torch.no_grad():
        gradient, power = merit_gradient(problem, logits, _POINT_WEIGHT, _POINT_SHARPNESS)
        utility, _ = merit_gradient(problem, logits, 0.0, _POINT_SHARPNESS)
        slopes = torch.stack([gradient, utility], -1)[:, : problem.num_links]
        size = gradient.square().mean(-1).sqrt()[:, None, None] + 1e-6
        share = power / problem.link_budget
        link = torch.cat([torch.asinh(slopes / size), torch.stack([standardised(share, (-10.0, 5.0)), share], -1)], -1)
        sinr = problem.sinr(power).clamp_min(1e-12).log()
        above = sinr - sinr.amin(-1, keepdim=True)
        quality = log_quality(problem, power)
        load = problem.ap_load(power) / problem.budget
        margin = torch.cat([above, quality, 1.0 - load], 1)
        kind = _kinds(problem).expand(len(margin), -1, -1)
        read = torch.stack([(5.0 * margin).tanh(), margin.clamp(-2.0, 2.0), (-20.0 * margin.abs()).exp()], -1)
        return _Point(States(link, torch.cat([kind, read], -1)), _relations(problem, power, share))


def _kinds(problem: MaxMinSinrProblem) -> Float[Tensor, "1 node kind"]:
    """One-hot kind of every node: UEs, linear constraints of targets, of cells, on positions, APs."""
    positions = 0 if problem.position is None else problem.num_targets
    counts = (problem.num_ues, problem.num_constraints - problem.num_cells, problem.num_cells, positions, problem.num_aps)
    index = torch.arange(_KINDS).repeat_interleave(torch.tensor(counts))
    return torch.nn.functional.one_hot(index, _KINDS).to(problem.budget).unsqueeze(0)


def _relations(problem: MaxMinSinrProblem, power: Tensor, share: Tensor) -> list[Tensor]:
    """Node by link. Whose: the UE that is served, the AP that sends, a target's own beams. Loud: part of the interference or
    noise of a UE, elasticity of a quality, part of an AP's load. Signed: the same, negative where the link harms a constraint.
    """
    drops, links = power.shape
    ues, aps = problem.num_ues, problem.num_aps
    serves = torch.zeros(ues, links).to(power)
    serves[torch.arange(ues).repeat_interleave(problem.serving), torch.arange(problem.num_comm_links)] = 1.0
    sent = (problem.link_ap[:, None] == torch.arange(aps, device=power.device)[:, None]).to(power.dtype)
    heard = problem.leakage * power[:, None]
    heard = heard / (1.0 + heard.sum(-1, keepdim=True))
    slope = elasticities(problem, power)
    nothing = torch.zeros_like(slope)
    whose = torch.cat([serves.expand(drops, -1, -1) / max(problem.serving, 1), nothing, sent / 8.0], 1)
    loud = torch.cat([heard, slope.abs(), sent * share[:, None]], 1)
    signed = torch.cat([-heard, slope, 0.0 * sent], 1)
    return [whose, loud, signed]
