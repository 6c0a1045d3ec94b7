"""Where echoes come from: the likelihood of target positions given what receive APs heard. Eqs. (61)-(63) of docs/sensing.md.

The sequences s_m[t] are known, the reflectivities are not: given positions, the most likely ones leave of the whitened samples
what lies outside the span of the echo columns. So the log likelihood of a position is the statistic (43) of the test there,
with the echoes of other known targets taken out as in (42). Every position needs small matrices only: samples enter through
their products with the sequences, once for each block and receive AP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from isac_torch.propagation.arrays import steering
from isac_torch.propagation.geometry import angles
from isac_torch.sensing.clutter import Clutter, temporal_covariance
from isac_torch.tracking.drop import TrackingDrop

_RIDGE = 1e-6
"""Share of a column's energy added to Gram matrices: directions weaker than this count as absent, smoothly."""
_STEP = 1.0
"""Distance (m) of the differences that stand for derivatives of the likelihood."""
_GAIN = 0.01
"""A search ends with a step that raises the log likelihood by less than this."""


@dataclass(frozen=True)
class Look:
    """What the receive APs of one network heard in some blocks, after whitening.

    Attributes:
        network: the network, as a batch of one.
        gram: products of the transmit APs' samples with each other.
        echo: products of the transmit APs' samples with those of the receive AP.
    """

    network: TrackingDrop
    gram: Complex[Tensor, "block rx ap antenna ap antenna"]
    echo: Complex[Tensor, "block rx ap antenna element"]

    @property
    def num_antennas(self) -> int:
        """Antennas of each AP."""
        return self.echo.shape[-1]


def look_at(
    observed: Complex[Tensor, "drop block rx time antenna"],
    sent: Complex[Tensor, "drop block ap time antenna"],
    clutter: Clutter,
    network: TrackingDrop,
) -> list[Look]:
    """Whitened products of every drop, for white antennas.

    Args: observed, samples over the noise; sent, sqrt(W); clutter, its statistics.
    """
    temporal = temporal_covariance(sent, clutter)
    eye = torch.eye(sent.shape[3], dtype=sent.dtype, device=sent.device)
    factor = torch.linalg.cholesky(temporal + eye)  # drop block rx time time
    flat = sent.transpose(2, 3).flatten(3).unsqueeze(2)  # drop block 1 time (ap antenna)
    white = torch.linalg.solve_triangular(factor, flat.expand(-1, -1, factor.shape[2], -1, -1), upper=False)
    heard = torch.linalg.solve_triangular(factor, observed, upper=False)
    shape = sent.shape[2], sent.shape[4]
    gram, echo = (white.mH @ white).unflatten(-1, shape).unflatten(3, shape), (white.mH @ heard).unflatten(3, shape)
    return [Look(network.select(torch.tensor([d])), gram[d], echo[d]) for d in range(len(gram))]


@dataclass(frozen=True)
class Known:
    """Echoes of known targets at one receive AP, ready to be taken out.

    Attributes:
        cross: products of an orthonormal basis of these echoes with the samples of every transmit and receive antenna.
        share: products of the same basis with what was heard.
    """

    cross: Complex[Tensor, "block column ap antenna element"]
    share: Complex[Tensor, "block column"]


def known_echoes(look: Look, position: Float[Tensor, "point 3"], receivers: Iterable[int]) -> dict[int, Known]:
    """Echoes of targets at `position` (m) at each of these receive APs; empty without any target."""
    if len(position) == 0:
        return {}
    towards, heard_from = _responses(look, position)
    return {r: _known_at(look, r, towards, heard_from[:, r]) for r in receivers}


def _known_at(look: Look, r: int, towards: Tensor, heard_from: Tensor) -> Known:
    """The basis is that of a Cholesky factor: echo columns times its inverse."""
    illuminated = torch.einsum("jma,bmanc->bjmnc", towards, look.gram[:, r])
    antennas = heard_from.conj() @ heard_from.T
    gram = torch.einsum("bjmnc,knc->bjmkn", illuminated, towards.conj())
    gram = (gram * antennas[None, :, None, :, None]).flatten(3).flatten(1, 2)
    heard = torch.einsum("jma,bmak,jk->bjm", towards, look.echo[:, r], heard_from.conj()).flatten(1)
    energy = gram.diagonal(dim1=-2, dim2=-1).real
    factor = torch.linalg.cholesky(gram + torch.diag_embed(_RIDGE * energy + torch.finfo(energy.dtype).tiny))
    antenna_wise = illuminated.unsqueeze(-1) * heard_from.conj()[None, :, None, None, None]
    both = torch.cat([antenna_wise.flatten(3).flatten(1, 2), heard.unsqueeze(-1)], dim=-1)
    basis = torch.linalg.solve_triangular(factor, both, upper=False)
    return Known(basis[..., :-1].unflatten(-1, illuminated.shape[3:] + heard_from.shape[1:]), basis[..., -1])


def log_likelihood(
    look: Look,
    position: Float[Tensor, "point 3"],
    receiver: Int[Tensor, "point listening"],
    known: Mapping[int, Known] | None = None,
) -> Float[Tensor, " point"]:
    """Log likelihood of one target at each position, over that of none, eq. (61): energy that the test collects there.

    Args:
        look: what was heard.
        position: m.
        receiver: receive APs that listen, of each position.
        known: echoes of other targets, at the receive APs that listen.
    """
    towards, heard_from = _responses(look, position)
    known = known or {}
    total = position.new_zeros(len(position))
    for r in receiver.unique().tolist():
        index = (receiver == r).any(-1).nonzero()[:, 0]
        found = _collected(look, r, towards[index], heard_from[index, r], known.get(r))
        total = total.index_add(0, index, found)
    return total


def _responses(look: Look, position: Tensor) -> tuple[Tensor, Tensor]:
    """Array responses of the transmit and the receive APs towards points, [point, ap, antenna]."""
    network = look.network
    both = []
    for place, orientation in ((network.tx_position, network.tx_orientation), (network.rx_position, network.rx_orientation)):
        azimuth, elevation = angles(place, orientation, position.unsqueeze(0))
        both.append(steering(azimuth[0].T, elevation[0].T, look.num_antennas))
    return both[0], both[1]


def _collected(look: Look, r: int, towards: Tensor, heard_from: Tensor, known: Known | None) -> Tensor:
    """Energy within the span of each point's echo columns at receive AP `r`, over all blocks."""
    gram = look.num_antennas * _lit(look.gram[:, r], towards)
    heard = torch.einsum("pma,bmak,pk->bpm", towards, look.echo[:, r], heard_from.conj())
    energy = gram.diagonal(dim1=-2, dim2=-1).real
    if known is not None:
        path = (towards.conj().unsqueeze(-1) * heard_from[:, None, None]).flatten(2)
        taken = torch.einsum("bqne,pne->bpqn", known.cross.flatten(-2), path)
        gram = gram - taken.mH @ taken
        heard = heard - (taken.mH @ known.share.unsqueeze(1).unsqueeze(-1))[..., 0]
    unit = energy.clamp_min(torch.finfo(energy.dtype).tiny).rsqrt() * (energy > 0)
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(gram * unit.unsqueeze(-1) * unit.unsqueeze(-2) + _RIDGE * eye)
    white = torch.linalg.solve_triangular(factor, (heard * unit).unsqueeze(-1), upper=False)
    return white.abs().square().sum((-1, -2)).sum(0)


def _lit(gram: Tensor, towards: Tensor) -> Tensor:
    """Products [block, point, ap, ap] of what the transmit APs send towards each point."""
    blocks, aps, antennas = gram.shape[:3]
    first = towards.transpose(0, 1) @ gram.permute(1, 2, 0, 3, 4).flatten(2)  # ap point (block ap antenna)
    both = first.unflatten(-1, (blocks, aps, antennas)) * towards.conj().unsqueeze(1)
    return both.sum(-1).permute(2, 1, 0, 3)


def most_likely(
    score: Callable[[Float[Tensor, "point 3"]], Float[Tensor, " point"]],
    mean: Float[Tensor, "3"],
    precision: Float[Tensor, "3 3"],
    start: Float[Tensor, "3"] | None = None,
    steps: int = 12,
    reach: float = 30.0,
) -> tuple[Float[Tensor, "3"], Float[Tensor, "3 3"]]:
    """Maximum of score(x) - (x - mean)^T precision (x - mean) / 2 by Newton steps, and the score's curvature there.

    Derivatives are differences over a metre; the curvature counts where it is downwards only. The likelihood of an echo is a
    narrow, bent ridge, along which the search needs several steps.

    Args:
        score: log likelihood of positions, m.
        mean: of the belief, m.
        precision: inverse covariance of the belief, 1/m2.
        start: where the search starts, m; default the mean.
        steps: Newton steps at most, each the best of four lengths; a step that gains next to nothing is the last one.
        reach: longest step, m.
    """
    here = mean if start is None else start
    length = mean.new_tensor([0.0, 0.25, 0.5, 1.0])
    for _ in range(steps):
        slope, information = _derivatives(score, here)
        change = torch.linalg.solve(precision + information, slope - precision @ (here - mean))
        change = change * (reach / change.norm().clamp_min(reach))
        trial = here + length[:, None] * change
        off = trial - mean
        found = score(trial) - 0.5 * ((off @ precision) * off).sum(-1)
        here = trial[int(found.argmax())]
        if float(found.max() - found[0]) < _GAIN:
            return here, information
    return here, _derivatives(score, here)[1]


def _derivatives(score: Callable[[Tensor], Tensor], here: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and downward curvature of the score, from 19 points around `here`."""
    unit = _STEP * torch.eye(3, dtype=here.dtype, device=here.device)
    pairs = [(i, j) for i in range(3) for j in range(i)]
    around = [here, *(here + unit), *(here - unit)]
    around += [here + s * unit[i] + s * unit[j] for i, j in pairs for s in (1, -1)]
    value = score(torch.stack(around))
    centre, up, down = value[0], value[1:4], value[4:7]
    slope = (up - down) / (2 * _STEP)
    curved = torch.diag((up + down - 2 * centre) / _STEP**2)
    for k, (i, j) in enumerate(pairs):
        both = value[7 + 2 * k] + value[8 + 2 * k]
        curved[i, j] = curved[j, i] = (both + 2 * centre - up[i] - up[j] - down[i] - down[j]) / (2 * _STEP**2)
    down_only, axis = torch.linalg.eigh(-curved)
    return slope, (axis * down_only.clamp_min(0.0)) @ axis.T
