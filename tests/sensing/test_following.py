"""Motion, localisation from raw echoes, tracks and GOSPA: textbook filters, dense algebra, brute force, consistency."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from isac_torch.errors import ScenarioError
from isac_torch.evaluation.studies.gospa import gospa
from isac_torch.sensing.clutter import sample_clutter
from isac_torch.sensing.echoes import echo_scene, observe, sample_reflectivity
from isac_torch.sensing.glrt import Glrt, statistic
from isac_torch.sensing.localisation import known_echoes, log_likelihood, look_at, most_likely
from isac_torch.sensing.motion import Belief, ConstantVelocity, absorb
from isac_torch.sensing.signals import draw_blocks, transmitted
from isac_torch.sensing.tracks import Track, Tracker, TrackRules
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

SMALL = TrackingScenario(num_aps=7, num_receive_aps=2, num_ues=4, num_targets=3, serving_aps=2, sensing_aps=2)
SETUP = SensingSetup(sensing_samples=30)
STRONG = replace(SETUP, rcs_variance_dbsm=40.0)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _belief(seed: int = 0) -> Belief:
    root = torch.randn(6, 6, generator=_generator(seed), dtype=torch.float64)
    return Belief(torch.randn(6, generator=_generator(seed + 1), dtype=torch.float64), root @ root.T + torch.eye(6))


def _heard(
    num_targets: int = 3, blocks: int = 2, seed: int = 0, setup: SensingSetup = SETUP
) -> tuple[Tensor, Tensor, Any, Any]:
    scenario = replace(SMALL, num_targets=num_targets)
    drop = scenario.sample(1, generator=_generator(seed))
    statistics = channel_statistics(drop, scenario)
    links = drop.serving_ap[0].numel() + drop.sensing_ap[0].numel()
    power = torch.rand(1, links, generator=_generator(1), dtype=torch.float64)
    sent = transmitted(draw_blocks(drop, statistics, scenario, blocks, 30, _generator(2)), drop, power)
    scene = echo_scene(drop, scenario, setup)
    listening = torch.arange(2).expand(1, num_targets, -1)
    scene = replace(scene, listening=listening)
    observed = observe(sent, scene, sample_reflectivity(scene, blocks, _generator(3)))
    observed = observed + sample_clutter(sent, scene.clutter, _generator(4))
    noise = torch.randn(observed.shape, generator=_generator(5), dtype=observed.dtype)
    return observed + noise, sent, scene, drop


def test_prediction_matches_simulated_motion() -> None:
    motion = ConstantVelocity(0.5, 2.0, 0.3)
    belief = _belief()
    root = torch.linalg.cholesky(belief.covariance)
    start = belief.mean + torch.randn(40_000, 6, generator=_generator(7), dtype=torch.float64) @ root.T
    end, expected = motion.move(start, _generator(8)), motion.predict(belief)
    assert_close(end.mean(0), expected.mean, rtol=0, atol=0.08)  # three deviations of the mean of 40000
    assert float((torch.cov(end.T) - expected.covariance).norm() / expected.covariance.norm()) < 0.03


def test_absorbing_a_linear_look_is_the_kalman_update() -> None:
    belief = _belief(3)
    noise = torch.diag(torch.tensor([0.5, 2.0, 8.0], dtype=torch.float64))
    seen = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    rows = torch.eye(3, 6, dtype=torch.float64)
    gain = belief.covariance @ rows.T @ torch.linalg.inv(rows @ belief.covariance @ rows.T + noise)
    mean = belief.mean + gain @ (seen - rows @ belief.mean)
    covariance = (torch.eye(6) - gain @ rows) @ belief.covariance
    information = torch.linalg.inv(noise)

    def score(point: Tensor) -> Tensor:
        return -0.5 * (((point - seen) @ information) * (point - seen)).sum(-1)

    peak, curvature = most_likely(score, belief.position, torch.linalg.inv(belief.spread))
    ours = absorb(belief, peak, curvature)
    assert_close(ours.mean, mean, rtol=1e-6, atol=1e-6)
    assert_close(ours.covariance, covariance, rtol=1e-6, atol=1e-6)


def test_a_look_that_tells_nothing_changes_nothing() -> None:
    belief = _belief(5)
    after = absorb(belief, belief.position, torch.zeros(3, 3, dtype=torch.float64))
    assert_close(after.covariance, belief.covariance)
    assert_close(after.mean, belief.mean)


def _at_both_listeners(look: Any) -> Callable[[Tensor], Tensor]:
    return lambda place: log_likelihood(look, place, torch.tensor([[0, 1]]).expand(len(place), -1))


@pytest.mark.parametrize("num_targets", [1, 3])
def test_likelihood_is_the_test_statistic(num_targets: int) -> None:
    """At the true positions and with the others known it is the statistic of the joint test."""
    observed, sent, scene, drop = _heard(num_targets)
    expected = statistic(observed, sent, scene, Glrt("joint" if num_targets > 1 else "single")).sum(1)[0]
    look = look_at(observed, sent, scene.clutter, drop)[0]
    place = drop.target_position[0]
    for target in range(num_targets):
        others = known_echoes(look, place[torch.arange(num_targets) != target], range(2))
        found = log_likelihood(look, place[target : target + 1], torch.tensor([[0, 1]]), others)
        # the ridge of 1e-6 takes its share of weak directions
        assert_close(found[0], expected[target], rtol=1e-3, atol=0.0)


def test_likelihood_without_a_target_is_chi_square() -> None:
    """One standard exponential a receive AP and transmit AP: the mean of 200 looks is right within four deviations."""
    _, sent, scene, drop = _heard(1, 1)
    total = []
    for seed in range(200):
        noise = torch.randn(1, 1, 2, 30, 4, generator=_generator(100 + seed), dtype=torch.complex128)
        look = look_at(noise + sample_clutter(sent, scene.clutter, _generator(900 + seed)), sent, scene.clutter, drop)[0]
        total.append(log_likelihood(look, drop.target_position[0], torch.tensor([[0, 1]]))[0])
    freedom = 2 * 5  # receive APs x transmit APs
    assert abs(float(torch.stack(total).mean()) - freedom) < 4 * (freedom / 200) ** 0.5


def test_a_strong_echo_is_found_where_it_is() -> None:
    scenario = replace(SMALL, num_targets=1)
    drop = scenario.sample(1, generator=_generator(4))
    errors = []
    for seed in range(6):
        power = torch.full((1, 10), 0.5, dtype=torch.float64)
        blocks = draw_blocks(drop, channel_statistics(drop, scenario), scenario, 4, 30, _generator(seed))
        sent = transmitted(blocks, drop, power)
        scene = echo_scene(drop, scenario, replace(SETUP, rcs_variance_dbsm=40.0, clutter_factor=1e-4))
        scene = replace(scene, listening=torch.arange(2).expand(1, 1, -1))
        observed = observe(sent, scene, sample_reflectivity(scene, 4, _generator(50 + seed)))
        observed = observed + torch.randn(observed.shape, generator=_generator(90 + seed), dtype=observed.dtype)
        look = look_at(observed, sent, scene.clutter, drop)[0]
        true = drop.target_position[0, 0]
        start = true + torch.tensor([4.0, -4.0, 2.0], dtype=torch.float64)
        prior = torch.diag(torch.tensor([25.0, 25.0, 16.0], dtype=torch.float64)).inverse()
        found, _ = most_likely(_at_both_listeners(look), start, prior)
        errors.append(float((found - true).norm()))
    assert max(errors) < 2.0


def test_a_bent_ridge_is_followed_to_its_top() -> None:
    """Rosenbrock's function, less steep: a search of four steps ends half way."""

    def score(point: Tensor) -> Tensor:
        x, y, z = (point / 20.0).unbind(-1)
        return -1e3 * (3.0 * (y - x.square()).square() + (1.0 - x).square() + z.square())

    start = torch.tensor([-24.0, 20.0, 6.0], dtype=torch.float64)
    top, _ = most_likely(score, start, torch.zeros(3, 3, dtype=torch.float64))
    assert_close(top, torch.tensor([20.0, 20.0, 0.0], dtype=torch.float64), rtol=0, atol=1.0)  # differences are over a metre


def _at(place: Tensor, spread: float) -> Belief:
    """A belief that a target stands at `place`, with this standard deviation (m) along each axis."""
    return Belief(torch.cat([place, torch.zeros_like(place)]), spread**2 * torch.eye(6, dtype=torch.float64))


def test_a_track_that_is_sure_of_a_wrong_place_finds_its_target_again() -> None:
    observed, sent, scene, drop = _heard(1, setup=STRONG)
    look = look_at(observed, sent, scene.clutter, drop)[0]
    true = drop.target_position[0, 0]
    for doubt, moves in ((15.0, True), (1e9, False)):
        tracker = Tracker(ConstantVelocity(0.5), 500.0, (20.0, 100.0), TrackRules(doubt=doubt))
        tracker.tracks = [Track(7, _at(true + torch.tensor([30.0, 20.0, 0.0], dtype=torch.float64), 0.5), confirmed=True)]
        tracker._update(look, 2)
        (track,) = tracker.tracks
        assert (track.name, track.confirmed) == (7, True)
        assert (float((track.belief.position - true)[:2].norm()) < 10.0) == moves


def test_a_start_near_a_track_that_hears_less_moves_the_track() -> None:
    observed, sent, scene, drop = _heard(1, setup=STRONG)
    look = look_at(observed, sent, scene.clutter, drop)[0]
    true = drop.target_position[0, 0]
    tracker = Tracker(ConstantVelocity(0.5), 500.0, (20.0, 100.0))
    tracker.tracks = [Track(7, _at(true + torch.tensor([40.0, 0.0, 0.0], dtype=torch.float64), 5.0), confirmed=True)]
    tracker._start(look, true, 2)
    (track,) = tracker.tracks
    assert (track.name, track.confirmed) == (7, True)
    assert float((track.belief.position - true)[:2].norm()) < 10.0
    tracker.tracks = [replace(track, belief=_at(true + 200.0, 5.0))]
    tracker._start(look, true, 2)
    assert [track.name for track in tracker.tracks] == [7, 1]


def test_gospa_of_hand_made_sets() -> None:
    targets = torch.tensor([[0.0, 0.0, 0.0], [100.0, 0.0, 0.0]], dtype=torch.float64)
    score, pairs = gospa(targets, torch.tensor([[3.0, 4.0, 0.0], [300.0, 0.0, 0.0]], dtype=torch.float64), 20.0)
    assert pairs == [(0, 0)]
    assert (score.matched, score.missed, score.false) == (1, 1, 1)
    assert score.distance == pytest.approx((25.0 + 400.0) ** 0.5)
    assert gospa(targets, targets.flip(0), 20.0)[0].distance == 0.0
    assert gospa(targets, targets[:0], 20.0)[0].distance == pytest.approx((2 * 200.0) ** 0.5)


def test_gospa_is_the_best_assignment() -> None:
    """Against all injective assignments of three points, each pair used or not."""
    place = torch.rand(2, 3, 3, generator=_generator(3), dtype=torch.float64) * 30.0
    best = min(
        sum(min(float((place[0, i] - place[1, j]).square().sum()), 400.0) for i, j in enumerate(order))
        for order in itertools.permutations(range(3))
    )
    assert gospa(place[0], place[1], 20.0)[0].distance == pytest.approx(best**0.5)


def _track(**changes: object) -> Track:
    return replace(Track(1, _belief()), **changes)


def test_hits_confirm_and_misses_end() -> None:
    tracker = Tracker(ConstantVelocity(0.5), 500.0, (20.0, 100.0))
    track = _track()
    for hit in (False, True, True):
        track = tracker._counted(track, track.belief, hit)
    assert track.confirmed
    assert (track.hits, track.looks, track.missed) == (3, 4, 0)
    assert tracker._alive(replace(track, missed=3))
    assert not tracker._alive(replace(track, missed=4))
    assert not tracker._alive(_track(hits=1, looks=3))  # one hit of three cannot become three of four


@pytest.mark.parametrize("trust", [0.05, 0.2, 1.0])
def test_what_counts_as_a_hit_does_not_depend_on_trust(trust: float) -> None:
    """A belief too sharp to move is hit exactly where the energy at its place exceeds the level of the false alarms."""
    observed, sent, scene, drop = _heard(1)
    look = look_at(observed, sent, scene.clutter, drop)[0]
    place = drop.target_position[0, 0]
    energy = float(log_likelihood(look, place.unsqueeze(0), torch.tensor([[0, 1]]))[0])
    sharp = Belief(torch.cat([place, torch.zeros_like(place)]), 1e-12 * torch.eye(6, dtype=torch.float64))
    decided = []
    for false_alarm in (0.5, 1e-9):
        tracker = Tracker(ConstantVelocity(0.5), 500.0, (20.0, 100.0), TrackRules(trust=trust, false_alarm=false_alarm))
        tracker.tracks = [Track(1, sharp)]
        level = tracker._threshold(look, 2, false_alarm)
        assert abs(energy / level - 1.0) > 0.05, "the draw must be clear for this test to say anything"
        tracker._update(look, 2)
        decided.append((tracker.tracks[0].hits == 2, energy > level))
    assert decided[0] == (True, True)
    assert decided[1][0] == decided[1][1]


def test_bad_rules_are_refused() -> None:
    for bad in ({"confirm_hits": 5}, {"false_alarm": 0.0}, {"cell": 0.0}):
        with pytest.raises(ScenarioError, match=next(iter(bad))):
            TrackRules(**bad)
