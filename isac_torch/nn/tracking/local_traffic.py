"""The ledger of a distributed policy: how many numbers every AP sends and hears in a round, and what a centre would need.

Counted are numbers that cross from one node to another. Measurements of the air (a UE's own SINR) cost nothing; an AP's own
links meet inside the AP. A UE's program may run at its master AP: then its numbers cross the fronthaul to the other APs just
so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isac_torch.links import split_by_node
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.unfolded import UnfoldedPrices
from isac_torch.tracking.local.rounds import neighbourhoods
from isac_torch.tracking.problem import MaxMinSinrProblem


@dataclass(frozen=True)
class Traffic:
    """Numbers that each transmit AP sends and hears.

    Attributes:
        sent: in a round, to the UEs and targets of its links, and its part of both sides of each sensing constraint.
        heard: in a round, from the UEs and targets that it hears.
        of_targets: of both, what APs and targets tell each other without the learned numbers (`local_channels.OF_TARGETS`): so
            many more each round where these are sent twice.
        once: before the first round: gains of its serving links, the largest echo of each sensing constraint, both ways, and
            what the noise of that constraint asks for.
        each_exchange: in an exchange of promises, both ways.
        upload: to a centre, once: its coefficients; and the powers that come back.
    """

    sent: Float[Tensor, "drop ap"]
    heard: Float[Tensor, "drop ap"]
    of_targets: Float[Tensor, "drop ap"]
    once: Float[Tensor, "drop ap"]
    each_exchange: Float[Tensor, "drop ap"]
    upload: Float[Tensor, "drop ap"]

    @property
    def each_round(self) -> Float[Tensor, "drop ap"]:
        """Numbers of a round, both ways."""
        return self.sent + self.heard


def traffic(
    policy: DistributedNetwork | UnfoldedPrices, problem: MaxMinSinrProblem, hears: Bool[Tensor, "drop ue ap"] | None = None
) -> Traffic:
    """Count the messages of one round of `policy` on every drop of `problem`.

    An AP sends, over each link, the learned numbers, and over each sensing link its own beams' two parts of the constraint; to
    every target its part of echo and disturbance. It hears, of every UE in its neighbourhood, the prices, the disturbance and
    what arrives from each UE on the same pilot; of every sensing constraint both prices and both sides; over each link the
    learned numbers back, a UE's amplitude, a target's factor.
    """
    known = neighbourhoods(problem, hears)
    floats = policy.shape.get("floats", 0)
    prices = 1 + policy.shape.get("prices", 0)
    serving, lighting = split_by_node(problem, known.at_ap)
    served, sensed = serving.flatten(2).sum(-1), lighting.flatten(2).sum(-1)
    pairs = torch.ones(1, problem.num_ues, problem.num_aps, dtype=torch.bool) if hears is None else hears
    sharing = (problem.coherent != 0.0).any(-1).sum(2)
    announced = (prices + 1.0 + sharing.to(problem.budget))[..., None] * (pairs | (serving.sum(-1).mT > 0))
    constraints = float(problem.num_constraints)
    own_beams = 2.0 * sensed * bool(constraints)
    to_targets, from_targets = own_beams + 2.0 * constraints, own_beams + 4.0 * constraints
    sent = floats * (served + sensed) + to_targets
    heard = announced.sum(1) + (floats + 1.0) * served + floats * sensed + from_targets
    upload = served + (problem.num_ues + 2.0 * constraints) * known.links + known.links
    at_first = (2.0 if problem.echo_noise is None else 3.0) * constraints
    return Traffic(sent, heard, to_targets + from_targets, served + at_first, 5.0 * constraints + 0.0 * served, upload)
