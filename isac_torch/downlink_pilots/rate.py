"""Rate of the data behind the downlink pilots, in closed form up to two integrals: (P23a)-(P23e) of docs/downlink_pilots.md.

The data symbols are sent by the same beams as the pilots. A UE takes its estimate a_hat of the effective channel as if it were
the channel and decodes to the nearest codeword of a Gaussian code book. Noise, the other UEs' data and the error of a_hat
disturb it. The generalised mutual information of this receiver, an achievable rate, needs the means over the fading of
ln(1 + |a_hat|^2 / s) and of |a_kj|^2 / (s + |a_hat|^2). With b = |a_hat| / sqrt(s),

    ln(1 + b^2) = 2 int K_1(t) (1 - J_0(t b)) dt,     1 / (1 + b^2) = int t K_0(t) J_0(t b) dt,

and J_0 is the mean of exp(j Re(conj(omega) a_hat)) over the directions of omega: both means are integrals of a characteristic
function, which is a product over the APs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.downlink_pilots.receiver import noise, residual
from isac_torch.errors import ProblemError

if TYPE_CHECKING:
    from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
    from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

_RADII, _FIRST, _LAST = 28, -10.0, 3.2
"""Nodes of the trapezoidal rule in ln t for eight APs, and its ends, beyond which nothing is left."""
_ANGLES = 14
"""Nodes on a quarter of the circle for eight APs: the integrand is symmetric in both axes. With both numbers and their growth
the rate is right to 1e-4, 8 to 64 APs and 1 to 6 UEs."""
_NARROW = 0.25
"""How closely the nodes gather where the mean channel does not turn the integrand's phase."""
_ELEMENTS = 500_000
"""Complex numbers of a tensor at once."""
_SILENT = 1e-30
"""Energy over noise below which a link counts as this, so that the root has a slope."""
_INAUDIBLE = 1e30
"""Noise of a data symbol that stands in for an infinite one, where nothing is sent."""


def data_share(scenario: DownlinkPilotScenario) -> float:
    """Share of the frame's symbols that carry data, 1 - (tau_u + tau_d) / tau."""
    return 1.0 - scenario.pilot_symbols / scenario.frame_symbols


def payload_noise(
    scenario: DownlinkPilotScenario, payload: float | Float[Tensor, " drop"] | None = None
) -> float | Float[Tensor, " drop"]:
    """Noise of a data symbol in the units of the power problem, N = tau_d P / P_data, eq. (P23b).

    `payload` (W) is each AP's power of a data symbol where its pilots have the whole `pilot_power`; default the scenario's
    `payload_power`.
    """
    return scenario.downlink_symbols * scenario.pilot_power / (scenario.payload_power if payload is None else payload)


def achievable_rate(
    problem: MinMaxNmseProblem,
    power: Float[Tensor, "drop link"],
    scenario: DownlinkPilotScenario,
    payload: float | Float[Tensor, " drop"] | None = None,
) -> Float[Tensor, "drop ue"]:
    """Rate that each UE's receiver achieves, averaged over the whole frame, bit/s, eq. (P23a).

    Args:
        problem: of `scenario`, whose UEs share no uplink pilot.
        power: of a pilot symbol, W, of each link.
        scenario: pilot lengths, frame, bandwidth.
        payload: power of a data symbol as in `payload_noise`, W.

    Raises:
        ProblemError: if UEs share an uplink pilot.

    Example:
        >>> import torch
        >>> from isac_torch import DownlinkPilotScenario, power_problem
        >>> from isac_torch.allocation import equal_split
        >>> from isac_torch.downlink_pilots.rate import achievable_rate
        >>> scenario = DownlinkPilotScenario(downlink_symbols=4, uplink_symbols=2)
        >>> problem = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(1)), scenario)
        >>> [f"{rate / 1e6:.0f}" for rate in achievable_rate(problem, equal_split(problem), scenario)[0].tolist()]  # Mbit/s
        ['26', '35']
    """
    return data_share(scenario) * scenario.bandwidth * spectral_efficiency(problem, power, payload_noise(scenario, payload))


def spectral_efficiency(
    problem: MinMaxNmseProblem,
    power: Float[Tensor, "drop link"],
    disturbance: float | Float[Tensor, " drop"],
    *,
    fineness: float = 1.0,
) -> Float[Tensor, "drop ue"]:
    """Bit/s/Hz of a data symbol, eq. (P23c); differentiable in the powers, with the weights of correlated pilots held fixed.

    Args:
        problem: roads whose UEs share no uplink pilot, with any receiver.
        power: of a pilot symbol, W, of each link; the beams of the data have the same proportions.
        disturbance: noise N of a data symbol, see `payload_noise`.
        fineness: nodes of each integral over the usual number.

    Raises:
        ProblemError: if UEs share an uplink pilot, or if the beams do not fade.
    """
    if problem.has_shared_uplink:
        raise ProblemError("no rate is known where UEs share an uplink pilot; draw drops with uplink_symbols >= num_ues")
    if problem.fading == "per_block":
        raise ProblemError("no rate is known of beams that do not fade (crb='per_block'); choose another crb")
    floor = torch.as_tensor(disturbance, dtype=power.dtype, device=power.device).clamp_max(_INAUDIBLE).expand(problem.num_drops)
    size = max(1, _ELEMENTS // max(1, problem.num_ues * problem.num_aps * math.prod(_nodes(problem.num_aps, fineness))))
    if problem.num_drops <= size:
        return _efficiency(problem, power, floor, fineness)
    parts = torch.arange(problem.num_drops, device=power.device).split(size)
    return torch.cat([_efficiency(problem.select(part), power[part], floor[part], fineness) for part in parts])


def _efficiency(
    problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"], floor: Float[Tensor, " drop"], fineness: float
) -> Float[Tensor, "drop ue"]:
    parts = _statistics(problem, power, floor)
    radius, first, second, tangent = (part.to(power) for part in _rule(problem.num_aps, fineness))
    frequency = (radius / parts.disturbance.sqrt().unsqueeze(-1)).unsqueeze(-1)  # |omega|, [drop, ue, radius, 1]
    narrow = (1.0 + (_NARROW * frequency * parts.coherent.sum(2)).square()).rsqrt().detach()
    steep = 1.0 + (narrow * tangent).square()
    along = frequency * narrow * tangent / steep.sqrt()  # Re omega, [drop, ue, radius, angle]
    share = narrow * (1.0 + tangent.square()) / steep / tangent.numel()
    whole, received = _characteristic(parts, frequency.square(), along)
    logarithm = (first * (1.0 - (share * whole.real).sum(-1))).sum(-1)
    energy = whole * (received + floor[:, None, None, None])
    ratio = (second * (share * energy.real).sum(-1)).sum(-1) / parts.disturbance
    return ((logarithm + ratio - 1.0) / math.log(2.0)).clamp_min(0.0)


@dataclass(frozen=True)
class _Statistics:
    """What the estimate a_hat = E a_kk + own (a_kk - E a_kk) + sum_j t_kj a_kj + noise is made of; energies over pilot noise.

    Attributes:
        own: real factor of a_kk.
        leaked: |t_kj|^2 of the other UEs' beams, zero for j = k; None where pilots are orthogonal.
        heard: E|.|^2 of AP m's part of a_kj.
        away: the same, summed over j other than k.
        coherent: mean of AP m's part of a_kk.
        spread: its variance about the part that the AP knows.
        noise: variance of the noise in a_hat.
        disturbance: s, mean energy of all that the UE does not take for its data.
    """

    own: Float[Tensor, "drop ue 1 1"]
    leaked: Float[Tensor, "drop ue ue"] | None
    heard: Float[Tensor, "drop ue ue ap"]
    away: Float[Tensor, "drop ue ap 1 1"]
    coherent: Float[Tensor, "drop ue ap 1 1"]
    spread: Float[Tensor, "drop ue ap 1 1"]
    noise: Float[Tensor, "drop ue 1 1"]
    disturbance: Float[Tensor, "drop ue"]


def _statistics(problem: MinMaxNmseProblem, power: Float[Tensor, "drop link"], floor: Float[Tensor, " drop"]) -> _Statistics:
    by_ue = problem.per_ue(power)
    combiner = problem.combiner(power)
    left = residual(combiner, problem.gram)
    squared = left[0].square() + left[1].square()
    heard = torch.einsum("dkm,djm->dkjm", problem.gain, by_ue)
    away = heard.sum(2) - torch.einsum("dkkm->dkm", heard)
    return _Statistics(
        own=(1.0 - left[0].diagonal(dim1=1, dim2=2))[..., None, None],
        leaked=None if problem.separated else squared - torch.diag_embed(squared.diagonal(dim1=1, dim2=2)),
        heard=heard,
        away=away[..., None, None],
        coherent=(problem.estimate * by_ue).clamp_min(_SILENT).sqrt()[..., None, None],
        spread=((problem.gain - problem.estimate) * by_ue)[..., None, None],
        noise=noise(combiner, problem.gram)[..., None, None],
        disturbance=problem.error_of(combiner, power) + away.sum(-1) + floor.unsqueeze(-1),
    )


def _characteristic(parts: _Statistics, square: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """Characteristic function of a_hat (P23d), and the mean of sum_j |a_kj|^2 weighted by it, over it (P23e).

    `square` [drop, ue, radius, 1] is |omega|^2, `along` [drop, ue, radius, angle] Re omega.
    """
    own, coherent, spread = parts.own, parts.coherent, parts.spread
    size, shift = own.square() * square, own * along
    width = spread * size.unsqueeze(2)
    if parts.leaked is not None:
        width = width + torch.einsum("dkj,dkjm->dkm", parts.leaked, parts.heard)[..., None, None] * square.unsqueeze(2)
    factor = torch.complex(1.0 + 0.25 * width, -shift.unsqueeze(2) * coherent).reciprocal()  # of AP m's part
    known = (1.0 - own) * coherent.sum(2)
    whole = torch.polar(torch.exp(-0.25 * square * parts.noise), along * known) * factor.prod(2)

    doubled = factor.square()
    mean, spread_sum = (coherent * factor).sum(2), (spread * factor).sum(2)
    received = mean.square() + spread_sum + (parts.away * factor).sum(2) - 0.25 * size * spread_sum.square()
    received = received + ((coherent.square() - 0.25 * size.unsqueeze(2) * spread.square()) * doubled).sum(2)
    received = received + 1j * shift * (mean * spread_sum + (coherent * spread * doubled).sum(2))
    if parts.leaked is not None:
        heard, leaked = parts.heard.to(factor.dtype), parts.leaked.to(factor.dtype)
        through = torch.einsum("dkjm,dkmra->dkjra", heard, factor).square()
        through = through + torch.einsum("dkjm,dkmra->dkjra", heard.square(), doubled)
        received = received - 0.25 * square * torch.einsum("dkj,dkjra->dkra", leaked, through)
    return whole, received


def _nodes(aps: int, fineness: float) -> tuple[int, int]:
    """Radii and angles: many APs make the channel's amplitude certain, and the integrand oscillates."""
    growth = fineness * math.sqrt(max(1.0, aps / 8.0))
    return round(_RADII * growth), round(_ANGLES * growth)


@lru_cache(maxsize=8)
def _rule(aps: int, fineness: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Radii t and weights of the two integrals of the module's docstring [radius], tangents of evenly spaced angles [angle]."""
    radii, angles = _nodes(aps, fineness)
    logarithm = torch.linspace(_FIRST, _LAST, radii, dtype=torch.float64)
    radius = logarithm.exp()
    step = (logarithm[1] - logarithm[0]) * radius
    first = 2.0 * step * torch.special.modified_bessel_k1(radius)
    second = step * radius * torch.special.modified_bessel_k0(radius)
    angle = (torch.arange(angles, dtype=torch.float64) + 0.5) * (0.5 * math.pi / angles)
    return radius, first, second / second.sum(), angle.tan()
