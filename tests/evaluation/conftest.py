"""Benchmarks of the tests take their times without the warm-ups that repeat quick allocations."""

import pytest

from isac_torch.evaluation import measure


@pytest.fixture(scope="session", autouse=True)
def few_warm_ups():
    """One warm-up of a drop or two, as for allocators that take long; `test_measure` looks at the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "_WARM_UP_SECONDS", 0.0)
        yield
