"""A power problem with one axis a kind of thing, and what its constraints make of powers in closed form, for networks.

`MaxMinSinrProblem` splits its link axis into UEs times serving links. Here nothing is split, matrices of zeros and ones say
which link belongs to whom, and every step is a product or an elementwise function: a graph exporter can leave every size open.
Vectors are rows [drop, 1, n]. Where a problem has no linear constraint, or none on positions, one that asks for nothing stands
in, so that no axis is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

from jaxtyping import Float

from isac_torch.tensors import Array, all_but_own, at_least, constant, counting, namespace
from isac_torch.tracking.fractional import reference_power
from isac_torch.tracking.position import PositionInformation
from isac_torch.tracking.problem import MaxMinSinrProblem

_TINY = 1e-30
_LEAST_QUALITY = 1e-6
KINDS = 5
"""Of nodes: AP, UE, constraint of a target, of a cell, on a position."""


@dataclass(frozen=True)
class AtPowers(Generic[Array]):
    """What powers do.

    Attributes:
        log_sinr: of every UE.
        sinr_slope: d log SINR / d log power.
        disturbance: part of each link in the interference and noise of each UE, its own links' too.
        log_quality: log(quality / required) of every linear constraint, then of every target's position information.
        quality_slope: d log quality / d log power.
    """

    log_sinr: Float[Array, "drop ue"]
    sinr_slope: Float[Array, "drop ue link"]
    disturbance: Float[Array, "drop ue link"]
    log_quality: Float[Array, "drop requirement"]
    quality_slope: Float[Array, "drop requirement link"]


@dataclass(frozen=True)
class DensePosition(PositionInformation[Array]):
    """Position information whose sums over the links of an AP are products.

    Attributes:
        sent: 1 where the AP sends the link.
    """

    sent: Float[Array, "drop ap link"]

    def _by_ap(self, rate: Array, power: Array) -> Array:
        return (rate * power[:, None, None, :]) @ self.sent.mT[:, None]

    def _at_links(self, value: Array) -> Array:
        return value @ self.sent[:, None]


@dataclass(frozen=True)
class ShareProblem(Generic[Array]):
    """Coefficients of `MaxMinSinrProblem`.

    Attributes:
        signal: a of each serving link, 1/sqrt(W); 0 on sensing links.
        leakage: N of each UE, 1/W.
        coherent: c of each serving link at each UE, 1/sqrt(W); 0 on sensing links.
        serves: 1 where the link serves the UE.
        sent: 1 where the AP sends the link.
        budget: W.
        reference: powers where a search starts, W: those that the requirement compares with, else uniform ones.
        wanted: S of each linear constraint over its largest entry.
        unwanted: what is required times I, over the same.
        noise: what is required times n, over the same.
        position: position information, in units of what is required.
        kind: of each AP, UE, linear constraint and position, one-hot: AP, UE, constraint of a target, of a cell, on a position;
            all zeros for a constraint that stands in.
        real: 1 for each constraint, linear ones first, 0 for one that stands in.
    """

    signal: Float[Array, "drop 1 link"]
    leakage: Float[Array, "drop ue link"]
    coherent: Float[Array, "drop ue link"]
    serves: Float[Array, "drop ue link"]
    sent: Float[Array, "drop ap link"]
    budget: Float[Array, "drop 1 ap"]
    reference: Float[Array, "drop 1 link"]
    wanted: Float[Array, "drop constraint link"]
    unwanted: Float[Array, "drop constraint link"]
    noise: Float[Array, "drop constraint 1"]
    position: DensePosition[Array]
    kind: Float[Array, "drop node 5"]
    real: Float[Array, "drop requirement"]

    @classmethod
    def of(cls, problem: MaxMinSinrProblem[Array]) -> ShareProblem[Array]:
        """The same problems."""
        xp, like = namespace(problem.budget), problem.budget
        drops, links, comm, ues = problem.num_drops, problem.num_links, problem.num_comm_links, problem.num_ues
        sensing = xp.zeros_like(problem.leakage[:, :, comm:])
        aps = counting(problem.num_aps, like)
        sent = xp.astype(problem.link_ap[:, None] == aps[:, None], like.dtype)
        served = xp.where(counting(links, like) < comm, counting(links, like) // max(problem.serving, 1), -1)
        serves = xp.astype(counting(ues, like)[:, None] == served, like.dtype)
        wanted, unwanted, noise = _linear(problem)
        kinds: Any = _kinds(problem)  # arrays of either library know `sum`
        return cls(
            signal=xp.concat([xp.reshape(problem.signal, (drops, comm)), sensing[:, 0]], axis=1)[:, None],
            leakage=problem.leakage,
            coherent=xp.concat([xp.reshape(problem.coherent, (drops, ues, comm)), sensing], axis=2),
            serves=xp.broadcast_to(serves, problem.leakage.shape),
            sent=sent,
            budget=like[:, None],
            reference=reference_power(problem)[:, None],
            wanted=wanted,
            unwanted=unwanted,
            noise=noise,
            position=_position(problem, sent),
            kind=xp.broadcast_to(kinds, (drops, *kinds.shape)),
            real=xp.broadcast_to(kinds[len(aps) + ues :].sum(1), (drops, len(kinds) - len(aps) - ues)),
        )

    def at(self, power: Float[Array, "drop 1 link"]) -> AtPowers[Array]:
        """What positive powers (W) do."""
        log_sinr, useful, disturbance = self._sinr(power)
        own, other = self.wanted * power, self.unwanted * power
        echo, rest = own.sum(2)[..., None], other.sum(2)[..., None] + self.noise
        echo, rest = at_least(echo, _TINY), at_least(rest, _TINY)
        slope, information = self.position.slopes(power[:, 0])
        quality = namespace(power).concat([(echo / rest)[..., 0], information], axis=1)
        slopes = namespace(power).concat([own / echo - other / rest, slope * power / information[..., None]], axis=1)
        held = namespace(power).clip(quality, _LEAST_QUALITY, 1.0 / _LEAST_QUALITY)
        log_quality = namespace(power).log(held) * self.real
        return AtPowers(log_sinr, useful - disturbance, disturbance, log_quality, slopes * self.real[..., None])

    def _sinr(self, power: Array) -> tuple[Array, Array, Array]:
        xp = namespace(power)
        root = xp.sqrt(power)
        sent = self.signal * root
        wanted = at_least(self.serves @ sent.mT, _TINY)  # drop ue 1
        shared = (self.coherent * root) @ self.serves.mT  # drop ue ue
        heard = self.leakage * power
        interference = heard.sum(2)[..., None] + (shared * shared).sum(2)[..., None] + 1.0
        disturbed = heard + (shared @ self.serves) * self.coherent * root
        log_sinr = xp.log(at_least(wanted * wanted / interference, 1e-12))[..., 0]
        return log_sinr, self.serves * (sent / wanted), disturbed / interference


def _linear(problem: MaxMinSinrProblem[Array]) -> tuple[Array, Array, Array]:
    """Wanted and unwanted echoes and noise of every linear constraint, over the largest wanted echo."""
    xp = namespace(problem.budget)
    if not problem.num_constraints:
        ones = xp.ones_like(problem.leakage[:, :1])
        return ones, 0.0 * ones, 0.0 * ones[..., :1] + 1.0
    size = at_least(xp.max(problem.echo, axis=-1), _TINY)
    asked = (problem.sir_min / size)[..., None]
    return problem.echo / size[..., None], asked * problem.cross_echo, asked * problem.constraint_noise[..., None]


def _position(problem: MaxMinSinrProblem[Array], sent: Array) -> DensePosition[Array]:
    """In units of what each target requires. One that nothing is required of, known beforehand, where there is none."""
    xp, known = namespace(sent), problem.position
    if known is None or not problem.num_targets:
        rate = xp.zeros_like(problem.leakage[:, :1, None])
        gone = xp.zeros_like(problem.budget[:, :1, None]) + constant([0.0, 0.0, 0.0], sent)
        away = xp.zeros_like(problem.budget[:, None, :, None]) + constant([0.0, 0.0, 0.0], sent)
        one = xp.ones_like(problem.budget[:, :1])
        return DensePosition(rate, rate, rate, gone[:, None], away, gone + 1.0, one, problem.link_ap, sent)
    unit = at_least(known.required, _TINY)[..., None]
    energy, cross, spread = (value / unit[..., None] for value in (known.energy, known.cross, known.spread))
    one = xp.ones_like(known.required)
    return DensePosition(energy, cross, spread, known.arrival, known.departure, known.prior / unit, one, problem.link_ap, sent)


def _kinds(problem: MaxMinSinrProblem[Array]) -> Float[Array, "node 5"]:
    """One-hot kind of every AP, UE, linear constraint and position, in this order."""
    xp, like = namespace(problem.budget), problem.budget
    eye = constant(1.0, like) - all_but_own(5, like)
    cells, positions = problem.num_cells, 0 if problem.position is None else problem.num_targets
    counts = (problem.num_aps, problem.num_ues, problem.num_constraints - cells, cells, positions)
    rows = [xp.broadcast_to(eye[index], (count, 5)) for index, count in enumerate(counts)]
    nobody = 0.0 * eye[:1]
    rows[3] = rows[3] if problem.num_constraints else nobody
    rows[4] = rows[4] if positions else nobody
    return xp.concat(rows, axis=0)
