"""The compiled core as tests of both systems want it."""

import pytest

from isac_torch.deployment import library
from tests.compiled_core import run_compiler


@pytest.fixture(scope="session")
def unwritten_is_nan(tmp_path_factory):
    """The library whose memory holds no number before one is written there."""
    folder = tmp_path_factory.mktemp("native")
    run_compiler("-O0", "-fPIC", "-shared", "-DUNWRITTEN_IS_NAN", "-o", "unwritten_is_nan.so", "-lm", cwd=folder)
    return library.opened(folder / "unwritten_is_nan.so")
