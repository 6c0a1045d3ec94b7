"""The sum of every UE's utility as an objective: value, slope and the curvature of a concave minorant.

    F(x) = sum_k U_alpha(R_k),   R_k = log(1 + SINR_k),   U_alpha(R) = R^(1 - alpha) / (1 - alpha), log R for alpha = 1 .

With tau_k = log u_k(x) - log v_k(x) = log SINR_k of `EpigraphProgram`, U_alpha(R_k) = f(tau_k) rises, and f is concave for
alpha >= 1. log u_k is concave, and -log v_k lies above its tangent: that tangent in its place gives a function below F that
touches it, concave where f is. Where f is convex, its tangent does the same. With q = SINR / (1 + SINR),

    f' = R^-alpha q,   -f'' = f' (alpha q / R - (1 - q)) or 0, if larger,
    minus the minorant's second derivative
        = sum_k (-f'') grad tau_k grad tau_k^T + f' / 2 (diag(theta / x^2) + (theta/x)(theta/x)^T),

where theta_e is the share of link e in sqrt u_k. Where f is concave, F's own is less by f' grad log v_k grad log v_k^T. The
method takes that one wherever it leaves the system positive definite: near a strict local optimum, few steps are left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Fairness:
    """Which utility.

    Attributes:
        alpha: fairness: 0 for the sum rate, 1 for proportional fairness, towards max-min as it grows; at least 0.
        unit: SINR that u_k = v_k stands for, linear.
        exact: whether steps may use F's own curvature: few steps near a strict local optimum, but they may circle far from it.
    """

    alpha: float
    unit: Float[Tensor, " drop"]
    exact: bool = True


@dataclass(frozen=True)
class Merit:
    """F at a point.

    Attributes:
        slope: over the relative powers.
        squares: with `diagonal`, the minorant's curvature: minus its second derivative is squares^T squares + diag(diagonal).
        diagonal: not negative.
        bulge: what the minorant leaves out: minus the second derivative of F itself is less by bulge^T bulge. None to keep to
            the minorant.
        size: sum of f', how much F changes with all SINRs by a factor of e: what changes of F are compared with.
    """

    slope: Float[Tensor, "drop link"]
    squares: Float[Tensor, "drop square link"]
    diagonal: Float[Tensor, "drop link"]
    bulge: Float[Tensor, "drop ue link"] | None
    size: Float[Tensor, " drop"]


def merit(
    fairness: Fairness,
    signal: Float[Tensor, "drop ue"],
    slope: Float[Tensor, "drop ue serving"],
    unwanted: Float[Tensor, "drop ue"],
    leakage: Float[Tensor, "drop ue link"],
    power: Float[Tensor, "drop link"],
) -> Merit:
    """F at positive relative powers x, from u_k, its slope, v_k and the slope of v_k."""
    drops, ues, serving = slope.shape
    comm = ues * serving
    first, second = slopes(signal / unwanted * fairness.unit.unsqueeze(-1), fairness.alpha)
    share = slope / signal.unsqueeze(-1)  # theta / x
    rise = -leakage / unwanted.unsqueeze(-1)
    own = torch.zeros_like(rise)
    own[:, :, :comm].view(drops, ues, ues, serving).diagonal(dim1=1, dim2=2).add_(share.transpose(1, 2))
    rise = rise + own
    squares = [rise * second.sqrt().unsqueeze(-1), own * (0.5 * first).sqrt().unsqueeze(-1)]
    diagonal = torch.zeros_like(power)
    diagonal[:, :comm] = (0.5 * first.unsqueeze(-1) * share / power[:, :comm].reshape(slope.shape)).flatten(1)
    bulge = leakage * (first.sqrt() / unwanted).unsqueeze(-1) if fairness.exact else None
    return Merit(torch.einsum("dk,dke->de", first, rise), torch.cat(squares, 1), diagonal, bulge, first.sum(-1))


def utility(sinr: Float[Tensor, "drop ue"], alpha: float) -> Float[Tensor, " drop"]:
    """Mean over the UEs of U_alpha(log2(1 + SINR)), `sinr` linear, rates in bit/s/Hz; the digits of tiny SINRs are kept."""
    rate = torch.log1p(sinr) / math.log(2.0)
    if alpha == 1.0:
        return rate.log().mean(-1)
    return (rate ** (1.0 - alpha) / (1.0 - alpha)).mean(-1)


def slopes(sinr: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """f' and -f'' over tau = log(sinr)."""
    rate, share = torch.log1p(sinr), sinr / (1.0 + sinr)
    first = share * rate**-alpha
    return first, (first * (alpha * share / rate - (1.0 - share))).clamp_min(0.0)
