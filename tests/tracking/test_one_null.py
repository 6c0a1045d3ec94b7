"""The projection beside one drawn direction: its moments against draws, and in closed form where all directions are alike."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.tracking.one_null import null_moments_of


def _covariance(strengths: list[float], seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((len(strengths),) * 2)
    return factor @ np.diag(strengths) @ factor.T


@pytest.mark.parametrize("strengths", [[1.0, 0.3, 0.02, 1e-4], [1.0, 1e-9, 0.0]], ids=["full", "one-direction"])
def test_moments_of_drawn_projections(strengths: list[float]) -> None:
    """40,000 draws: entries of the projection err by at most 0.005 at one deviation; five of these."""
    size, rng = len(strengths), np.random.default_rng(1)
    covariance = _covariance(strengths, 0)
    value, axes = np.linalg.eigh(covariance)
    shape = axes * np.sqrt(np.maximum(value, 0.0))
    drawn = (rng.standard_normal((40_000, size)) + 1j * rng.standard_normal((40_000, size))) @ shape.T
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    projection = np.eye(size) - unit[:, :, None] * unit[:, None, :].conj()
    any_matrix = rng.standard_normal((size, size))
    symmetric = any_matrix + any_matrix.T
    found = null_moments_of(covariance)
    np.testing.assert_allclose(found.mean(), projection.mean(0).real, atol=0.02)
    inner = (projection @ symmetric @ projection).mean(0).real
    np.testing.assert_allclose(found.sandwich(symmetric), inner, atol=0.02 * np.abs(symmetric).max())
    squares = np.abs(np.einsum("sij,ji->s", projection, any_matrix)) ** 2
    assert float(found.trace_square(any_matrix)) == pytest.approx(squares.mean(), abs=5.0 * squares.std() / 200.0)
    assert float(found.first.sum()) == pytest.approx(1.0, rel=1e-12)
    assert float(found.second.sum()) == pytest.approx(1.0, rel=1e-12)


def test_directions_that_are_alike() -> None:
    """u is uniform on the sphere: E|u_i|^2 = 1/n, E|u_i|^2 |u_j|^2 = (1 + [i = j]) / (n (n + 1))."""
    found = null_moments_of(torch.eye(4, dtype=torch.float64))
    assert_close(found.first, torch.full((4,), 0.25, dtype=torch.float64))
    assert_close(found.second, (1.0 + torch.eye(4, dtype=torch.float64)) / 20.0)
