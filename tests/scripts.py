"""Scripts of `benchmarks/` as modules."""

import importlib.util
import sys
from typing import Any

from tests.paths import ROOT


def benchmark(name: str) -> Any:
    """The module of `benchmarks/NAME.py`."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
