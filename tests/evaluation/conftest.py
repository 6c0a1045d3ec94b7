"""Benchmarks of the tests take their times without warm-ups, which are as long as the few drops of a test."""

import pytest

from isac_torch.evaluation import measure


@pytest.fixture(scope="session", autouse=True)
def no_warm_ups():
    """Allocate once; `test_measure` looks at the warm-ups."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "_warm_up", lambda problem, allocator: None)
        yield
