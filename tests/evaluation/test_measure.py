"""How an allocator is timed: warm-ups where they are quick, and none of them counts."""

from types import SimpleNamespace

import pytest
import torch

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.evaluation import measure
from isac_torch.evaluation.tracking.view import fresh_problem
from isac_torch.tracking.scenario import TrackingScenario

WARM_UP = measure._warm_up  # before the other tests of this folder do without it


@pytest.mark.parametrize(("seconds", "asked"), [(0.05, [2, 2, 40, 40]), (0.5, [2, 2, 40]), (3.0, [2, 40])])
def test_quick_allocators_are_warmed_up_before_the_time_that_counts(monkeypatch, seconds, asked):
    """An allocator that takes some seconds for two drops and twenty times as long for forty, by a clock that it moves."""
    _, problem = fresh_problem(TrackingScenario.of_size("3x2x1"), 40, 5, progress=False)
    now, seen = [0.0], []

    def slow(problem, allocator):
        seen.append(problem.num_drops)
        now[0] += seconds * problem.num_drops / 2.0
        return allocate(problem, allocator)

    monkeypatch.setattr(measure, "_warm_up", WARM_UP)
    monkeypatch.setattr(measure, "allocate", slow)
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: 0.5 * now[0]))
    timed = measure.timed_allocate(problem, Fractional(0.0, 0.0))
    assert seen == asked
    assert timed.allocation.seconds == pytest.approx(20.0 * seconds)
    assert timed.cpu_seconds == pytest.approx(10.0 * seconds)
    assert torch.isfinite(timed.allocation.power).all()
