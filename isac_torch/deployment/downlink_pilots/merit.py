"""What the network climbs: the smooth largest NMSE and the missing accuracy, and powers from logits. Without torch.

The counterpart of `isac_torch.nn.downlink_pilots.shares`, which has its constants from here, with the slopes written out, for
one road.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

if TYPE_CHECKING:
    from isac_torch.deployment.downlink_pilots.problem import RoadProblem

SILENCE = -6.0
"""Logit of keeping power back: an AP whose links all lie far above it spends its whole budget."""
LOCALISATION_MARGIN = 0.02
"""Localisation is pushed until log(Gamma / CRB) passes this, so that a small error does not break a bound."""
LOCALISATION_WEIGHT = 3.0
"""Nepers of NMSE that a neper of missing accuracy is worth."""
SHARPNESS = 30.0
"""Of the smooth maximum over the UEs' log NMSE, so that all near the largest are worked on."""
STRICT_WEIGHT, STRICT_MARGIN = 30.0, 1e-5
"""Weight and margin of a missed bound when points are compared."""
SPENT = 8.0
"""Added to the logarithms of shares that sum to one: as logits they keep back exp(SILENCE - SPENT) of a budget."""
FIRST_PACE = (1.0, 1.5, 0.005, 1.0)
"""e, h, c and d of the balancing steps before training."""
FIRST_DUAL = -1.2
"""log mu of the balancing steps before training."""
DUAL_RANGE = (-7.0, 3.0)
"""Of log mu."""
MOST_EXCESS = 1.0
"""Nepers of a bound over Gamma, and below it, that a balancing step takes in at most."""
LEAST_VALUE = 1e-9
"""Of a link, against those of all links of an AP, which sum to about one."""
LEAST_ACCURACY = 1e-6
"""Gamma over a bound below which it counts as this."""


def powers(problem: RoadProblem, logits: Float[ndarray, "ue ap"]) -> Float[ndarray, "ue ap"]:
    """Powers (W): each AP's budget by a softmax over its links and the option to keep power back."""
    if problem.serves is not None:
        logits = np.where(problem.serves > 0.0, logits, -np.inf)
    top = np.maximum(logits.max(0), SILENCE)
    share = np.exp(logits - top)
    power = share / (share.sum(0) + np.exp(SILENCE - top)) * problem.budget
    return power if problem.serves is None else problem.positive(power)


def start_logits(problem: RoadProblem) -> Float[ndarray, "ue ap"]:
    """Untrained directions: an AP favours the UEs that it reaches well, and those that all APs together reach badly."""
    strength = np.maximum(problem.estimate, 1e-30)
    logits = 0.5 * np.log(strength) - 1.5 * np.log(np.sqrt(strength).sum(-1, keepdims=True))
    return logits - logits.mean(0)


class Point:
    """What is known at some powers (W): NMSE and accuracy, the score by which points are compared."""

    def __init__(self, problem: RoadProblem, power: Float[ndarray, "ue ap"]) -> None:
        """Evaluated at once; `power` in W, positive."""
        self.problem, self.power = problem, power
        self._error, self._strength, self._quality = problem.error(power), problem.strength(power), problem.quality(power)
        self.loss = np.log(problem.weight * self._error.value / self._strength.value)
        self.accuracy = self._quality.value

    @property
    def elasticities(self) -> tuple[Float[ndarray, "ue ap"], Float[ndarray, "ue ap"]]:
        """Derivatives of the logarithms of a UE's strength and accuracy by those of its own powers; 0 where undefined."""
        strength = self.power * self._strength.slope / self._strength.value[:, None]
        accuracy = self.power * self._quality.slope
        # a third of the time of nan_to_num
        return np.where(np.isfinite(strength), strength, 0.0), np.where(np.isfinite(accuracy), accuracy, 0.0)

    @property
    def score(self) -> float:
        """-log of the largest NMSE less the heavily weighted missing accuracy; -inf where it is not finite."""
        missing = np.maximum(STRICT_MARGIN - np.maximum(self.accuracy, np.log(LEAST_ACCURACY)), 0.0).sum()
        score = -self.loss.max() - STRICT_WEIGHT * missing
        return float(score) if np.isfinite(score) else -np.inf

    def gradient(self) -> Float[ndarray, "ue ap"]:
        """Of the merit in the logits of `powers`; zeros where it is not finite.

        merit = -log sum_k exp(SHARPNESS log NMSE_k) / SHARPNESS - LOCALISATION_WEIGHT sum_k relu(margin - log(Gamma / CRB_k))
        """
        pull = np.exp(SHARPNESS * (self.loss - self.loss.max()))
        pull /= pull.sum()
        slope = (pull / self._strength.value)[:, None] * self._strength.slope
        slope -= self._error.pulled(pull / self._error.value)
        short = (self.accuracy < LOCALISATION_MARGIN) & (self.accuracy > np.log(LEAST_ACCURACY))
        if short.any():
            slope[short] += LOCALISATION_WEIGHT * self._quality.slope[short]
        share = self.power / self.problem.budget
        by_share = slope * self.power
        gradient = by_share - share * by_share.sum(0)
        return gradient if np.isfinite(gradient).all() else np.zeros_like(gradient)
