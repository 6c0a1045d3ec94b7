"""The sum of the logarithms of the targets' SICNRs as an objective: slope and the curvature of a concave minorant.

    F(x) = sum_l log SICNR_l(x),   SICNR_l = (S_l x + o_l) / (I_l x + n_l)

The log of the echo is concave, and minus the log of what disturbs it lies above its tangent: that tangent in its place gives a
function below F that touches it. Minus the minorant's second derivative is the sum of grad log(S_l x) grad log(S_l x)^T. F's
own is less by the same of I_l x + n_l; using it needs more steps. Times 10 / log(10) over the number of targets, F is the mean
SICNR in dB.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.solvers.tracking.fairness import Merit


@dataclass(frozen=True)
class TargetMerit:
    """That the targets' SICNRs are the objective.

    Attributes:
        targets: the first sensing constraints, one for each target.
    """

    targets: int

    def at(
        self,
        echo: Float[Tensor, "drop constraint link"],
        cross_echo: Float[Tensor, "drop constraint link"],
        wanted: Float[Tensor, "drop constraint"],
        unwanted: Float[Tensor, "drop constraint"],
    ) -> Merit:
        """F where S x + o is `wanted` and I x + n is `unwanted`, both positive."""
        rise = echo[:, : self.targets] / wanted[:, : self.targets, None]
        fall = cross_echo[:, : self.targets] / unwanted[:, : self.targets, None]
        size = torch.full_like(wanted[:, 0], float(self.targets))
        return Merit((rise - fall).sum(1), rise, torch.zeros_like(rise[:, 0]), None, size)
