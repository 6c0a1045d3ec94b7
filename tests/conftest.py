"""Shape and type checks of jaxtyping and beartype over the whole package, one thread, explicit generators."""

import ctypes
import gc
from contextlib import suppress

gc.disable()  # until all tests are collected: what imports leave behind is never garbage

with suppress(AttributeError):  # glibc alone: keep the memory of large arrays, instead of asking for it page by page again
    for option, size in ((-3, 2**25), (-1, 2**30)):  # M_MMAP_THRESHOLD at its largest, M_TRIM_THRESHOLD
        ctypes.CDLL(None).mallopt(option, size)

from tests.checked import install  # noqa: E402

# Before anything imports isac_torch; sub-processes that tests start run without it.
install("isac_torch")

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)  # the same sums in the same order on every machine


def pytest_collection_finish() -> None:
    """Look for garbage from here on, among what the tests make."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def generator() -> torch.Generator:
    """A generator seeded the same for every test."""
    return torch.Generator().manual_seed(20_240_607)
