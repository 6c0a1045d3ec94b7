"""Downlink pilots: programmes for the batched engine: best localisation, least largest NMSE, a box of the certificate.

Scales as in `isac_torch.solvers.downlink_pilots.model`: shares of an AP's budget, gains over S_k^2, information over the trace
at full power. Uplink pilots are orthogonal, so that the projection has V_k = F_k I_k / (F_k + I_k), F_k = sum_m gain_km x_km,
I_k = 1 + sum_{j != k} |psi_k^H psi_j|^2 sum_m gain_km x_jm. Boxes of the certificate are for the projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.receiver import lmmse_weights, residual
from isac_torch.downlink_pilots.receiver import noise as receiver_noise
from isac_torch.solvers.downlink_pilots.interior import Constraints
from isac_torch.tensors import map_tensors


@dataclass(frozen=True)
class Drops:
    """A batch of drops in the engine's scales.

    Attributes:
        gain: beta energy over noise.
        root: sqrt of the estimates' energy over its sum S_k.
        scale: S_k^2.
        xx, yy, xy: Fisher information over its trace at full power.
        quality: 2 / (Gamma_k trace).
        leak: |psi_k^H psi_j|^2, 0 for k = j.
        weight: of each UE's NMSE.
        serves: 1 where the AP serves the UE, 0 where the link counts as without power, whatever its share.
        gram_real, gram_imag: psi_k^H psi_j.
        joint: whether the receiver looks at the whole pilot, (P6a), and not at the UE's own one, (P6b).
    """

    gain: Float[Tensor, "drop ue ap"]
    root: Float[Tensor, "drop ue ap"]
    scale: Float[Tensor, "drop ue"]
    xx: Float[Tensor, "drop ue ap"]
    yy: Float[Tensor, "drop ue ap"]
    xy: Float[Tensor, "drop ue ap"]
    quality: Float[Tensor, "drop ue"]
    leak: Float[Tensor, "drop ue ue"]
    weight: Float[Tensor, "drop ue"]
    serves: Float[Tensor, "drop ue ap"]
    gram_real: Float[Tensor, "drop ue ue"]
    gram_imag: Float[Tensor, "drop ue ue"]
    joint: bool

    def select(self, index: Int[Tensor, " chosen"]) -> Drops:
        """The drops at `index`."""
        return map_tensors(self, lambda tensor: tensor[index])

    def received(self, share: Float[Tensor, "drop ue ap"]) -> tuple[Tensor, Tensor]:
        """F_k and I_k."""
        own = (self.gain * share).sum(-1)
        return own, 1.0 + (self.leak * self.heard(share)).sum(-1)

    def heard(self, share: Float[Tensor, "drop ue ap"]) -> Float[Tensor, "drop ue ue"]:
        """F_kj, energy over noise of UE j's beams at UE k."""
        return self.gain @ share.mT


def drops_of(problem: MinMaxNmseProblem) -> Drops:
    """The batch of a problem with orthogonal uplink pilots, float64."""
    problem = problem.cast(torch.float64)
    budget = problem.budget.unsqueeze(1)
    root = (problem.estimate * budget).sqrt()
    total = root.sum(-1, keepdim=True)
    xx, yy, xy = (part * budget for part in (problem.fisher_xx, problem.fisher_yy, problem.fisher_xy))
    trace = (xx + yy).sum(-1, keepdim=True)
    squared = problem.gram_real.square() + problem.gram_imag.square()
    leak = squared - torch.diag_embed(squared.diagonal(dim1=1, dim2=2))
    return Drops(
        gain=problem.gain * budget,
        root=root / total,
        scale=total[..., 0].square(),
        xx=xx / trace,
        yy=yy / trace,
        xy=xy / trace,
        quality=2.0 / (problem.crb_max * trace[..., 0]),
        leak=leak,
        weight=problem.weight,
        serves=torch.ones_like(root) if problem.serves is None else problem.serves,
        gram_real=problem.gram_real,
        gram_imag=problem.gram_imag,
        joint=problem.receiver == "lmmse" and not problem.separated,
    )


def localised(drops: Drops, share: Tensor) -> tuple[Tensor, Tensor]:
    """How far each UE is inside its localisation cone (P18), and the unit vector [3] of the cone's side at `share`."""
    xx, yy, xy = ((part * share).sum(-1) for part in (drops.xx, drops.yy, drops.xy))
    side = torch.stack([xx - yy, 2.0 * xy, drops.quality], -1)
    length = side.norm(dim=-1)
    return xx + yy - drops.quality - length, side / length.unsqueeze(-1)


def _place(block: Tensor) -> Tensor:
    """Slopes of one constraint per UE, [drop, ue, ap], as slopes over all shares, [drop, constraint, ue, ap]."""
    return torch.diag_embed(block.movedim(1, -1), dim1=1, dim2=2)


def _cones(drops: Drops, share: Tensor) -> Constraints:
    value, unit = localised(drops, share)
    slope = drops.xx + drops.yy - unit[..., 0, None] * (drops.xx - drops.yy) - 2.0 * unit[..., 1, None] * drops.xy
    size = value.new_ones(value.shape) * drops.quality
    return Constraints(
        value / size, _place(slope * share / size.unsqueeze(-1)), torch.zeros_like(value), torch.ones_like(value)
    )


def _cone_curvature(drops: Drops, share: Tensor, dual: Tensor) -> Tensor:
    """Dual variable times x (second derivative of the side's length) x, [drop, ue, ap, ap]."""
    difference, cross = (drops.xx - drops.yy) * share, 2.0 * drops.xy * share
    side = torch.stack([difference.sum(-1), cross.sum(-1), drops.quality], -1)
    length = side.norm(dim=-1)
    moves = torch.stack([difference, cross], -1)
    along = (moves * (side[..., :2] / length.unsqueeze(-1)).unsqueeze(-2)).sum(-1, keepdim=True)
    factor = (dual / (length * drops.quality))[..., None, None]
    return factor * (moves @ moves.mT - along @ along.mT)


def _budgets(share: Tensor, limit: Tensor, raising: float) -> Constraints:
    """limit - load of every AP."""
    load = share.sum(1)
    aps = share.shape[2]
    eye = torch.eye(aps, dtype=share.dtype, device=share.device)
    slope = -share.unsqueeze(1) * eye[:, None, :]
    value = limit - load
    return Constraints(value, slope, torch.full_like(value, raising), torch.ones_like(value))


def _stack(*parts: Constraints) -> Constraints:
    return Constraints(
        *(torch.cat([getattr(part, name) for part in parts], 1) for name in ("value", "slope", "raising", "size"))
    )


@dataclass(frozen=True)
class Localisation:
    """Least largest AP load at which every UE is located to its Gamma: the CRB is inverse to the power. t = -load."""

    drops: Drops

    def select(self, index: Int[Tensor, " chosen"]) -> Localisation:
        """The programmes at `index`."""
        return Localisation(self.drops.select(index))

    def constraints(self, share: Tensor, epigraph: Tensor) -> Constraints:
        """Cones, then budgets."""
        return _stack(_cones(self.drops, share), _budgets(share, -epigraph.unsqueeze(-1), -1.0))

    def curvature(self, share: Tensor, dual: Tensor) -> Tensor:
        """Of the cones."""
        return _cone_curvature(self.drops, share, dual[:, : share.shape[1]])


@dataclass(frozen=True)
class LeastNmse:
    """Largest t with G_k^2 + F_k >= t unit w_k V_k(x), budgets and cones; V_k, concave, is taken at its tangent.

    The tangent at the current point is the majoriser of the readable descent, and the product t V_k a Dinkelbach step: both are
    part of each Newton step. A box of the certificate adds the constraints l I_k <= F_k <= h I_k, replaces V_k by its chord
    between them, and t by the margin by which a fixed value is met.

    Attributes:
        drops: the batch.
        unit: largest weighted NMSE that t = 1 stands for; of a box the NMSE itself.
        low, high: the box; empty tensors where there is none.
    """

    drops: Drops
    unit: Float[Tensor, " drop"]
    low: Float[Tensor, "drop bounded"]
    high: Float[Tensor, "drop bounded"]

    def select(self, index: Int[Tensor, " chosen"]) -> LeastNmse:
        """The programmes at `index`."""
        return LeastNmse(self.drops.select(index), self.unit[index], self.low[index], self.high[index])

    @property
    def fenced(self) -> bool:
        """Whether this is a box of the certificate."""
        return self.low.shape[1] > 0

    def chord(self, own: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """a and b of the error a F_k + b I_k: the chord in the box, else the tangent at F = `own`, I = `noise`."""
        if self.fenced:
            inverse = 1.0 / ((1.0 + self.low) * (1.0 + self.high))
            return inverse, inverse * self.low * self.high
        total = own + noise
        return (noise / total).square(), (own / total).square()

    def plane(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes [drop, ue, ue] in F_kj and constant [drop, ue] of the error: the chord in the box, else the tangent."""
        drops = self.drops
        if drops.joint:
            gram = drops.gram_real, drops.gram_imag
            weights = lmmse_weights(gram, torch.diag_embed(drops.heard(share)))
            left = residual(weights, gram)
            return left[0].square() + left[1].square(), receiver_noise(weights, gram)
        a, b = self.chord(*drops.received(share))
        return torch.diag_embed(a) + b.unsqueeze(-1) * drops.leak, b

    def constraints(self, share: Tensor, epigraph: Tensor) -> Constraints:
        """NMSE of every UE, cones, budgets, and the box."""
        sent = share * self.drops.serves
        parts = [self._errors(sent, epigraph), _cones(self.drops, sent)]
        parts.append(_budgets(share, torch.ones_like(epigraph).unsqueeze(-1), 0.0))
        return _stack(*parts, *([self._fences(sent)] if self.fenced else []))

    def _errors(self, share: Tensor, epigraph: Tensor) -> Constraints:
        drops = self.drops
        plane, constant = self.plane(share)
        heard = drops.heard(share)
        own = heard.diagonal(dim1=1, dim2=2)
        amplitude = drops.root * share.sqrt()
        coherent = amplitude.sum(-1)
        goal = self.unit.unsqueeze(-1) * drops.weight / drops.scale
        if not self.fenced:
            goal = goal * epigraph.unsqueeze(-1)
        error = (plane * heard).sum(-1) + constant
        value = coherent.square() + own / drops.scale - goal * error
        slope = coherent.unsqueeze(-1) * amplitude + drops.gain * share / drops.scale.unsqueeze(-1)
        loss = goal.unsqueeze(-1) * plane
        every = _place(slope) - loss.unsqueeze(-1) * (drops.gain.unsqueeze(2) * share.unsqueeze(1))
        raising = -self.margin() if self.fenced else -error * self.unit.unsqueeze(-1) * drops.weight / drops.scale
        if self.fenced:
            value = value + raising * epigraph.unsqueeze(-1)
        return Constraints(value, every, raising, (goal * error).clamp_min(1e-300))

    def margin(self) -> Tensor:
        """How much of each UE's error constraint a unit of a box's margin is worth."""
        return self.unit.unsqueeze(-1) * self.drops.weight / self.drops.scale * self.high / (1.0 + self.high)

    def _fences(self, share: Tensor) -> Constraints:
        """h I - F >= 0 over h, and F - l I >= 0 over 1 + l."""
        own, noise = self.drops.received(share)
        energy = self.drops.gain * share
        every = self.drops.leak.unsqueeze(-1) * (self.drops.gain.unsqueeze(2) * share.unsqueeze(1))
        value = torch.cat([noise - own / self.high, (own - self.low * noise) / (1.0 + self.low)], 1)
        above = every - _place(energy / self.high.unsqueeze(-1))
        below = (_place(energy) - self.low[..., None, None] * every) / (1.0 + self.low)[..., None, None]
        return Constraints(value, torch.cat([above, below], 1), torch.zeros_like(value), torch.ones_like(value))

    def curvature(self, share: Tensor, dual: Tensor) -> Tensor:
        """Of the coherent gains and of the cones; the dropped part of V_k is small and of the other sign."""
        ues, share = share.shape[1], share * self.drops.serves
        amplitude = self.drops.root * share.sqrt()
        coherent = amplitude.sum(-1, keepdim=True)
        whole = torch.diag_embed(coherent * amplitude) - amplitude.unsqueeze(-1) * amplitude.unsqueeze(-2)
        cones = _cone_curvature(self.drops, share, dual[:, ues : 2 * ues])
        return 0.5 * dual[:, :ues, None, None] * whole + cones

    def bound(self, share: Tensor, dual: Tensor) -> tuple[Tensor, Tensor]:
        """Upper bound on a box's margin from any dual variables (weak duality, P22), and the rounding error in it at most."""
        drops, (_, ues, aps) = self.drops, share.shape
        share = share * drops.serves
        error, cone = dual[:, :ues], dual[:, ues : 2 * ues] / drops.quality
        above, below = dual[:, 2 * ues + aps :].split(ues, 1)
        a, b = self.chord(*drops.received(share))
        goal = self.unit.unsqueeze(-1) * drops.weight / drops.scale
        # Dual variables of F_k and of I_k, whose constant 1 is what is left without power.
        own = error * (1.0 / drops.scale - goal * a) - above / self.high + below / (1.0 + self.low)
        noise = above - error * goal * b - below * self.low / (1.0 + self.low)
        linear = drops.gain * own.unsqueeze(-1) + torch.einsum("dkj,dkm->djm", drops.leak * noise.unsqueeze(-1), drops.gain)
        unit = localised(drops, share)[1]
        linear = linear * drops.serves + cone_slope(drops, cone, unit)
        constants = torch.stack([noise.sum(-1), -(cone * drops.quality * (1.0 + unit[..., 2])).sum(-1)])
        amplitude = (drops.root * share.sqrt()).clamp_min(1e-150)
        part = amplitude / amplitude.sum(-1, keepdim=True)
        coherent = error.unsqueeze(-1) * drops.root.square() / part
        largest = (linear + coherent).amax(1).clamp_min(0.0).sum(-1) + constants.sum(0)
        size = linear.abs().sum((-1, -2)) + coherent.sum((-1, -2)) + constants.abs().sum(0) + noise.abs().sum(-1)
        total = (error * self.margin()).sum(-1)
        return largest / total, size / total


def cone_slope(drops: Drops, dual: Tensor, unit: Tensor) -> Tensor:
    """Slope [drop, ue, ap] in the shares of the cones, weighted with dual variables; `unit`: vector of each side."""
    rows = drops.xx + drops.yy - unit[..., 0, None] * (drops.xx - drops.yy) - 2.0 * unit[..., 1, None] * drops.xy
    return dual.unsqueeze(-1) * rows


def quality_bound(drops: Drops, share: Tensor, dual: Tensor) -> Tensor:
    """Bound on the smallest Gamma_k / CRB_k that any powers reach, from any dual variables of the cones, by weak duality."""
    dual = dual / drops.quality
    unit = localised(drops, share)[1]
    cost = (dual * drops.quality * (1.0 + unit[..., 2])).sum(-1)
    return cone_slope(drops, dual, unit).amax(1).clamp_min(0.0).sum(-1) / cost
