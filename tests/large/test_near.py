"""Near and far pairs, tables, radiation by sector, pilots and sets of large networks, against dense loops."""

import math

import numpy as np
import pytest

from isac_torch.errors import DropError
from isac_torch.large import lags, near, sets
from isac_torch.large.allocator import LargeAllocator
from isac_torch.large.cells import SECTORS, CellGrid
from isac_torch.large.gains import Shadowing
from isac_torch.large.lags import TABLE_ERROR, ScatteringTable
from isac_torch.large.metrics import local_minimum
from isac_torch.large.problem import _height as height_of
from isac_torch.large.radiation import AZIMUTHS, azimuths, by_sector
from isac_torch.large.sets import local_pilots, located, nearest_free, strongest
from isac_torch.propagation.arrays import weights_of
from isac_torch.propagation.correlation import local_scattering_lags
from tests.large.networks import network


def test_near_and_far_pairs_are_all_pairs_once():
    generator = np.random.default_rng(1)
    points, sources = generator.uniform(0, 5000, (60, 2)), generator.uniform(0, 5000, (80, 2))
    grid = CellGrid.over(np.concatenate([points, sources]), 900.0, 6)
    pairs = grid.near_pairs(points, sources)
    distance = np.linalg.norm(points[:, None] - sources[None], axis=-1)
    near = np.zeros_like(distance, dtype=bool)
    near[pairs.point, pairs.source] = True
    assert near.sum() == len(pairs.point)
    assert near[distance < grid.radius].all()
    assert (np.repeat(pairs.order, np.diff(pairs.first)) == pairs.point).all()
    assert (np.sort(pairs.order) == np.arange(60)).all()

    def kernel(d):
        return d**-3.67

    strength = generator.uniform(0.5, 2.0, (2, 80))
    exact = (np.where(near, 0.0, kernel(distance)) @ strength.T).T
    most = grid.far_sum(points, sources, strength, kernel)
    assert (most >= exact).all()
    assert np.median(most / exact) < 2.5
    everywhere = np.tile(strength[:1], (SECTORS, 1))
    np.testing.assert_allclose(grid.far_sum_by_direction(points, sources, everywhere, kernel), most[0], rtol=1e-9)
    least = grid.far_sum_by_direction(points, sources, everywhere, kernel, least=True)
    assert (least <= exact[0]).all()
    assert np.median(least / exact[0]) > 0.4
    # By direction: a source that radiates into one sector only is counted there, and wherever the margin allows.
    angle = np.arctan2(*(points[:, None] - sources[None]).T[::-1]).T % (2 * math.pi)
    sector = np.zeros((SECTORS, 80))
    sector[3] = 1.0
    inside = (angle >= 3 * 2 * math.pi / SECTORS + grid.sector_margin) & (
        angle < 4 * 2 * math.pi / SECTORS - grid.sector_margin
    )
    one = grid.far_sum_by_direction(points, sources, sector, kernel)
    assert (one >= np.where(near | ~inside, 0.0, kernel(distance)).sum(1)).all()
    assert one.sum() < 0.5 * grid.far_sum(points, sources, np.ones((1, 80)), kernel).sum()


def test_a_grid_that_would_not_fit_is_refused():
    with pytest.raises(DropError, match="cells of"):
        CellGrid.over(np.array([[0.0, 0.0], [1e7, 1e7]]), 1000.0, 10)


@pytest.mark.parametrize("antennas", [1, 2, 4, 8])
def test_tabled_correlations_agree_with_the_quadrature(antennas):
    generator = np.random.default_rng(2)
    azimuth, cosine = generator.uniform(-9, 9, 900), np.concatenate([generator.uniform(0.9965, 1, 800), np.linspace(0, 1, 100)])
    spread = math.radians(15.0)
    lags = ScatteringTable.build(antennas, spread).lags(azimuth, cosine)
    exact = local_scattering_lags(azimuth, np.arccos(cosine), antennas, spread)
    assert np.abs(lags - exact).max() < TABLE_ERROR


def by_numpy(monkeypatch, *modules):
    """The modules compute as on a machine without a compiler."""
    for module in modules:
        monkeypatch.setattr(module, "native_library", lambda: None)


@pytest.mark.parametrize("width", [1, 7, 9])
@pytest.mark.parametrize("parts", [(), (1,), (2,), (3,)])
def test_products_of_near_pairs_are_those_of_the_dense_matrix(monkeypatch, width, parts):
    generator = np.random.default_rng(8)
    points, sources = generator.uniform(0, 3000, (40, 2)), generator.uniform(0, 3000, (30, 2))
    pairs = CellGrid.over(np.concatenate([points, sources]), 900.0, 4).near_pairs(points, sources)
    lags = generator.normal(size=(len(pairs.point), width))
    dense = np.zeros((40, 30, width))
    dense[pairs.point, pairs.source] = lags
    sent, weight = generator.normal(size=(*parts, 30, width)), generator.normal(size=(*parts, 40))
    for path in ("library", "numpy"):
        if path == "numpy":
            by_numpy(monkeypatch, near)
        product = near.NearLags(pairs, lags, 30)
        np.testing.assert_allclose(product.received(sent), np.einsum("ksd,...sd->...k", dense, sent), rtol=1e-11)
        np.testing.assert_allclose(product.returned(weight), np.einsum("ksd,...k->...sd", dense, weight), rtol=1e-11)


def test_the_compiled_library_gives_what_numpy_gives(monkeypatch):
    net, gains = network(300, 280, 15, 12, pilot_symbols=16), Shadowing(4.0, 3)
    assert net.pilot is None, "pilots are dealt here"
    one = LargeAllocator()(net, gains)
    by_numpy(monkeypatch, near, lags, sets)
    other = LargeAllocator()(net, gains)
    for name in ("link_ap", "missed", "outage"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("power", "sinr", "sir"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-8)


@pytest.mark.parametrize("height", [8.0, 400.0])
def test_radiation_by_sector_bounds_every_direction(height):
    generator = np.random.default_rng(4)
    table = ScatteringTable.build(4, math.radians(15.0))
    vector = generator.normal(size=(30, 4))
    sent = weights_of(np.einsum("ma,mb->mab", vector, vector))
    orientation = generator.uniform(0, 2 * math.pi, 30)
    grid = CellGrid.over(np.array([[0.0, 0.0], [5000.0, 5000.0]]), 1000.0, 10)
    pattern = table.lags(azimuths(), np.ones(256))
    most, least = (by_sector(sent, orientation, pattern, grid, height, least=flag) for flag in (False, True))
    direction = np.linspace(0, 2 * math.pi, 3000, endpoint=False)
    cosine = np.full(3000, 1000.0 / math.hypot(1000.0, height))
    for ap in range(30):
        value = table.lags(direction - orientation[ap], cosine) @ sent[ap]
        sector = (direction * SECTORS / (2 * math.pi)).astype(int)
        assert (value <= most[sector, ap] * (1 + 1e-9)).all()
        assert (value >= least[sector, ap] * (1 - 1e-9)).all()


def test_radiation_bounds_what_a_difference_of_height_adds():
    """A beam beside the endfire direction: seen from above, its gain there rises by more than between two samples."""
    grid = CellGrid.over(np.array([[0.0, 0.0], [5000.0, 5000.0]]), 1000.0, 10)
    height, spread = 0.7 * grid.radius, math.radians(1.0)
    steered = np.arcsin(np.linspace(-0.95, 0.95, 77))
    taper = np.array(
        [4.0, 6.0, 4.0, 2.0, 6.0, 4.0, 2.0]
    )  # of the lags 0, 1, 2, 3 (real) and 1, 2, 3 (imaginary) of four antennas
    sent = taper * local_scattering_lags(steered, np.zeros(77), 4, spread)
    pattern = local_scattering_lags(azimuths(), np.zeros(AZIMUTHS), 4, spread)
    most = by_sector(sent, np.zeros(77), pattern, grid, height)
    direction = np.linspace(0, 2 * math.pi, 720, endpoint=False)
    elevation = np.full(720, math.atan2(height, grid.radius))
    value = local_scattering_lags(direction, elevation, 4, spread) @ sent.T
    sector = (direction * SECTORS / (2 * math.pi)).astype(int)
    assert (value <= most[sector] * (1 + 1e-9)).all()


def test_height_is_the_largest_difference_of_any_pair():
    generator = np.random.default_rng(8)
    for low, high in ((0.0, 5.0), (50.0, 60.0)):
        points, others = generator.uniform(low, high, (7, 3)), generator.uniform(20.0, 100.0, (5, 3))
        pairs = np.abs(points[:, None, 2] - others[None, :, 2])
        assert height_of(points, others) == pytest.approx(pairs.max())
        assert height_of(others, points) == pytest.approx(pairs.max())


def test_pilots_are_dealt_so_that_sharers_are_far_apart():
    position = network(400, 400, 0, 5).ue_position
    pilot = local_pilots(position, 16)
    gap = np.linalg.norm(position[:, None] - position[None], axis=-1) + np.where(pilot[:, None] == pilot, 0.0, np.inf)
    np.fill_diagonal(gap, np.inf)
    cell = math.sqrt(16 * 0.5e6 / 16)  # side of the square that holds as many UEs as there are pilots
    assert gap.min() > 0.4 * cell
    assert (local_pilots(position[:8], 16) == np.arange(8)).all()
    together = local_pilots(np.repeat(position[:50], 8, axis=0), 16).reshape(50, 8)
    assert all(len(set(row)) == 8 for row in together), "UEs at one place send different pilots"
    random = np.random.default_rng(0).integers(0, 16, 400)
    other = np.linalg.norm(position[:, None] - position[None], axis=-1) + np.where(random[:, None] == random, 0.0, np.inf)
    np.fill_diagonal(other, np.inf)
    assert gap.min() > 3 * other.min()


def test_sets_follow_their_rules():
    generator = np.random.default_rng(6)
    points, sources = generator.uniform(0, 1000, (20, 2)), generator.uniform(0, 1000, (30, 2))
    pairs = CellGrid.over(np.concatenate([points, sources]), 3000.0, 4).near_pairs(points, sources)
    gain = generator.uniform(size=len(pairs.point))
    table = np.zeros((20, 30))
    table[pairs.point, pairs.source] = gain
    chosen = strongest(pairs, gain, 3, "ue")
    assert (pairs.source[chosen] == np.argsort(-table, axis=1)[:, :3]).all()
    assert (located(pairs, pairs.source[chosen], "ue") == chosen).all()
    target, receiver = generator.uniform(0, 1000, (6, 3)), generator.uniform(0, 1000, (7, 3))
    one = nearest_free(target, receiver, 1)
    assert len(np.unique(one)) == 6
    two = nearest_free(target, receiver, 2)
    assert (two[:, 0] != two[:, 1]).all()
    few = nearest_free(target[:3], receiver, 1)[:, 0]
    assert (few == np.linalg.norm(target[:3, None] - receiver, axis=-1).argmin(1)).all()


def test_local_minima_look_at_neighbours_only():
    position = np.array([[0.0, 0, 0], [400, 0, 700], [800, 0, 0], [5000, 0, 0]])
    assert local_minimum(position, np.array([3.0, 2.0, 1.0, 0.5]), 500.0).tolist() == [2.0, 1.0, 1.0, 0.5]
