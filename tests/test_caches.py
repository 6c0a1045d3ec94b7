"""Tables kept for the next call: the same objects, within a bound of bytes, whatever sizes are asked about."""

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isac_torch.caches import MEBIBYTE, kept, size_of
from isac_torch.propagation.arrays import turned, turned_basis
from isac_torch.solvers.tracking.cones import _pattern
from isac_torch.tensors import all_but_own
from isac_torch.tracking.nodes import nodes_between


@given(st.lists(st.integers(1, 60), max_size=60))
def test_it_is_the_table_of_least_recently_used_results_within_its_bound(counts):
    @kept(max_bytes=1000)
    def ones(count):
        return np.ones(count)

    order: list[int] = []  # an independent model: counts, the latest last
    for count in counts:
        known = count in order
        before = ones(count) if known else None
        found = ones(count)
        assert found is before if known else len(found) == count
        order = [*(one for one in order if one != count), *([count] if 16 * count <= 1000 else [])]
        while sum(8 * one for one in order) > 1000:
            order.pop(0)
        assert ones.kept_bytes() == sum(8 * one for one in order)


def test_threads_may_share_it():
    @kept(max_bytes=4000)
    def table(count):
        return np.full(count, count)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: table(1 + index % 50), range(4000)))
    assert all((one == 1 + index % 50).all() for index, one in enumerate(found))
    assert table.kept_bytes() <= 4000


def test_sizes_are_those_of_the_arrays():
    nodes = nodes_between(40, 4, 8, 192)
    arrays = sum(value.nbytes for value in vars(nodes).values() if isinstance(value, np.ndarray))
    assert arrays <= size_of(nodes) <= arrays + 8 * 192 + 1000


@pytest.mark.parametrize(
    ("function", "ask"),
    [
        ("nodes", lambda size: nodes_between(size, 1, 0, size)),
        ("all_but_own", lambda size: all_but_own(size, np.zeros(1))),
    ],
)
def test_ever_new_sizes_take_no_more_memory(function, ask):
    tracemalloc.start()
    try:
        for size in range(400, 600, 4):  # squares of about 2 MB, several a size: 200 MB and more if all were kept
            ask(size)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 40 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_tables_of_large_arrays_are_bounded_too():
    for antennas in range(2, 65):
        turned(np.ones((1, 2 * antennas - 1)))
    assert turned_basis.kept_bytes() <= 8 * MEBIBYTE


def test_patterns_of_cone_programmes_are_bounded_too():
    for ues in range(2, 60):
        _pattern(ues, 4, 2, 4 * ues + 8, 30)
    assert 0 < _pattern.kept_bytes() <= 8 * MEBIBYTE
