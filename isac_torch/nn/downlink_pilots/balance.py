"""Balancing steps: the optimality conditions of (P17) as a map of shares and dual variables onto better ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch.deployment.downlink_pilots.merit import (
    DUAL_RANGE,
    FIRST_DUAL,
    FIRST_PACE,
    LEAST_VALUE,
    MOST_EXCESS,
    SPENT,
)
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.nn.ascent import BestLogits
from isac_torch.nn.downlink_pilots.shares import elasticities, powers, strict_score


class BalancingSteps(nn.Module):
    """Steps (P31)-(P32) from shares and dual variables that a network proposes; their paces are learned.

    With the parts a, b of `elasticities`, an optimum has s_mk nu_m = lambda_k a_mk + mu_k b_mk, where sum_k lambda_k = 1 and
    lambda_k, mu_k belong to the NMSE and to the localisation bound of UE k. Step i:

        log lambda_k += e_i (log w_k NMSE_k - max_j log w_j NMSE_j),   log mu_k += h_i (log(CRB_k / Gamma_k) + c_i),
        log s_mk += d_i (log(lambda_k a_mk + mu_k b_mk) - log s_mk),   both lambda and the shares of an AP scaled to sum to 1.
    """

    def __init__(self, hidden: int, steps: int) -> None:
        """`steps` steps; `hidden` is the width of the UEs' states, from which the first dual variables are read."""
        super().__init__()
        self.steps = steps
        self.dual = nn.Linear(hidden, 2)
        self.pace = nn.Parameter(torch.zeros(steps, 4))
        nn.init.zeros_(self.dual.weight)
        nn.init.zeros_(self.dual.bias)

    def forward(
        self, state: Float[Tensor, "drop ue hidden"], problem: MinMaxNmseProblem, logits: Float[Tensor, "drop link"]
    ) -> Iterator[Float[Tensor, "drop link"]]:
        """Logits after each step; in evaluation mode then the best of them all."""
        first = self.dual(state)
        log_lambda, log_mu = first[..., 0].log_softmax(-1), first[..., 1] + FIRST_DUAL
        share = problem.per_ue(logits).log_softmax(1)
        best = BestLogits(logits)
        for pace in self.pace.exp() * torch.tensor(FIRST_PACE).to(self.pace):
            power = powers(problem, share.flatten(1) + SPENT)
            loss = (problem.weight * problem.nmse(power)).log()
            excess = (problem.crb(power) / problem.crb_max).log()
            if not self.training:
                best.offer(share.flatten(1) + SPENT, strict_score(problem, power))
            log_lambda = (log_lambda + pace[0] * (loss - loss.amax(-1, keepdim=True))).log_softmax(-1)
            log_mu = (log_mu + pace[1] * (excess + pace[2]).clamp(-MOST_EXCESS, MOST_EXCESS)).clamp(*DUAL_RANGE)
            strength, accuracy = elasticities(problem, power)
            value = log_lambda.exp().unsqueeze(-1) * strength + log_mu.exp().unsqueeze(-1) * accuracy
            share = (share + pace[3] * (value.clamp_min(LEAST_VALUE).log() - share)).log_softmax(1)
            yield share.flatten(1) + SPENT
        if self.steps and not self.training:
            best.offer(share.flatten(1) + SPENT, strict_score(problem, powers(problem, share.flatten(1) + SPENT)))
            yield best.logits
