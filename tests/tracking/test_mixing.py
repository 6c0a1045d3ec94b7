"""Powers with a share of the reference mixed in: what their own part must reach, exactly for the linear constraints."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.errors import ProblemError
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.mixing import beside_reference, mixed_with_reference
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario

SCENARIO = TrackingScenario(
    num_aps=8,
    num_ues=4,
    num_targets=2,
    num_antennas=2,
    requirement=Requirement("dominate", cell=300.0, scan=0.5, enough_db=13.0),
)
PROBLEM = power_problem(SCENARIO.sample(4, generator=torch.Generator().manual_seed(3)), SCENARIO)
SHARE = 0.3


def test_a_mixture_meets_a_constraint_exactly_where_its_part_meets_the_other_one() -> None:
    rest = beside_reference(PROBLEM, SHARE)
    assert PROBLEM.reference is not None
    shares = torch.rand(60, 1, PROBLEM.num_links, generator=torch.Generator().manual_seed(1), dtype=torch.float64) ** 4
    met = []
    for share in shares:
        power = 0.5 * share * PROBLEM.reference
        mixture = torch.lerp(power, PROBLEM.reference, SHARE)
        own = rest.sir(power) >= rest.sir_min
        positive = rest.constraint_noise > 0.0  # elsewhere the reference's share is enough by itself
        assert torch.equal(own[positive], (PROBLEM.sir(mixture) >= PROBLEM.sir_min)[positive])
        met.append(own[positive])
    assert 0.05 < float(torch.cat(met).double().mean()) < 0.95


def test_mixtures_keep_the_requirement_and_reach_more_than_the_optimum_mixed() -> None:
    best = BatchedOptimal(gap=1e-3, tie="none")
    mixture = mixed_with_reference(PROBLEM, SHARE, lambda asked: allocate(asked, best).power)
    assert PROBLEM.reference is not None
    plain = torch.lerp(allocate(PROBLEM, best).power, PROBLEM.reference, SHARE)
    assert float(PROBLEM.violations(mixture).worst.max()) <= 1e-6
    assert bool((PROBLEM.objective(mixture) >= PROBLEM.objective(plain) * (1 - 2e-3)).all())
    assert float((PROBLEM.objective(mixture) / PROBLEM.objective(plain)).mean()) > 1.02
    assert bool((mixture >= SHARE * PROBLEM.reference * (1 - 1e-9)).all())


def test_without_a_share_nothing_changes() -> None:
    rest = beside_reference(PROBLEM, 0.0)
    assert_close(rest.constraint_noise, PROBLEM.constraint_noise)
    assert rest.position is not None
    assert PROBLEM.position is not None
    assert_close(rest.position.required, PROBLEM.position.required)


def test_mixtures_of_nothing_are_refused() -> None:
    with pytest.raises(ProblemError, match="reference"):
        beside_reference(replace(PROBLEM, reference=None), SHARE)
    with pytest.raises(ProblemError, match="share=1"):
        beside_reference(PROBLEM, 1.0)
