"""Benchmarks whose figures are made, but not rendered, which takes most of a small benchmark's time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from matplotlib.figure import Figure


@contextmanager
def unrendered() -> Iterator[None]:
    """Files of figures stay empty inside."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, path, **options: Path(path).touch())
        yield
