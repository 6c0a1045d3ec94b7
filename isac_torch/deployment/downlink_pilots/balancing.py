"""Balancing steps without torch: the counterpart of `isac_torch.nn.downlink_pilots.balance`, for one road."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.downlink_pilots.merit import (
    DUAL_RANGE,
    FIRST_DUAL,
    FIRST_PACE,
    LEAST_VALUE,
    MOST_EXCESS,
    SPENT,
    Point,
    powers,
)

if TYPE_CHECKING:
    from isac_torch.deployment.downlink_pilots.problem import RoadProblem


def balanced(
    problem: RoadProblem,
    logits: Float[ndarray, "ue ap"],
    dual: Float[ndarray, "ue 2"],
    pace: Float[ndarray, "step 4"],
) -> Float[ndarray, "ue ap"]:
    """The best logits, by `Point.score`, of the steps (P31)-(P32) from `logits`.

    Args:
        problem: the road.
        logits: where to start.
        dual: what the network says of each UE's first lambda and mu.
        pace: logarithms of e, h, c and d of each step over those before training.
    """
    log_lambda, log_mu = _normalised(dual[:, 0]), dual[:, 1] + FIRST_DUAL
    share = _normalised(logits)
    best, highest = share, -np.inf
    for by_loss, by_excess, margin, along in np.exp(pace) * FIRST_PACE:
        point = Point(problem, powers(problem, share + SPENT))
        if (score := point.score) > highest:
            best, highest = share, score
        log_lambda = _normalised(log_lambda + by_loss * (point.loss - point.loss.max()))
        excess = np.minimum(np.maximum(margin - point.accuracy, -MOST_EXCESS), MOST_EXCESS)
        log_mu = np.minimum(np.maximum(log_mu + by_excess * excess, DUAL_RANGE[0]), DUAL_RANGE[1])
        strength, accuracy = point.elasticities
        value = np.exp(log_lambda)[:, None] * strength + np.exp(log_mu)[:, None] * accuracy
        share = _normalised(share + along * (np.log(np.maximum(value, LEAST_VALUE)) - share))
    last = Point(problem, powers(problem, share + SPENT)).score
    return (share if last > highest else best) + SPENT


def _normalised(value: ndarray) -> ndarray:
    """Logarithms of shares that sum to one over the UEs."""
    value = value - value.max(0)
    return value - np.log(np.exp(value).sum(0))
