"""SICNR rows: against the SICNR of drawn echoes, their laws, and what is refused."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, equal_split
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.learned import FirstOrder
from isac_torch.errors import AllocationError, ScenarioError
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.sensing.setup import SensingSetup
from isac_torch.sensing.sicnr_constraints import allocate_for_sicnr, sicnr_constraints
from isac_torch.tensors import to_db
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario

SCENARIO = TrackingScenario(num_aps=8, num_ues=6, num_targets=3, serving_aps=3, sensing_aps=3)
SETUP = SensingSetup()


def _drop(scenario: TrackingScenario = SCENARIO, count: int = 3):
    return scenario.sample(count, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("kind", ["uniform", "optimal"])
def test_rows_foretell_the_sicnr_at_their_reference(kind: str) -> None:
    """Against the mean over 12 blocks: right in the mean within 1.3 dB, at half of the targets within 1 dB."""
    drop = _drop()
    problem = power_problem(drop, SCENARIO)
    power = equal_split(problem) if kind == "uniform" else BatchedOptimal().propose(problem).power
    rows = sicnr_constraints(problem, drop, SCENARIO, SETUP, 3.0, power)
    true = assess(drop, SCENARIO, SETUP, power, Glrt("paper"), num_blocks=12, seed=3).quality.ratio.mean(1)
    error = to_db(rows.sir(power)) - to_db(true)
    assert abs(float(error.mean())) < 1.3
    assert float(error.abs().quantile(0.5)) < 1.0


def test_a_larger_cross_section_shifts_own_and_other_echoes_alike() -> None:
    drop = _drop()
    problem = power_problem(drop, SCENARIO)
    weak, strong = (
        sicnr_constraints(problem, drop, SCENARIO, SensingSetup(rcs_variance_dbsm=level), 3.0) for level in (0.0, 10.0)
    )
    assert_close(strong.echo, weak.echo)
    assert_close(strong.cross_echo, weak.cross_echo)
    assert_close(strong.constraint_noise, 0.1 * weak.constraint_noise)


def test_more_clutter_leaves_less_of_an_echo() -> None:
    """Over the noise, that is: the other targets' echoes suffer too, so that the ratio may even rise."""
    drop = _drop()
    problem = power_problem(drop, SCENARIO)
    low, high = (
        sicnr_constraints(problem, drop, SCENARIO, SensingSetup(clutter_factor=factor), 3.0) for factor in (1e-3, 1e-1)
    )
    power = equal_split(problem)
    own_over_noise = [torch.einsum("dle,de->dl", rows.echo, power) / rows.constraint_noise for rows in (low, high)]
    assert bool((own_over_noise[1] < own_over_noise[0]).all())


def test_a_single_target_has_a_row() -> None:
    scenario = replace(SCENARIO, num_targets=1)
    problem, found = allocate_for_sicnr(_drop(scenario), scenario, SETUP, BatchedOptimal(), 6.0)
    assert problem.num_constraints == 1
    kept = found.status == Status.OPTIMAL
    assert bool(kept.any())
    assert bool((problem.sir(found.power)[kept] >= problem.sir_min[kept] * (1.0 - 1e-6)).all())


def test_what_makes_no_sense_is_refused() -> None:
    empty = replace(SCENARIO, num_targets=0)
    drop = _drop(empty)
    with pytest.raises(ScenarioError, match="num_targets=0"):
        sicnr_constraints(power_problem(drop, empty), drop, empty, SETUP, 3.0)
    with pytest.raises(ScenarioError, match="passes=0"):
        allocate_for_sicnr(_drop(), SCENARIO, SETUP, BatchedOptimal(), 3.0, passes=0)
    noisy = sicnr_constraints(power_problem(_drop(), SCENARIO), _drop(), SCENARIO, SETUP, 3.0)
    with pytest.raises(AllocationError, match="noise"):
        FirstOrder().propose(noisy)
