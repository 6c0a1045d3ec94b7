"""Moments of the beams of one AP: of partial-MMSE beams over drawn estimates, of zero-forcing ones over drawn nulls.

Equations (89)-(91) of docs/physics.md. Everything is turned; arrays of samples have the samples first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from array_api_compat import device
from jaxtyping import Complex, Float

from isac_torch.tensors import Array, at_least, namespace, tiniest
from isac_torch.tracking.drawn_estimates import beams_at
from isac_torch.tracking.one_null import null_moments_of
from isac_torch.tracking.precoding import avoided_ues, null_basis

if TYPE_CHECKING:
    from isac_torch.tracking.beam_setup import BeamSetup
    from isac_torch.tracking.drawn_estimates import Estimation, Served
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.physics import Physics


@dataclass(frozen=True)
class Moments(Generic[Array]):
    """Moments of the beams of one AP.

    Attributes:
        norm: root of the mean energy of each beam before it was normalised.
        covariance: turned E[w w^H], unit trace.
        mean: E[h_k^H w_j] of every UE k: real, 0 for UEs on different pilots.
        spread: E|h_k^H w_j|^2 - |E h_k^H w_j|^2.
    """

    norm: Float[Array, " served"]
    covariance: Float[Array, "served antenna antenna"]
    mean: Float[Array, "ue served"]
    spread: Float[Array, "ue served"]


def sampled_moments(
    served: Served[Array],
    estimates: Complex[Array, "ue antenna sample"],
    known: Estimation[Array],
    drop: TrackingDrop[Array],
    physics: Physics,
) -> Moments[Array]:
    """Averages over the samples, whatever the beams.

    Given the estimates, errors are independent of the beams. So are UEs on pilots that no UE of the AP sends.
    """
    xp = namespace(estimates)
    beams = beams_at(served, estimates, known, drop, physics)
    length = xp.sqrt((xp.abs(beams) ** 2).sum(1).mean(-1))
    beams = beams / at_least(length, tiniest(length))[:, None, None]
    covariance = xp.real(beams @ xp.conj(beams).mT) / beams.shape[-1]
    channel, estimate = known.covariance[served.drop, served.ap], known.estimate[served.drop, served.ap]
    same = known.gram[served.drop][:, served.ue] > 0.0
    (seen,) = xp.nonzero(same.any(-1))
    gain = xp.conj(xp.moveaxis(estimates[seen], 1, 2))[:, None, :, None, :] @ xp.moveaxis(beams, 1, 2)[None, ..., None]
    gain = gain[..., 0, 0]  # seen served sample
    own = xp.where(same[seen], xp.real(gain.mean(-1)), 0.0)
    spread = _traces(channel, covariance)
    mean = xp.zeros_like(spread)
    mean[seen] = own
    spread[seen] = (xp.abs(gain) ** 2).mean(-1) - own * own + _traces((channel - estimate)[seen], covariance)
    return Moments(length, covariance, mean, spread)


def null_moments(
    served: Served[Array],
    estimates: Complex[Array, "ue antenna sample"],
    known: Estimation[Array],
    setup: BeamSetup,
) -> Moments[Array]:
    """Averages over the samples of the nulls; given these, those over the UE's own observation are exact.

    Beams avoid UEs on other pilots only, so that the projection is independent of the own observation. With one null no average
    over samples is left, but for further UEs on the pilot of the avoided one.
    """
    xp = namespace(estimates)
    place = served.drop, served.ap
    parts = []
    for k, avoided in avoided_ues(setup.nulls, served.ue, known.estimate[place], known.gram[served.drop]):
        alone = len(avoided) == 1 and float(known.gram[served.drop][avoided[0]].sum()) == 1.0
        if alone:
            parts.append(_beside_one(k, avoided[0], place, known))
            continue
        basis = null_basis([estimates[j] for j in avoided])
        root = known.root[place][k]
        left = xp.eye(root.shape[0], dtype=root.dtype, device=device(root)) + 0.0 * xp.conj(estimates[0, :1]).T[..., None]
        for unit in basis:
            left = left - unit.T[:, :, None] * xp.conj(unit).T[:, None, :]
        parts.append(_projected(k, avoided, left @ (root + 0.0 * left), estimates, place, known))
    columns = [xp.stack(list(column)) for column in zip(*parts, strict=True)]
    return Moments(columns[0], columns[1], columns[2].mT, columns[3].mT)


def _beside_one(k: int, avoided: int, place: tuple[int, int], known: Estimation[Array]) -> tuple[Array, Array, Array, Array]:
    """Norm, covariance, means and spreads of UE k's beam beside the estimate of one UE with a pilot of its own: no draws."""
    xp = namespace(known.covariance)
    channel, estimate, root = known.covariance[place], known.estimate[place], known.root[place]
    null = null_moments_of(estimate[avoided])
    shaped = null.sandwich(estimate[k])
    energy = shaped.diagonal().sum()
    scale = at_least(energy, tiniest(energy))
    covariance = shaped / scale
    spread = _traces(channel, covariance[None])[:, 0]
    error = _traces(channel - estimate, covariance[None])[:, 0]
    mean, through = xp.zeros_like(spread), null.mean()
    for i in (int(i) for i in xp.nonzero(known.gram[place[0]][k] > 0.0)[0]):
        form = root[k] @ root[i].T
        mean[i] = (through * form).sum() / xp.sqrt(scale)
        second = (null.trace_square(form) + (estimate[i] * shaped).sum()) / scale
        spread[i] = second - mean[i] ** 2 + error[i]
    spread[avoided] = error[avoided]
    return xp.sqrt(energy), covariance, mean, spread


def _projected(
    k: int,
    avoided: list[int],
    shape: Complex[Array, "sample antenna antenna"],
    estimates: Complex[Array, "ue antenna sample"],
    place: tuple[int, int],
    known: Estimation[Array],
) -> tuple[Array, Array, Array, Array]:
    """Norm, covariance, means and spreads of UE k's beam `shape` z, z its white observation."""
    xp = namespace(estimates)
    channel, estimate, gram = known.covariance[place], known.estimate[place], known.gram[place[0]]
    energy = (xp.abs(shape) ** 2).sum((-2, -1)).mean()
    scale = at_least(energy, tiniest(energy))
    covariance = xp.real(shape @ xp.conj(shape).mT).mean(0) / scale
    spread = _traces(channel, covariance[None])[:, 0]
    mean = xp.zeros_like(spread)
    error = _traces(channel - estimate, covariance[None])[:, 0]
    same = gram[k] > 0.0
    for i in (int(i) for i in xp.nonzero(same)[0]):  # h_i^H w = z^H (F_i^T shape) z
        form = (known.root[place][i] + 0.0 * shape).mT @ shape
        trace = form.diagonal(0, -2, -1).sum(-1)
        mean[i] = xp.real(trace).mean() / xp.sqrt(scale)
        second = (xp.abs(trace) ** 2 + (xp.abs(form) ** 2).sum((-2, -1))).mean() / scale
        spread[i] = second - mean[i] ** 2 + error[i]
    touched = gram[k] * 0.0 > 0.0
    for j in avoided:
        touched = touched | (gram[j] > 0.0)
    (touched,) = xp.nonzero(touched & ~same)
    if len(touched):
        through = xp.conj(shape).mT @ xp.permute_dims(estimates[touched], (2, 1, 0))
        spread[touched] = (xp.abs(through) ** 2).sum(1).mean(0) / scale + error[touched]
    return xp.sqrt(energy), covariance, mean, spread


def _traces(left: Float[Array, "ue antenna antenna"], right: Float[Array, "served antenna antenna"]) -> Array:
    """tr(A B) of every pair of symmetric matrices."""
    return left.reshape(len(left), -1) @ right.reshape(len(right), -1).mT
