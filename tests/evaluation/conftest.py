"""Benchmarks of the tests go without what takes time and changes no number: warm-ups, more steps of networks, fine pictures."""

import pytest
from matplotlib.figure import Figure

from isac_torch.allocators.tracking import learned
from isac_torch.evaluation import measure


@pytest.fixture(scope="module", autouse=True)  # not longer: tests of other folders may follow in the same process
def quick_benchmarks():
    """Allocate once; `test_measure` looks at the warm-ups, and the tests of the allocators at all steps."""
    ascent, figure = learned._continued, Figure.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "_warm_up", lambda problem, allocator: None)
        patch.setattr(learned, "_continued", lambda start, steps: ascent(start, min(steps, 6)))
        patch.setattr(Figure, "__init__", lambda self, **options: figure(self, **options | {"dpi": 40, "layout": None}))
        yield
