"""Targets that move, tracks that follow them, and an allocator in the loop. Section "Tracking loop" of docs/sensing.md.

Every step: tracks predict, beams go where targets are believed to be (spare ones search), the allocator sets the powers for
these beams, receive APs hear the true targets, and what they heard moves, starts and ends tracks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocators.registry import named_allocator
from isac_torch.errors import ScenarioError
from isac_torch.evaluation.studies.gospa import Gospa, gospa
from isac_torch.evaluation.studies.tracking_design import design
from isac_torch.evaluation.studies.worlds import Contender, Loop, World
from isac_torch.sensing.clutter import sample_clutter
from isac_torch.sensing.echoes import echo_scene, observe, sample_reflectivity
from isac_torch.sensing.localisation import Look, look_at
from isac_torch.sensing.signals import draw_blocks, transmitted
from isac_torch.sensing.tracks import Tracker
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.communication import rate

if TYPE_CHECKING:
    from isac_torch.allocation import Allocator
    from isac_torch.tracking.drop import TrackingDrop
    from isac_torch.tracking.problem import MaxMinSinrProblem
    from isac_torch.tracking.scenario import TrackingScenario

_ANGLE_RANGE = (1e-3, 0.2)
"""Smallest and largest angle error (rad) that the powers are designed for."""
_BEAM_HEIGHT = 2.0
"""No beam points lower than this (m): beliefs about heights are weak."""


@dataclass(frozen=True)
class Followed:
    """What the loop gave in one world.

    Attributes:
        gospa: of the confirmed tracks at every step.
        consistency: squared error of matched tracks over their own covariance, divided by 3; 1 in the mean if they know it.
        min_rate: smallest rate of a UE at every step, bit/s.
        total_power: W, at every step.
        lost: confirmed tracks that followed a target and ended, though targets never leave.
        estimates: confirmed positions at every step, m.
    """

    gospa: list[Gospa]
    consistency: list[float]
    min_rate: list[float]
    total_power: list[float]
    lost: int
    estimates: list[list[list[float]]]


def follow(
    scenario: TrackingScenario,
    loop: Loop,
    contender: Contender,
    world: World,
    allocator: Allocator[MaxMinSinrProblem] | None = None,
) -> Followed:
    """Run the loop in one world.

    The network has a sensing beam for each target and `search_beams` more: the oldest tracks get one each, the others search
    the scan's cells in turn.

    Args:
        scenario: the network; its angle error is replaced by that of the filters.
        loop: what to simulate.
        contender: who sets the powers, asked anew at every step.
        world: `make_world` of the same scenario and loop.
        allocator: the one that `contender` names, where it is at hand.

    Raises:
        ScenarioError: a scenario without targets.
    """
    if scenario.num_targets < 1:
        raise ScenarioError("num_targets=0 leaves nothing to follow; use at least one")
    allocator = named_allocator(contender.allocator) if allocator is None else allocator
    first = contender if contender.searching is None else contender.searching
    finder = allocator if first.allocator == contender.allocator else named_allocator(first.allocator)
    heights = scenario.target_height_min, scenario.target_height_max
    tracker = Tracker(loop.motion, scenario.side, heights, loop.rules)
    matched: set[int] = set()
    scores: list[Gospa] = []
    estimates, consistency, rates, powers = [], [], [], []
    receive: Tensor | None = None
    for step in range(loop.num_steps):
        tracker.predict()
        beams, error = _beams(tracker, scenario, loop, step)
        believed = replace(scenario, angle_error=error)
        complete = len(tracker.confirmed) == scenario.num_targets  # a track too many follows nothing, and hides a target
        who, powers_of = (contender, allocator) if complete else (first, finder)
        kept = None if receive is None or step % loop.role_steps == 0 else receive
        made = design(world.network, beams, believed, who, powers_of, kept)
        receive = made.receive if who.roles is not None else None
        tracker.look(_hear(made.drop, world, step, scenario, loop, made.power), scenario.listening_aps)
        score, errors = _compare(tracker, world.path[step, world.present[step], :3], loop.cutoff, matched)
        scores.append(score)
        consistency += errors
        estimates.append(_positions(tracker, beams).tolist())
        rates.append(float(rate(made.problem.objective(made.power), scenario)))
        powers.append(float(made.power.sum()))
    lost = sum(track.name in matched for track in tracker.ended)
    return Followed(scores, consistency, rates, powers, lost, estimates)


def _beams(tracker: Tracker, scenario: TrackingScenario, loop: Loop, step: int) -> tuple[Float[Tensor, "beam 3"], float]:
    """Where the beams point, m, and the root mean square angle error (rad) that the filters expect of them."""
    count = scenario.num_targets + loop.search_beams
    cells = tracker.scan_cells(torch.zeros(1, dtype=torch.float64))
    # A stride prime to the number of cells visits all of them, far from one to the next.
    first = 1 + int(0.38 * len(cells))
    stride = next(s for s in range(first, 2 * first + len(cells)) if math.gcd(s, len(cells)) == 1)
    tracks = sorted(tracker.tracks, key=lambda track: not track.confirmed)[: scenario.num_targets]
    spare = count - len(tracks)
    search = cells[[((step * count + i) * stride) % len(cells) for i in range(spare)]]
    beams = torch.cat([torch.stack([track.belief.position for track in tracks]) if tracks else cells[:0], search])
    squares = [float(track.belief.spread[:2, :2].trace()) / 2 for track in tracks] + [tracker.rules.cell**2 / 12] * spare
    low = beams.new_tensor([0.0, 0.0, _BEAM_HEIGHT])
    high = beams.new_tensor([scenario.side, scenario.side, 2 * scenario.target_height_max])
    typical = 0.25 * scenario.side  # a sensing AP is about this far away
    error = (sum(squares) / len(squares)) ** 0.5 / typical
    return beams.clamp(low, high), min(max(error, _ANGLE_RANGE[0]), _ANGLE_RANGE[1])


def _hear(
    drop: TrackingDrop, world: World, step: int, scenario: TrackingScenario, loop: Loop, power: Float[Tensor, "1 link"]
) -> Look:
    """Echoes of the targets that are there, clutter and noise, whitened."""
    generator = torch.Generator().manual_seed(1_000_003 * (1 + step) + world.seed)
    setup = scenario.sensing
    statistics = channel_statistics(drop, scenario)
    # Beams point exactly where the tracks believe: the angle errors are the filters' own.
    exact = replace(scenario, angle_error=0.0)
    blocks = draw_blocks(drop, statistics, exact, loop.num_blocks, setup.samples(scenario), generator)
    sent = transmitted(blocks, drop, power)
    receivers = torch.arange(drop.rx_position.shape[1])
    truth = replace(
        drop,
        target_position=world.path[step, :, :3].unsqueeze(0),
        listening_ap=receivers.expand(1, scenario.num_targets, -1),
    )
    scene = echo_scene(truth, scenario, setup)
    reflectivity = sample_reflectivity(scene, loop.num_blocks, generator)
    reflectivity = reflectivity * world.present[step][:, None, None]
    observed = observe(sent, scene, reflectivity) + sample_clutter(sent, scene.clutter, generator)
    observed = observed + torch.randn(observed.shape, generator=generator, dtype=observed.dtype)
    (look,) = look_at(observed, sent, scene.clutter, drop)
    return look


def _positions(tracker: Tracker, like: Tensor) -> Float[Tensor, "track 3"]:
    confirmed = [track.belief.position for track in tracker.confirmed]
    return torch.stack(confirmed) if confirmed else like.new_zeros(0, 3)


def _compare(tracker: Tracker, truth: Tensor, cutoff: float, matched: set[int]) -> tuple[Gospa, list[float]]:
    """GOSPA of the confirmed tracks and the consistency of the matched ones, which are noted in `matched`."""
    score, pairs = gospa(truth, _positions(tracker, truth), cutoff)
    errors = []
    for target, index in pairs:
        track = tracker.confirmed[index]
        matched.add(track.name)
        off = truth[target] - track.belief.position
        errors.append(float(off @ torch.linalg.solve(track.belief.spread, off)) / 3.0)
    return score, errors
