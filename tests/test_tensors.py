"""Gathers and sums over drops, in torch and numpy alike, against loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from isac_torch.tensors import all_but_own, at_columns, at_rows, max_at, stacked, sum_at

LIBRARIES = [np.asarray, torch.as_tensor]
Maker = Callable[[Any], Any]


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize(("drops", "rows", "each"), [(1, 5, 2), (3, 5, 4), (2, 1, 1), (2, 5, 0)])
def test_gathers_follow_the_index(make: Maker, drops: int, rows: int, each: int) -> None:
    rng = np.random.default_rng(7)
    table, index = rng.random((drops, rows, 3, 2)), rng.integers(rows, size=(drops, 4, each))
    expected = np.array([[[table[d, r] for r in line] for line in index[d]] for d in range(drops)])
    np.testing.assert_array_equal(at_rows(make(table), make(index)), expected.reshape(drops, 4, each, 3, 2))
    flat = rng.random((drops, 4, rows))
    chosen = np.array([[[flat[d, k, r] for r in index[d, k]] for k in range(4)] for d in range(drops)])
    np.testing.assert_array_equal(at_columns(make(flat), make(index)), chosen.reshape(drops, 4, each))
    assert at_columns(make(flat[:, :0]), make(index[:, :0])).shape == (drops, 0, each)


@pytest.mark.parametrize("make", LIBRARIES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_and_maxima_by_index(make: Maker, dtype: Any) -> None:
    rng = np.random.default_rng(8)
    value, index = rng.random((3, 10)).astype(dtype), rng.integers(4, size=(3, 10))
    index[0, index[0] == 2] = 1  # one place stays empty
    total, largest = np.zeros((3, 4)), np.full((3, 4), -np.inf)
    for drop, link in np.ndindex(3, 10):
        total[drop, index[drop, link]] += value[drop, link]
        largest[drop, index[drop, link]] = max(largest[drop, index[drop, link]], value[drop, link])
    found = sum_at(make(value), make(index), 4)
    assert found.dtype == make(value).dtype
    np.testing.assert_allclose(found, total, rtol=1e-6 if dtype is np.float32 else 1e-14)
    np.testing.assert_array_equal(max_at(make(value), make(index), 4), largest)
    assert sum_at(make(value[:, :0]), make(index[:, :0]), 4).shape == (3, 4)


@pytest.mark.parametrize("make", LIBRARIES)
def test_small_tables(make: Maker) -> None:
    value = make(np.arange(6.0).reshape(2, 3))
    assert type(all_but_own(2, value)) is type(value)
    np.testing.assert_array_equal(all_but_own(2, value), [[0.0, 1.0], [1.0, 0.0]])
    np.testing.assert_array_equal(stacked(value, 2.0 * value)[1], 2.0 * np.asarray(value))
