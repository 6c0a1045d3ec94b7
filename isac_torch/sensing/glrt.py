"""Generalised likelihood ratio tests for echoes in clutter: what they measure, by solves. Eqs. (38)-(43) of docs/sensing.md.

A test filters the samples y of a receive AP with W (whitening, or nothing), projects onto columns X, and adds up energy over
the receive APs: sum ||P_X W y||^2. Everything it does follows from small matrices: its Gram matrix K = X^H X, and
X^H W C W^H X for the covariance C of y with and without the target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from isac_torch.sensing.clutter import temporal_covariance
from isac_torch.sensing.conditions import Nearby
from isac_torch.sensing.echoes import EchoScene, at_listeners, illuminating
from isac_torch.sensing.nearby import known_clutter, known_columns
from isac_torch.sensing.projection import orthonormal, pseudo_inverse

NO_LIMIT = Nearby()
"""Tests of all transmit APs and targets."""


@dataclass(frozen=True)
class Glrt:
    """A detector.

    Attributes:
        form: `single` knows of one target and hears one (detection phase); with all others present (tracking phase), `paper`
            projects onto the target's own echoes, `joint` onto what they add to those of the others.
        clutter_statistics: whether it whitens by the clutter's covariance, or takes all disturbance for thermal noise.
        near: how many transmit APs and other targets it takes into account.
    """

    form: Literal["single", "paper", "joint"] = "single"
    clutter_statistics: bool = True
    near: Nearby = NO_LIMIT

    @property
    def constant_false_alarm(self) -> bool:
        """Whether the statistic without target is chi-square whatever clutter and other targets do."""
        return self.clutter_statistics and self.form != "paper" and self.near.everything


@dataclass(frozen=True)
class Moments:
    """Second moments of a test at every listening AP, in the basis of the columns X of the inspected target.

    Attributes:
        gram: K = X^H X.
        quiet: X^H W C W^H X without the target.
        loud: the same with it, reflectivities averaged.
        reference: Gram matrix of the filtered echoes themselves, which sets the scale of rank decisions.
        crowd: part of `quiet` that the echoes of other targets make; None where there is none.
    """

    gram: Complex[Tensor, "drop block target listening ap ap"]
    quiet: Complex[Tensor, "drop block target listening ap ap"]
    loud: Complex[Tensor, "drop block target listening ap ap"]
    reference: Complex[Tensor, "drop block target listening ap ap"]
    crowd: Complex[Tensor, "drop block target listening ap ap"] | None = None


@dataclass(frozen=True)
class _Filtered:
    """Filtered echo columns of the inspected target (first) and, in a crowd, of the others.

    Attributes:
        gram: D^H W^H W D.
        spread: D^H W^H W Psi W^H W D; equal to `gram` when W whitens. Both have the rows that the test needs: all for a `joint`
            one, else those of the inspected target.
        heard: D^H W^H W y; None without observation.
    """

    gram: Complex[Tensor, "drop block target listening row column"]
    spread: Complex[Tensor, "drop block target listening row column"]
    heard: Complex[Tensor, "drop block target listening column"] | None


def moments(sent: Complex[Tensor, "drop block ap time antenna"], scene: EchoScene, test: Glrt) -> Moments:
    """Moments of `test` in every block, eqs. (39)-(42), (92) and (93). Args: sent, samples of the transmit APs, sqrt(W)."""
    order, num_aps = _order(scene, test), sent.shape[2]
    filtered = _filter(sent, scene, test, order, None)
    gram, reference, combine = _columns(filtered.gram, scene, test, order, num_aps)
    arriving, quiet = filtered.gram, filtered.spread[..., :num_aps]
    if combine is not None:
        arriving = combine.mH @ filtered.gram  # X^H W D of all echoes, known to the test or not
        quiet = combine.mH @ filtered.spread[..., : combine.shape[-2]] @ combine
    if test.clutter_statistics and test.near.everything:
        quiet = gram
    cross, crowd = arriving[..., num_aps:], None
    if cross.shape[-1] and (test.form == "paper" or not test.near.everything):
        others = _block_diagonal(scene.reflectivity, order[:, 1:]).to(cross.dtype)[:, None, :, None]
        crowd = cross @ others @ cross.mH
        quiet = quiet + crowd
    own = scene.reflectivity.to(gram.dtype)[:, None, :, None]
    wanted = gram if test.near.everything else arriving[..., :num_aps]
    return Moments(gram, quiet, quiet + wanted @ own @ wanted.mH, reference, crowd)


def statistic(
    observed: Complex[Tensor, "drop block rx time antenna"],
    sent: Complex[Tensor, "drop block ap time antenna"],
    scene: EchoScene,
    test: Glrt,
) -> Float[Tensor, "drop block target"]:
    """The test statistic of observed samples (over the noise deviation), eqs. (38) and (43): the sum over the listening APs."""
    return local_statistics(observed, sent, scene, test).sum(-1)


def local_statistics(
    observed: Complex[Tensor, "drop block rx time antenna"],
    sent: Complex[Tensor, "drop block ap time antenna"],
    scene: EchoScene,
    test: Glrt,
) -> Float[Tensor, "drop block target listening"]:
    """What each listening AP sends to the centre: one number per target, the energy of its samples after its own projection."""
    gram, reference, own = _matched(observed, sent, scene, test)
    basis = orthonormal(gram, reference)
    return (basis.mH @ own.unsqueeze(-1)).abs().square().sum((-2, -1))


def estimated_reflectivity(
    observed: Complex[Tensor, "drop block rx time antenna"],
    sent: Complex[Tensor, "drop block ap time antenna"],
    scene: EchoScene,
    test: Glrt,
) -> Complex[Tensor, "drop block target listening ap"]:
    """Maximum-likelihood estimates of the reflectivities over their deviation, (D^H Psi^-1 D)^+ D^H Psi^-1 y of eq. (43a).

    Where the test whitens and knows of all echoes, they are unbiased and their error has the covariance K^-1: the Cramer-Rao
    bound. Directions that the columns do not have are estimated as 0. Arguments as in `statistic`.
    """
    gram, _, own = _matched(observed, sent, scene, test)
    return (pseudo_inverse(gram) @ own.unsqueeze(-1)).squeeze(-1)


def _matched(observed: Tensor, sent: Tensor, scene: EchoScene, test: Glrt) -> tuple[Tensor, Tensor, Tensor]:
    """K, the Gram matrix that sets the scale of rank decisions, and X^H W y of the inspected target at every listening AP."""
    order, num_aps = _order(scene, test), sent.shape[2]
    filtered = _filter(sent, scene, test, order, observed)
    heard = filtered.heard
    assert heard is not None  # noqa: S101 -- `_filter` was given the observation
    gram, reference, combine = _columns(filtered.gram, scene, test, order, num_aps)
    own = heard[..., :num_aps]
    if combine is not None:
        own = (combine.mH @ heard[..., : combine.shape[-2]].unsqueeze(-1)).squeeze(-1)
    return gram, reference, own


def _order(scene: EchoScene, test: Glrt) -> Int[Tensor, "target point"]:
    """For every inspected target, whose echoes the test deals with: its own, then those of the others."""
    num_targets = scene.response.shape[1]
    index = torch.arange(num_targets, device=scene.listening.device)
    if test.form == "single":
        return index.unsqueeze(1)
    return (index.unsqueeze(1) + index) % num_targets


def _filter(
    sent: Tensor, scene: EchoScene, test: Glrt, order: Int[Tensor, "target point"], observed: Tensor | None
) -> _Filtered:
    """Filter echoes (and observations) antenna direction by antenna direction: the Kronecker form of eq. (39)."""
    target = torch.arange(order.shape[0], device=order.device)[:, None]
    illuminated = (
        illuminating(sent, scene)[:, :, order].permute(0, 1, 2, 4, 3, 5).unsqueeze(3)
    )  # drop block target 1 time point ap
    scale = at_listeners(scene.scale.transpose(1, 2), scene.listening)
    scale = scale.permute(0, 2, 1, 3, 4)[:, :, target, order].transpose(1, 2)  # drop target listening point ap
    columns = (illuminated * scale[:, None, :, :, None]).flatten(5)
    towards = at_listeners(scene.listener_response.transpose(1, 2), scene.listening)
    towards = towards.permute(0, 2, 1, 3, 4)[:, :, target, order].transpose(1, 2)  # drop target listening point antenna
    known, unknown = _clutter_by_knowledge(sent, scene, test)
    eye = torch.eye(sent.shape[3], dtype=sent.dtype, device=sent.device)
    rows = slice(None) if test.form == "joint" else slice(sent.shape[2])
    gram, spread, heard = (columns.new_zeros(()) for _ in range(3))
    for strength, direction, spatial in _antenna_directions(scene, towards):
        share = strength[:, None, :, None, None]
        filtered = twice = columns
        if test.clutter_statistics:
            factor = _at_listeners(torch.linalg.cholesky(share * known + eye), scene.listening)
            filtered = torch.linalg.solve_triangular(factor, columns, upper=False)
        inner = extra = filtered[..., rows].mH @ filtered
        if unknown is not None:
            if test.clutter_statistics:
                twice = torch.linalg.solve_triangular(factor.mH, filtered, upper=True)
            extra = inner + twice[..., rows].mH @ _at_listeners(share * unknown, scene.listening) @ twice
        weight = _stretch(spatial, sent.shape[2]).unsqueeze(1)[..., rows, :]
        gram, spread = gram + weight * inner, spread + weight * extra
        if observed is not None:
            sample = _at_listeners(observed, scene.listening)
            # One series per point for white antennas (through its own response), one for all in a direction of Q_r.
            series = torch.einsum("dljpn,dfljtn->dfljtp", direction.conj(), sample)
            if test.clutter_statistics:
                series = torch.linalg.solve_triangular(factor, series, upper=False)
            parts = filtered.unflatten(-1, (order.shape[1], -1))
            heard = heard + torch.einsum("dfljtpm,dfljtp->dfljpm", parts.conj(), series).flatten(-2)
    return _Filtered(gram, spread, heard if observed is not None else None)


def _clutter_by_knowledge(sent: Tensor, scene: EchoScene, test: Glrt) -> tuple[Tensor, Tensor | None]:
    """Temporal covariances (32) of the clutter that the test whitens, and of the rest; None where there is none."""
    everything = temporal_covariance(sent, scene.clutter)
    if not test.clutter_statistics:
        return torch.zeros_like(everything), everything
    if test.near.aps is None:
        return everything, None
    power = torch.where(known_clutter(scene, test), scene.clutter.power, 0.0)
    known = temporal_covariance(sent, replace(scene.clutter, power=power))
    return known, everything - known


def _antenna_directions(scene: EchoScene, towards: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Strength of the clutter [drop, rx], receive vectors per point, and their inner products, in each direction of Q_r.

    White antennas are one case for all directions: clutter is equally strong in each.
    """
    covariance = scene.clutter.receive_covariance
    if covariance is None:
        ones = torch.ones_like(scene.clutter.power[..., 0])
        return [(ones, towards, towards.conj() @ towards.transpose(-2, -1))]
    value, vector = torch.linalg.eigh(covariance)
    seen = at_listeners(vector, scene.listening)  # drop target listening antenna direction
    result = []
    for n in range(value.shape[-1]):
        axis = seen[..., n]
        part = torch.einsum("dlja,dljpa->dljp", axis.conj(), towards)
        # a_p's share along u_n is u_n (u_n^H a_p): correlating with it picks the n-th series of the observation.
        result.append(
            (
                value[..., n].clamp_min(0.0),
                part.unsqueeze(-1) * axis.unsqueeze(-2),
                part.conj().unsqueeze(-1) * part.unsqueeze(-2),
            )
        )
    return result


def _at_listeners(table: Tensor, listening: Tensor) -> Tensor:
    """Entries of `table` [drop, block, rx, ...] at the listening APs: [drop, block, target, listening, ...]."""
    return at_listeners(table.transpose(1, 2), listening).permute(0, 3, 1, 2, *range(4, table.dim() + 1))


def _stretch(spatial: Tensor, num_aps: int) -> Tensor:
    """Inner products between points as a matrix over (point, AP) columns."""
    return spatial.repeat_interleave(num_aps, -1).repeat_interleave(num_aps, -2)


def _columns(
    gram: Tensor, scene: EchoScene, test: Glrt, order: Int[Tensor, "target point"], num_aps: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """K of the columns X, the Gram matrix that sets the scale of rank decisions, and which combination of the filtered echo
    columns X is; None where it is the inspected target's own.
    """
    known = None if test.near.everything else known_columns(scene, test, order).unsqueeze(1).to(gram.dtype)
    if test.form == "joint" and gram.shape[-1] > num_aps:
        there = gram if known is None else gram * known.unsqueeze(-1) * known.unsqueeze(-2)
        left, combine = _decouple(there, num_aps)
        return left, there[..., :num_aps, :num_aps], combine if known is None else known.unsqueeze(-1) * combine
    own = gram[..., :num_aps, :num_aps]
    if known is None:
        return own, own, None
    mine = torch.diag_embed(known[..., :num_aps])
    own = mine @ own @ mine
    return own, own, mine


def _decouple(gram: Tensor, num_aps: int) -> tuple[Tensor, Tensor]:
    """K of the inspected target's columns beside those of the others, and the combination of columns that gives them."""
    cross, others = gram[..., num_aps:, :num_aps], gram[..., num_aps:, num_aps:]
    removed = pseudo_inverse(others) @ cross
    eye = torch.eye(num_aps, dtype=gram.dtype, device=gram.device).expand(*gram.shape[:-2], -1, -1)
    left = gram[..., :num_aps, :num_aps] - cross.mH @ removed
    return 0.5 * (left + left.mH), torch.cat([eye, -removed], dim=-2)


def _block_diagonal(reflectivity: Tensor, order: Tensor) -> Tensor:
    """Covariance of all reflectivities of the targets at `order` [target, point]: independent between targets."""
    picked = reflectivity[:, order]
    points = torch.eye(order.shape[1], dtype=picked.dtype, device=picked.device)
    full = torch.einsum("dlpij,pq->dlpiqj", picked, points)
    return full.flatten(-4, -3).flatten(-2)
