"""Targets that move, tracks that follow them, and an allocator in the loop. Section "Tracking loop" of docs/sensing.md.

Every step: tracks predict, beams go where targets are believed to be (spare ones search), the allocator sets the powers for
these beams, receive APs hear the true targets, and what they heard moves, starts and ends tracks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import allocate
from isac_torch.errors import ScenarioError
from isac_torch.evaluation.studies.gospa import Gospa, gospa
from isac_torch.propagation.geometry import distance
from isac_torch.sensing.clutter import sample_clutter
from isac_torch.sensing.echoes import echo_scene, sample_reflectivity
from isac_torch.sensing.glrt import observe
from isac_torch.sensing.localisation import Look, look_at
from isac_torch.sensing.motion import ConstantVelocity
from isac_torch.sensing.signals import draw_blocks, transmitted
from isac_torch.sensing.tracks import Tracker, TrackRules
from isac_torch.tracking.association import closest
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.communication import rate
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.setup import SensingSetup

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
class Loop:
    """What the tracking loop simulates.

    Attributes:
        num_worlds: random networks with targets of their own.
        num_steps: looks.
        step: time between looks, s.
        num_blocks: coherence blocks that one look hears; reflectivities change between them.
        speed: standard deviation of the targets' horizontal velocity along each axis, m/s.
        climb_speed: of the vertical velocity, m/s.
        late: steps by which each target appears after the one before it.
        cutoff: distance (m) beyond which an estimate counts as false and its target as missed.
        seed: of networks, paths and blocks; the same for every allocator.
        sicnr_min_db: ask for this expected SICNR (dB) instead of the scenario's SIR0.
        rules: of tracks.
    """

    num_worlds: int = 8
    num_steps: int = 40
    step: float = 0.5
    num_blocks: int = 4
    speed: float = 10.0
    climb_speed: float = 0.5
    late: int = 2
    cutoff: float = 30.0
    seed: int = 900_000
    sicnr_min_db: float | None = None
    rules: TrackRules = field(default_factory=TrackRules)

    def __post_init__(self) -> None:
        """Refuse a loop without worlds, steps or time."""
        for name in ("num_worlds", "num_steps", "num_blocks", "step", "cutoff", "speed"):
            if getattr(self, name) <= 0:
                raise ScenarioError(f"{name}={getattr(self, name)} must be positive")
        if self.late < 0:
            raise ScenarioError(f"late={self.late} must not be negative")

    @property
    def motion(self) -> ConstantVelocity:
        """How targets move, and how the filter believes they do."""
        return ConstantVelocity(self.step)


@dataclass(frozen=True)
class Followed:
    """What a loop with one allocator gave.

    Attributes:
        gospa: of the confirmed tracks, of every world at every step.
        consistency: squared error of matched tracks over their own covariance, divided by 3; 1 in the mean if they know it.
        min_rate: smallest rate of a UE, bit/s.
        total_power: W.
        lost: confirmed tracks that followed a target and ended, though targets never leave.
        estimates: confirmed positions of every world at every step, m.
    """

    gospa: list[list[Gospa]]
    consistency: list[float]
    min_rate: Float[Tensor, "step world"]
    total_power: Float[Tensor, "step world"]
    lost: int
    estimates: list[list[Tensor]]


@dataclass(frozen=True)
class Worlds:
    """Networks and the paths of their targets.

    Attributes:
        network: one drop a world.
        path: states of every target, m and m/s.
        present: whether a target is there yet.
    """

    network: TrackingDrop
    path: Float[Tensor, "step world target 6"]
    present: Tensor


def make_worlds(scenario: TrackingScenario, loop: Loop) -> Worlds:
    """Random networks and paths; targets turn back at the borders of the square and of the target heights."""
    generator = torch.Generator().manual_seed(loop.seed)
    network = scenario.sample(loop.num_worlds, generator=generator)
    velocity = torch.randn(*network.target_position.shape, generator=generator, dtype=torch.float64)
    velocity = velocity * torch.tensor([loop.speed, loop.speed, loop.climb_speed], dtype=torch.float64)
    state = torch.cat([network.target_position, velocity], dim=-1)
    low = torch.tensor([0.0, 0.0, scenario.target_height_min], dtype=torch.float64)
    high = torch.tensor([scenario.side, scenario.side, scenario.target_height_max], dtype=torch.float64)
    states = []
    for _ in range(loop.num_steps):
        states.append(state)
        state = loop.motion.move(state, generator)
        outside = (state[..., :3] < low) | (state[..., :3] > high)
        speed = torch.where(outside, -state[..., 3:], state[..., 3:])
        state = torch.cat([state[..., :3].clamp(low, high), speed], dim=-1)
    first = loop.late * torch.arange(scenario.num_targets)
    present = torch.arange(loop.num_steps).unsqueeze(1) >= first
    return Worlds(network, torch.stack(states), present)


def follow(
    scenario: TrackingScenario,
    setup: SensingSetup,
    loop: Loop,
    allocator: Allocator[MaxMinSinrProblem],
    worlds: Worlds,
    *,
    label: str = "follow",
) -> Followed:
    """Run the loop with one allocator on all worlds at once.

    The network has `num_targets` sensing beams: the oldest tracks get one each, spare ones search the scan's cells in turn.

    Args:
        scenario: the network; its angle error is replaced by that of the filters.
        setup: clutter, cross-sections, samples of a block.
        loop: what to simulate.
        allocator: asked anew at every step.
        worlds: `make_worlds` of the same scenario and loop.
        label: of the progress bar.

    Raises:
        ScenarioError: a scenario without targets.
    """
    from tqdm import tqdm

    if scenario.num_targets < 1:
        raise ScenarioError("num_targets=0 leaves nothing to follow; use at least one")
    heights = scenario.target_height_min, scenario.target_height_max
    trackers = [Tracker(loop.motion, scenario.side, heights, loop.rules) for _ in range(loop.num_worlds)]
    matched: list[set[int]] = [set() for _ in trackers]
    scores: list[list[Gospa]] = []
    estimates: list[list[Tensor]] = []
    consistency: list[float] = []
    rates, powers = [], []
    for step in tqdm(range(loop.num_steps), desc=label, unit="step", disable=None, leave=False):
        for tracker in trackers:
            tracker.predict()
        beams, error = _beams(trackers, scenario, step)
        problem, drop = _design(worlds.network, beams, replace(scenario, angle_error=error), setup, loop)
        power = allocate(problem, allocator).power
        looks = _hear(drop, worlds, step, scenario, setup, loop, power)
        rows = []
        for world, (tracker, look) in enumerate(zip(trackers, looks, strict=True)):
            tracker.look(look, scenario.listening_aps)
            truth = worlds.path[step, world, worlds.present[step], :3]
            score, errors = _compare(tracker, truth, loop.cutoff, matched[world])
            rows.append(score)
            consistency += errors
        scores.append(rows)
        estimates.append([_positions(tracker, beams) for tracker in trackers])
        rates.append(rate(problem.objective(power), scenario))
        powers.append(power.sum(-1))
    lost = sum(track.name in seen for tracker, seen in zip(trackers, matched, strict=True) for track in tracker.ended)
    return Followed(scores, consistency, torch.stack(rates), torch.stack(powers), lost, estimates)


def _beams(trackers: list[Tracker], scenario: TrackingScenario, step: int) -> tuple[Float[Tensor, "world beam 3"], float]:
    """Where the beams of every world point, m, and the root mean square angle error (rad) that the filters expect of them."""
    count = scenario.num_targets
    places, squares = [], []
    for tracker in trackers:
        like = torch.zeros(1, dtype=torch.float64)
        cells = tracker.scan_cells(like)
        # A stride prime to the number of cells visits all of them, far from one to the next.
        first = 1 + int(0.38 * len(cells))
        stride = next(s for s in range(first, 2 * first + len(cells)) if math.gcd(s, len(cells)) == 1)
        tracks = sorted(tracker.tracks, key=lambda track: not track.confirmed)[:count]
        spare = count - len(tracks)
        search = cells[[((step * count + i) * stride) % len(cells) for i in range(spare)]]
        place = torch.stack([track.belief.position for track in tracks]) if tracks else cells[:0]
        places.append(torch.cat([place, search]))
        variance = [float(track.belief.spread[:2, :2].trace()) / 2 for track in tracks]
        squares += variance + [tracker.rules.cell**2 / 12] * spare
    beams = torch.stack(places)
    low = beams.new_tensor([0.0, 0.0, _BEAM_HEIGHT])
    high = beams.new_tensor([scenario.side, scenario.side, 2 * scenario.target_height_max])
    typical = 0.25 * scenario.side  # a sensing AP is about this far away
    error = (sum(squares) / len(squares)) ** 0.5 / typical
    return beams.clamp(low, high), min(max(error, _ANGLE_RANGE[0]), _ANGLE_RANGE[1])


def _design(
    network: TrackingDrop, beams: Tensor, scenario: TrackingScenario, setup: SensingSetup, loop: Loop
) -> tuple[MaxMinSinrProblem, TrackingDrop]:
    """The power problem for beams at these places, and the networks as the allocator believes them to be."""
    drop = replace(
        network,
        target_position=beams,
        sensing_ap=closest(distance(beams, network.tx_position), scenario.sensing_links),
        listening_ap=closest(distance(beams, network.rx_position), scenario.listening_aps),
    )
    scenario = replace(scenario, sensing=setup)
    if loop.sicnr_min_db is not None:
        scenario = replace(scenario, requirement=Requirement("sicnr", sicnr_min_db=loop.sicnr_min_db))
    return power_problem(drop, scenario), drop


def _hear(
    drop: TrackingDrop,
    worlds: Worlds,
    step: int,
    scenario: TrackingScenario,
    setup: SensingSetup,
    loop: Loop,
    power: Tensor,
) -> list[Look]:
    """Echoes of the targets that are there, clutter and noise, whitened, of every world."""
    generator = torch.Generator().manual_seed(loop.seed + 1 + step)
    statistics = channel_statistics(drop, scenario)
    # Beams point exactly where the tracks believe: the angle errors are the filters' own.
    exact = replace(scenario, angle_error=0.0)
    blocks = draw_blocks(drop, statistics, exact, loop.num_blocks, setup.samples(scenario), generator)
    sent = transmitted(blocks, drop, power)
    truth = replace(
        drop,
        target_position=worlds.path[step, ..., :3],
        listening_ap=torch.arange(scenario.receive_aps).expand(loop.num_worlds, scenario.num_targets, -1),
    )
    scene = echo_scene(truth, scenario, setup)
    reflectivity = sample_reflectivity(scene, loop.num_blocks, generator)
    reflectivity = reflectivity * worlds.present[step][:, None, None]
    observed = observe(sent, scene, reflectivity) + sample_clutter(sent, scene.clutter, generator)
    observed = observed + torch.randn(observed.shape, generator=generator, dtype=observed.dtype)
    return look_at(observed, sent, scene.clutter, drop)


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
