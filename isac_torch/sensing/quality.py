"""How well powers sense: SCNR, SICNR, miss probability, mutual information. Equations (47)-(50) of docs/sensing.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from isac_torch.sensing.clutter import WHITE
from isac_torch.sensing.echoes import EchoScene, echo_scene
from isac_torch.sensing.glrt import Glrt, Moments, moments
from isac_torch.sensing.projection import orthonormal, pseudo_inverse, rank
from isac_torch.sensing.signals import NORMAL_ERRORS, condensed, draw_blocks, transmitted
from isac_torch.tensors import cat_tensors, map_tensors
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.laws import chi_square_threshold, weighted_exceedance, weighted_threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isac_torch.sensing.conditions import AntennaCorrelation, Pointing
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.scenario import TrackingScenario
    from isac_torch.tracking.setup import SensingSetup

_CHUNK_ENTRIES = 2**21
"""Complex numbers in the largest tensors of a chunk of blocks: 32 MiB each at most, unless one block needs more."""


@dataclass(frozen=True)
class EchoQuality:
    """What a test makes of the echoes of every target in every block.

    Attributes:
        signal: mean energy of the target's echo after the test's projection, over the noise.
        disturbance: mean energy of everything else after it; the rank when clutter is whitened and nobody else echoes.
        rank: directions that the test looks at, over all listening APs.
    """

    signal: Float[Tensor, "drop block target"]
    disturbance: Float[Tensor, "drop block target"]
    rank: Int[Tensor, "drop block target"]

    @property
    def ratio(self) -> Float[Tensor, "drop block target"]:
        """SCNR of a `single` test, SICNR in a crowd, linear; 0 where nothing is sent. Eqs. (47) and (48)."""
        return self.signal / torch.where(self.disturbance > 0, self.disturbance, 1.0)


def echo_quality(sent: Complex[Tensor, "drop block ap time antenna"], scene: EchoScene, test: Glrt) -> EchoQuality:
    """Quality of every block, differentiable in the samples `sent` (sqrt(W)), and so in the powers.

    The rank is a whole number: it jumps, and the ratio with it, when an AP is switched off.
    """
    return _Once(moments(sent, scene, test), scene, test).quality()


class _Once:
    """Energies of a block's moments, for any brightness of the targets."""

    def __init__(self, found: Moments, scene: EchoScene, test: Glrt) -> None:
        self._size = rank(found.gram, found.reference).sum(-1)
        reflectivity = scene.reflectivity[:, None, :, None].to(found.gram.dtype)
        self._signal = (reflectivity * found.gram.transpose(-2, -1)).real.sum((-3, -2, -1))
        self._alone, self._crowd = self._size.to(self._signal), None
        if not test.constant_false_alarm:
            inverse = pseudo_inverse(found.gram)

            def projected(part: Tensor) -> Tensor:
                return (inverse * part.transpose(-2, -1)).real.sum((-3, -2, -1))

            if not test.near.everything:
                self._signal = projected(found.loud - found.quiet)
            self._alone = projected(found.quiet if found.crowd is None else found.quiet - found.crowd)
            self._crowd = None if found.crowd is None else projected(found.crowd)

    def quality(self, factor: float = 1.0) -> EchoQuality:
        """What the test makes of targets whose cross-sections are `factor` times as large."""
        crowd = 0.0 if self._crowd is None else factor * self._crowd
        return EchoQuality(factor * self._signal, self._alone + crowd, self._size)


@dataclass(frozen=True)
class OperatingPoint:
    """What a sweep changes of echoes and detector without changing the filters.

    Attributes:
        brightness: cross-sections of all targets over those of the setup.
        false_alarm: probability of a false alarm that the threshold keeps.
    """

    brightness: float
    false_alarm: float


class StatisticLaw:
    """Laws of the statistic with and without the target, for any brightness of the targets.

    Columns X grow by the root of the brightness and the filter does not: in an orthonormal basis of their range, noise and
    clutter stay as they are, and all echoes grow by the brightness.
    """

    def __init__(self, found: Moments, test: Glrt) -> None:
        self._whitened = test.constant_false_alarm
        self._thresholds: dict[OperatingPoint, Tensor] = {}
        basis = orthonormal(found.gram, found.reference)
        own = basis.mH @ (found.loud - found.quiet) @ basis
        if self._whitened:  # noise and clutter are the identity on the directions that there are, which come last
            size = rank(found.gram, found.reference).unsqueeze(-1)
            order = torch.arange(own.shape[-1], device=own.device)
            self._alone = (order >= own.shape[-1] - size).double()
            self._own = torch.linalg.eigvalsh(own).double().clamp_min(0.0)
            return
        quiet = found.quiet if found.crowd is None else found.quiet - found.crowd
        self._own, self._alone = own, basis.mH @ quiet @ basis
        self._crowd = None if found.crowd is None else basis.mH @ found.crowd @ basis

    def weights(self, brightness: float, loud: bool) -> Float[Tensor, "drop block target weight"]:
        """Weights of the exponentials over all listening APs, with the target where `loud`; 0 for absent directions."""
        if self._whitened:
            return (self._alone + brightness * self._own if loud else self._alone).flatten(-2)
        middle = self._alone if self._crowd is None else self._alone + brightness * self._crowd
        middle = middle + brightness * self._own if loud else middle
        return torch.linalg.eigvalsh(middle).double().clamp_min(0.0).flatten(-2)

    def threshold(self, point: OperatingPoint) -> Float[Tensor, "drop block target"]:
        """Value that the statistic exceeds without the target with the point's false-alarm probability."""
        # Only echoes of other targets move it: without them it is the same at every brightness.
        known = point if not self._whitened and self._crowd is not None else replace(point, brightness=1.0)
        if known not in self._thresholds:
            quiet = self.weights(known.brightness, loud=False)
            if self._whitened:
                value = chi_square_threshold((quiet > 0).sum(-1), known.false_alarm).to(quiet)
            else:
                value = weighted_threshold(quiet, known.false_alarm)
            self._thresholds[known] = value
        return self._thresholds[known]

    def miss(self, point: OperatingPoint) -> Float[Tensor, "drop block target"]:
        """Probability that the statistic stays below the threshold with the target; 1 where nothing is sent."""
        threshold = self.threshold(point)
        miss = 1.0 - weighted_exceedance(self.weights(point.brightness, loud=True), threshold)
        return torch.where(threshold.isinf(), 1.0, miss)


def miss_probability(found: Moments, test: Glrt, false_alarm: float) -> Float[Tensor, "drop block target"]:
    """Probability that a Swerling-I target stays below the threshold of the test's own H0 law, eq. (49).

    Exact in noise, clutter and reflectivities, given the block's symbols and estimates. 1 where nothing is sent.
    """
    return StatisticLaw(found, test).miss(OperatingPoint(1.0, false_alarm))


@dataclass(frozen=True)
class SensingReport:
    """Quality and miss probability of many blocks, small enough to keep.

    Attributes:
        quality: of the test.
        miss: probability of missing each target; None where it was not asked for.
    """

    quality: EchoQuality
    miss: Float[Tensor, "drop block target"] | None


def assess(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    setup: SensingSetup,
    power: Float[Tensor, "drop link"],
    test: Glrt,
    *,
    num_blocks: int,
    seed: int,
    truth: TrackingDrop | None = None,
    with_miss: bool = False,
    conditions: tuple[Pointing, AntennaCorrelation] = (NORMAL_ERRORS, WHITE),
) -> SensingReport:
    """Judge powers by the true echoes in drawn blocks, a bounded number of blocks at a time.

    Blocks depend on the seed, not on the powers or the test: equal seeds compare like with like.

    Args:
        drop: networks; beams point at its targets.
        scenario: theirs.
        setup: clutter, reflectivities, samples, false-alarm rate.
        power: of every link, W.
        test: the detector.
        num_blocks: blocks drawn per drop.
        seed: of the blocks.
        truth: networks with targets where they really are; default `drop`.
        with_miss: whether to compute miss probabilities too.
        conditions: how angles err, and how clutter is correlated between antennas.
    """
    own = (OperatingPoint(1.0, setup.false_alarm),)
    return assess_at(
        drop, scenario, setup, power, test, own, num_blocks, seed, truth=truth, with_miss=with_miss, conditions=conditions
    )[0]


def assess_at(
    drop: TrackingDrop,
    scenario: TrackingScenario,
    setup: SensingSetup,
    power: Float[Tensor, "drop link"],
    test: Glrt,
    points: Sequence[OperatingPoint],
    num_blocks: int,
    seed: int,
    *,
    truth: TrackingDrop | None = None,
    with_miss: bool = False,
    conditions: tuple[Pointing, AntennaCorrelation] = (NORMAL_ERRORS, WHITE),
) -> list[SensingReport]:
    """`assess` at several cross-sections and false-alarm rates: the filters do not depend on them, and are shared.

    Arguments as in `assess`; one report for every point, in their order.
    """
    pointing, correlation = conditions
    scene = echo_scene(drop if truth is None else truth, scenario, setup, correlation)
    generator = torch.Generator(power.device).manual_seed(seed)
    chunk = max(1, _CHUNK_ENTRIES // _entries(scene, setup.samples(scenario), test))
    together = max(1, chunk // num_blocks)
    per_chunk = min(num_blocks, chunk)
    rows: list[list[EchoQuality]] = [[] for _ in points]
    misses: list[list[Tensor]] = [[] for _ in points]
    for part in torch.arange(drop.num_drops, device=power.device).split(together):
        some, view = drop.select(part), select_scene(scene, part)
        statistics = channel_statistics(some, scenario)
        columns: list[list[EchoQuality]] = [[] for _ in points]
        missed: list[list[Tensor]] = [[] for _ in points]
        for start in range(0, num_blocks, per_chunk):
            count = min(per_chunk, num_blocks - start)
            blocks = draw_blocks(some, statistics, scenario, count, setup.samples(scenario), generator, pointing)
            blocks = condensed(blocks, some, power[part])
            found = moments(transmitted(blocks, some, power[part]), view, test)
            once = _Once(found, view, test)
            law = StatisticLaw(found, test) if with_miss else None
            for i, point in enumerate(points):
                columns[i].append(once.quality(point.brightness))
                if law is not None:
                    missed[i].append(law.miss(point))
        for i in range(len(points)):
            rows[i].append(_join(columns[i]))
            misses[i].extend([torch.cat(missed[i], dim=1)] if with_miss else [])
    return [
        SensingReport(cat_tensors(row), torch.cat(miss) if with_miss else None) for row, miss in zip(rows, misses, strict=True)
    ]


def _entries(scene: EchoScene, samples: int, test: Glrt) -> int:
    """Complex numbers that one block of one drop takes: clutter covariances, echo columns and their products."""
    _, targets, num_rx, num_aps = scene.scale.shape
    columns = num_aps * (1 if test.form == "single" else targets)
    rows = columns if test.form == "joint" else num_aps
    pairs = targets * scene.listening.shape[2]
    return 3 * (pairs * columns * (samples + rows) + (pairs + num_rx) * samples**2)


def select_scene(scene: EchoScene, index: Int[Tensor, " chosen"]) -> EchoScene:
    """The scene of the drops at `index`."""
    return map_tensors(scene, lambda t: t[index])


def _join(parts: list[EchoQuality]) -> EchoQuality:
    return EchoQuality(*(torch.cat([getattr(p, name) for p in parts], dim=1) for name in ("signal", "disturbance", "rank")))


def mutual_information(
    sir: Float[Tensor, "*shape"], scenario: TrackingScenario, setup: SensingSetup
) -> Float[Tensor, "*shape"]:
    """Sensing mutual information of a target, bit/s: share of sensed samples times bandwidth times log2(1 + SIR), eq. (50)."""
    return setup.samples(scenario) / scenario.block_length * scenario.bandwidth * torch.log2(1.0 + sir)
