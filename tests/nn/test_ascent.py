"""Plain and learned ascent on a hill whose top is known, and the schedule of the tracking system's search."""

from unittest.mock import Mock

import pytest
import torch

from isac_torch.nn.ascent import LearnedSteps, Momentum, Slope, ascend
from isac_torch.nn.tracking.balance import start_logits
from isac_torch.nn.tracking.merit import FIRST_SENSING_WEIGHT, LAST_SENSING_WEIGHT, DirectionsHill, sensing_weight_at
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario

TOP = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])


class Bowl:
    """-|logits - TOP|^2, and a record of the progress that it was told."""

    def __init__(self):
        self.seen = []

    def slope(self, logits, progress):
        self.seen.append(progress)
        return Slope(2.0 * (TOP - logits), self.score(logits))

    def score(self, logits):
        return -(logits - TOP).square().sum(-1)


def test_ascent_reaches_the_top_and_returns_the_best_point():
    hill = Bowl()
    passed: list[torch.Tensor] = []
    found = ascend(hill, torch.zeros(2, 3), 60, 0.3, passed=passed)
    assert float((found - TOP).abs().max()) < 0.05
    assert hill.seen[0] == 0.0
    assert hill.seen[-1] == 1.0
    assert sorted(hill.seen) == hill.seen
    best = torch.stack([hill.score(point) for point in passed]).amax(0)
    torch.testing.assert_close(hill.score(found), best)


def test_steps_shrink_on_a_cosine_to_a_tenth_of_the_first():
    """A constant gradient is normalised to one, so that every step is as long as the schedule says."""

    class Slant:
        def slope(self, logits, progress):
            return Slope(torch.ones_like(logits), self.score(logits))

        def score(self, logits):
            return logits.sum(-1)

    passed: list[torch.Tensor] = []
    ascend(Slant(), torch.zeros(1, 2, dtype=torch.float64), 10, 0.2, passed=passed)
    steps = (torch.stack(passed).diff(dim=0))[:, 0, 0]
    share = 0.1 + 0.9 * 0.5 * (1.0 + torch.cos(torch.pi * torch.arange(10, dtype=torch.float64) / 10))
    torch.testing.assert_close(steps, 0.2 * share, rtol=1e-9, atol=0.0)


def test_a_drop_without_a_finite_score_keeps_its_start():
    class Broken(Bowl):
        def score(self, logits):
            return torch.full((2,), -torch.inf)

    start = torch.ones(2, 3)
    assert bool((ascend(Broken(), start, 3, 0.3) == start).all())


def test_momentum_is_that_of_adam():
    """Against torch's own optimiser with the same decays, whose step of unit length is the normalised gradient."""
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser, momentum = torch.optim.Adam([weight], lr=1.0, betas=(0.8, 0.9), eps=0.0), Momentum(weight.detach())
    for gradient in torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64):
        before = weight.detach().clone()
        weight.grad = -gradient
        optimiser.step()
        smooth, sharp = momentum.normalised(gradient)
        torch.testing.assert_close(weight.detach() - before, smooth, rtol=1e-9, atol=1e-9)
        assert bool((sharp.sign() == gradient.sign()).all())


@pytest.mark.parametrize("training", [True, False])
def test_untrained_learned_steps_climb_and_end_with_the_best(training):
    torch.manual_seed(0)
    steps, hill = LearnedSteps(4, 8).train(training), Bowl()
    points = [point.detach() for point in steps(torch.randn(2, 3, 4), hill, torch.zeros(2, 3))]
    assert len(points) == (8 if training else 9)
    assert bool((hill.score(points[-1]) > hill.score(torch.zeros(2, 3))).all())
    if not training:
        torch.testing.assert_close(hill.score(points[-1]), torch.stack([hill.score(point) for point in points]).amax(0))


def test_the_weight_of_the_sensing_constraints_rises_along_a_search(monkeypatch):
    weights = [sensing_weight_at(step / 8) for step in range(9)]
    assert weights[0] == pytest.approx(FIRST_SENSING_WEIGHT)
    assert weights[-1] == pytest.approx(LAST_SENSING_WEIGHT)
    assert weights == sorted(weights)
    assert weights[-1] > 10.0 * weights[0]
    from isac_torch.nn.tracking import merit

    gradient = Mock(side_effect=merit.merit_gradient)
    monkeypatch.setattr(merit, "merit_gradient", gradient)
    scenario = TrackingScenario.of_size("4x2x2")
    problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(1)), scenario)
    ascend(DirectionsHill(problem), start_logits(problem), 4, 0.2)
    told = [call.args[4] for call in gradient.call_args_list]
    assert told[0] == pytest.approx(FIRST_SENSING_WEIGHT)
    assert told[-1] == pytest.approx(LAST_SENSING_WEIGHT)
    assert told == sorted(told)


def test_learned_steps_are_shorter_after_training():
    """With a hill that only slants, every step goes the same way, as far as its length says."""

    class Slant:
        def slope(self, logits, progress):
            return Slope(torch.ones_like(logits), self.score(logits))

        def score(self, logits):
            return logits.sum(-1)

    learned = LearnedSteps(4, 3, after_training=0.7)
    state, start = torch.zeros(2, 5, 4), torch.zeros(2, 5)
    walked = {}
    for learned.training in (True, False):
        walked[learned.training] = list(learned(state, Slant(), start))[2]
    torch.testing.assert_close(walked[False], 0.7 * walked[True])
    assert bool((walked[True] > 0.0).all())
