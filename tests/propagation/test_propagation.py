"""Path loss, arrays, correlation, pilots and channel estimation against NumPy loops and their laws."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.propagation.arrays import response_lags, steering, toeplitz, toeplitz_weights, turned, turned_back, weights_of
from isac_torch.propagation.correlation import local_scattering_lags, normal_quadrature, pointing_lags
from isac_torch.propagation.estimation import mmse_matrix, observation_lags
from isac_torch.propagation.geometry import angles, array_axis, distance, offsets
from isac_torch.propagation.path_loss import bistatic_gain, three_slope_gain, umi_los_gain, umi_nlos_gain
from isac_torch.propagation.pilots import greedy_pilots, pilot_gram, round_robin_pilots
from tests.oracles import estimation as loop_estimation
from tests.oracles import geometry as loop

# Elementary functions of NumPy and torch differ in the last digit or two; a phase of some radians keeps that size.
ROUNDING: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}
# The oracle integrates by adaptive quadrature to 1e-12, the code by a fixed rule that promises 1e-12.
QUADRATURE: dict[str, Any] = {"rtol": 0.0, "atol": 5e-11}


def _points(generator: torch.Generator, count: int, reach: float = 700.0) -> torch.Tensor:
    return reach * torch.rand(1, count, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("metres", [10.0, 11.3, 120.0, 1234.5])
def test_path_gains_match_the_tables_of_36_814(metres: float) -> None:
    gap = torch.tensor([metres], dtype=torch.float64)
    nlos, los = umi_nlos_gain(gap, 2e9).item(), umi_los_gain(gap, 2e9).item()
    assert nlos == pytest.approx(10 ** (-loop.umi_nlos_loss_db(metres, 2.0) / 10), rel=1e-12)
    assert los == pytest.approx(10 ** (-loop.umi_los_loss_db(metres, 2.0) / 10), rel=1e-12)


def test_three_slopes_by_hand() -> None:
    """At 1.9 GHz, AP at 15 m and UE at 1.65 m: 140.7 dB at 1 km, the constant of Ngo et al. 2017."""
    metres = torch.tensor([1.0, 10.0, 25.0, 50.0, 1000.0, 2000.0], dtype=torch.float64)
    loss = -10.0 * three_slope_gain(metres, 1.9e9, 15.0, 1.65).log10()
    at_far = 140.7151 - 35.0 * math.log10(1000.0 / 50.0)
    expected = [at_far - 20.0 * math.log10(50.0 / 10.0)] * 2
    expected += [at_far - 20.0 * math.log10(50.0 / 25.0), at_far, 140.7151, 140.7151 + 35.0 * math.log10(2.0)]
    assert_close(loss, torch.tensor(expected, dtype=torch.float64), rtol=0.0, atol=1e-3)


def test_path_loss_at_one_hundred_metres_by_hand() -> None:
    """36.7 * 2 + 22.7 + 26 log10 2 = 103.927 dB and 22 * 2 + 28 + 20 log10 2 = 78.021 dB."""
    gap = torch.tensor([100.0], dtype=torch.float64)
    assert -10 * math.log10(umi_nlos_gain(gap, 2e9).item()) == pytest.approx(103.92678, abs=1e-5)
    assert -10 * math.log10(umi_los_gain(gap, 2e9).item()) == pytest.approx(78.02060, abs=1e-5)


def test_bistatic_gain_is_the_radar_equation() -> None:
    out, back = torch.tensor([80.0, 300.0], dtype=torch.float64), torch.tensor([150.0, 40.0], dtype=torch.float64)
    wavelength = loop.SPEED_OF_LIGHT / 2e9
    expected = [loop.bistatic_gain(float(a), float(b), wavelength) for a, b in zip(out, back, strict=True)]
    assert_close(bistatic_gain(out, back, 2e9), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0.0)
    # Two Friis hops with the cross-section as the aperture in between: G = g(d1) (4 pi / lambda^2) g(d2).
    friis = [(wavelength / (4 * math.pi * d)) ** 2 for d in (80.0, 150.0)]
    hop = friis[0] * 4 * math.pi / wavelength**2 * friis[1]
    assert bistatic_gain(out, back, 2e9)[0].item() == pytest.approx(hop, rel=1e-12)


def test_distance_has_three_dimensions_and_a_floor(generator: torch.Generator) -> None:
    first, second = _points(generator, 4), _points(generator, 5)
    second[0, 0] = first[0, 0] + torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    computed = distance(first, second)
    for i in range(4):
        for j in range(5):
            assert computed[0, i, j].item() == pytest.approx(max(loop.distance(first[0, i], second[0, j]), 10.0), rel=1e-13)


def test_steering_follows_the_path_difference(generator: torch.Generator) -> None:
    """From angles (the code) and from the direction vector along the array's axis (the oracle)."""
    ap, point = _points(generator, 6), _points(generator, 7)
    turn = 2 * math.pi * torch.rand(1, 6, generator=generator, dtype=torch.float64)
    azimuth, elevation = angles(ap, turn, point)
    response = steering(azimuth, elevation, 5)
    axis = array_axis(turn)
    assert_close(axis.norm(dim=-1), torch.ones_like(turn))
    for i in range(6):
        for j in range(7):
            expected = loop.steering(ap[0, i], point[0, j], axis[0, i], 5)
            assert_close(response[0, i, j], torch.from_numpy(expected), **ROUNDING)
            pair = loop.angles(ap[0, i].numpy(), point[0, j].numpy(), axis[0, i].numpy())
            assert math.sin(pair[0]) == pytest.approx(math.sin(azimuth[0, i, j].item()), abs=1e-12)
            assert pair[1] == pytest.approx(elevation[0, i, j].item(), abs=1e-12)


def test_broadside_and_endfire() -> None:
    """Broadside: all elements in phase. Along the axis: half a wavelength per element, alternating signs."""
    zero, side = torch.zeros(1, dtype=torch.float64), torch.full((1,), math.pi / 2, dtype=torch.float64)
    assert_close(steering(zero, zero, 4)[0].real, torch.ones(4, dtype=torch.float64))
    assert_close(steering(side, zero, 4)[0].real, torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64))


@pytest.mark.parametrize(("num_antennas", "spread_deg"), [(4, 15.0), (4, 40.0), (8, 5.0), (16, 15.0), (2, 1e-3)])
def test_local_scattering_matches_adaptive_quadrature(num_antennas: int, spread_deg: float) -> None:
    pairs = torch.tensor([[0.3, -0.05], [2.8, 0.4], [-1.5, -0.7]], dtype=torch.float64)
    spread = math.radians(spread_deg)
    matrix = toeplitz(local_scattering_lags(pairs[:, 0], pairs[:, 1], num_antennas, spread))
    for i, (azimuth, elevation) in enumerate(pairs.tolist()):
        expected = loop.local_scattering(azimuth, elevation, spread, num_antennas)
        assert_close(matrix[i], torch.from_numpy(expected), **QUADRATURE)


def test_correlation_is_hermitian_semidefinite_with_unit_diagonal(generator: torch.Generator) -> None:
    azimuth = 6.0 * torch.rand(20, generator=generator, dtype=torch.float64)
    matrix = toeplitz(local_scattering_lags(azimuth, 0.1 * azimuth, 6, math.radians(15.0)))
    assert_close(matrix, matrix.mH)
    assert_close(matrix.diagonal(dim1=-2, dim2=-1).real, torch.ones(20, 6, dtype=torch.float64))
    assert torch.linalg.eigvalsh(matrix).min().item() > -1e-13


def test_many_directions_are_worked_off_in_parts(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    azimuth, elevation = torch.rand(2, 5, 7, generator=generator, dtype=torch.float64)
    averages = ((local_scattering_lags, 0.3), (pointing_lags, 0.1))
    whole = [average(azimuth, elevation, 4, spread) for average, spread in averages]
    monkeypatch.setattr("isac_torch.propagation.correlation._PART", 100)
    for (average, spread), expected in zip(averages, whole, strict=True):
        assert_close(average(azimuth, elevation, 4, spread), expected, rtol=1e-14, atol=1e-15)


def test_averages_and_their_slopes_hold_at_endfire() -> None:
    """Along the array the half phase between neighbours is 90 degrees, where its tangent has a pole."""
    azimuth = torch.tensor([0.5, -0.5, 0.5 - 1e-9], dtype=torch.float64).mul(math.pi).requires_grad_()
    flat = torch.zeros(3, dtype=torch.float64)
    lags = local_scattering_lags(azimuth, flat, 4, 0.0)
    assert_close(lags, response_lags(azimuth, flat, 4), rtol=0.0, atol=1e-14)
    for lag in range(7):
        found, expected = (
            torch.autograd.grad(values[:, lag].sum(), azimuth, retain_graph=True)[0]
            for values in (lags, response_lags(azimuth, flat, 4))
        )
        assert_close(found, expected, rtol=0.0, atol=1e-12)


def test_no_spread_leaves_one_path() -> None:
    azimuth = torch.tensor([0.7], dtype=torch.float64)
    response = steering(azimuth, azimuth, 4)
    outer = response.unsqueeze(-1) * response.unsqueeze(-2).conj()
    assert_close(toeplitz(local_scattering_lags(azimuth, azimuth, 4, 0.0)), outer, **ROUNDING)
    assert_close(toeplitz(pointing_lags(azimuth, azimuth, 4, 0.0)), outer, **ROUNDING)


@pytest.mark.parametrize("error", [1e-2, 0.2])
def test_pointing_average_matches_the_double_integral(error: float) -> None:
    pairs = torch.tensor([[0.3, 0.2], [-2.0, 1.1]], dtype=torch.float64)
    matrix = toeplitz(pointing_lags(pairs[:, 0], pairs[:, 1], 4, error)) / 4
    for i, (azimuth, elevation) in enumerate(pairs.tolist()):
        expected = loop.tracking_beam_covariance(azimuth, elevation, error, 4)
        assert_close(matrix[i], torch.from_numpy(expected), **QUADRATURE)
        assert matrix[i].diagonal().real.sum().item() == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize(("num_antennas", "spread_deg"), [(4, 15.0), (4, 0.8), (16, 40.0), (1, 15.0), (64, 5.0)])
def test_quadrature_keeps_its_promise(num_antennas: int, spread_deg: float) -> None:
    """Weights of a mean, pairs of nodes, and the last antenna's phase to 1e-12 against 8001 nodes over 10 deviations."""
    spread = math.radians(spread_deg)
    nodes, weights = normal_quadrature(num_antennas, spread)
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert np.allclose(nodes, -nodes[::-1], atol=1e-15)
    fine = np.linspace(-10.0, 10.0, 8001)
    density = np.exp(-fine * fine / 2.0) / np.exp(-fine * fine / 2.0).sum()
    around = np.linspace(0.0, 2 * math.pi, 101)[:, None]
    last = math.pi * (num_antennas - 1)
    expected = np.exp(1j * last * np.sin(around + spread * fine)) @ density
    assert np.abs(np.exp(1j * last * np.sin(around + nodes)) @ weights - expected).max() < 2e-12


@pytest.mark.parametrize("num_antennas", [1, 2, 3, 4, 7])
def test_turned_matrices_are_real_and_keep_products_and_traces(generator: torch.Generator, num_antennas: int) -> None:
    lags = torch.randn(2, 5, 2 * num_antennas - 1, generator=generator, dtype=torch.float64)
    first, second = toeplitz(lags)
    assert_close(first, first.mH)
    assert_close(first[..., 0].real, lags[0, :, :num_antennas])
    assert_close(first[..., 1:, 0].imag, lags[0, :, num_antennas:])
    assert_close(turned_back(turned(lags[0])), first, **ROUNDING)
    product = turned(lags[0]) @ turned(lags[1])
    assert_close(turned_back(product), first @ second, **ROUNDING)
    trace = (first @ second @ first).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert_close((weights_of(product) * lags[0]).sum(-1), trace.real, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("num_antennas", [1, 2, 5, 16])
def test_weights_of_toeplitz_matrices_need_no_matrix(generator: torch.Generator, num_antennas: int) -> None:
    lags = torch.rand(3, 2 * num_antennas - 1, generator=generator, dtype=torch.float64)
    assert_close(toeplitz_weights(lags), weights_of(turned(lags)), rtol=1e-12, atol=1e-14)


def test_response_lags_are_those_of_the_response(generator: torch.Generator) -> None:
    azimuth, elevation = 6.0 * torch.rand(2, 9, generator=generator, dtype=torch.float64)
    response = steering(azimuth, elevation, 5)
    outer = response.unsqueeze(-1) * response.unsqueeze(-2).conj()
    assert_close(toeplitz(response_lags(azimuth, elevation, 5)), outer, **ROUNDING)


@pytest.mark.parametrize("pilot", [[0, 1, 2, 3], [0, 1, 0, 1], [0, 0, 0, 1]])
def test_estimation_statistics_match_the_loops(generator: torch.Generator, pilot: list[int]) -> None:
    angle = 3.0 * torch.rand(4, 3, generator=generator, dtype=torch.float64)
    gain = torch.pow(10.0, -13.0 + 3.0 * torch.rand(4, 3, generator=generator, dtype=torch.float64))
    lags = gain.unsqueeze(-1) * local_scattering_lags(angle, 0.1 * angle, 4, 0.26)
    covariance = toeplitz(lags)
    power = torch.tensor([1e-4, 3e-5, 1e-3, 2e-4], dtype=torch.float64)
    length, noise = max(pilot) + 1, 8e-14
    book = loop_estimation.pilot_book(pilot, length)
    tables = covariance.numpy(), book, power.numpy(), noise
    gram = pilot_gram(torch.tensor([pilot]))[0]
    for k in range(4):
        for m in range(3):
            observation = toeplitz(observation_lags(lags[:, m], gram[k], length * power, noise))
            expected = loop_estimation.observation_covariance(*tables)[k, m]
            assert_close(observation, torch.from_numpy(expected), rtol=1e-12, atol=1e-26)
            filtered = mmse_matrix(covariance[k, m], observation, length * power[k])
            # The oracle inverts Gamma, the code solves: both lose the condition number of Gamma, below 1e4 here.
            assert_close(filtered, torch.from_numpy(loop_estimation.mmse_matrix(*tables)[k, m]), rtol=1e-10, atol=1e-12)
            estimate = (filtered @ covariance[k, m]).numpy()
            assert np.allclose(estimate, estimate.conj().T, rtol=0, atol=1e-12 * np.abs(estimate).max())
            error = np.linalg.eigvalsh(covariance[k, m].numpy() - estimate)
            assert error.min() > -1e-12 * gain[k, m].item(), "an estimate cannot hold more energy than its channel"


def test_better_pilots_estimate_better(generator: torch.Generator) -> None:
    """tr Phi grows with pilot energy up to tr C, falls with noise and with another UE on the pilot."""
    lags = 1e-11 * local_scattering_lags(torch.tensor([0.4, 1.2]).double(), torch.zeros(2).double(), 4, 0.26)
    matrix = toeplitz(lags)

    def quality(energy: float, noise: float, shared: float) -> float:
        gram, energies = torch.tensor([1.0, shared]).double(), torch.tensor([energy, 1e-3]).double()
        filtered = mmse_matrix(matrix[0], toeplitz(observation_lags(lags, gram, energies, noise)), energies[0])
        return float((filtered @ matrix[0]).diagonal().sum().real) / 4e-11

    assert 0 < quality(1e-4, 8e-14, 0.0) < quality(1e-3, 8e-14, 0.0) < quality(1e3, 8e-14, 0.0) < 1 + 1e-9
    assert quality(1e3, 8e-14, 0.0) == pytest.approx(1.0, abs=1e-4)
    assert quality(1e-3, 8e-13, 0.0) < quality(1e-3, 8e-14, 0.0)
    assert quality(1e-3, 8e-14, 1.0) < quality(1e-3, 8e-14, 0.0)


def test_round_robin_spreads_ues_evenly() -> None:
    pilot = round_robin_pilots(3, 10, 4, torch.zeros(1))
    assert pilot.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]] * 3
    gram = pilot_gram(pilot)
    assert torch.equal(gram, gram.transpose(1, 2))
    assert gram.sum(-1)[0].tolist() == [3, 3, 2, 2, 3, 3, 2, 2, 3, 3]


def test_greedy_pilots_are_orthogonal_when_they_suffice_and_hurt_less_when_they_do_not(generator: torch.Generator) -> None:
    gain = torch.pow(10.0, -13.0 + 4.0 * torch.rand(60, 12, 8, generator=generator, dtype=torch.float64))
    serving = gain.topk(3, dim=-1).values.sum(-1)
    assert all(len(set(row)) == 12 for row in greedy_pilots(gain, serving, 12).tolist())

    def worst_contamination(pilot: torch.Tensor) -> float:
        coupling = torch.einsum("dkm,djm->dkj", gain, gain)
        shared = pilot_gram(pilot) * (1 - torch.eye(12, dtype=torch.float64))
        return float(((coupling * shared).sum(-1) / serving.square()).amax(-1).log().mean())

    greedy = greedy_pilots(gain, serving, 4)
    assert int(greedy.min()) >= 0
    assert int(greedy.max()) < 4
    assert worst_contamination(greedy) < worst_contamination(round_robin_pilots(60, 12, 4, gain)) - math.log(1.5)


def test_offsets_are_vectors_from_each_origin_to_each_target(generator: torch.Generator) -> None:
    origin, target = _points(generator, 4), _points(generator, 5)
    found = offsets(origin, target)
    assert found.shape == (1, 4, 5, 3)
    for i in range(4):
        for j in range(5):
            assert torch.equal(found[0, i, j], target[0, j] - origin[0, i])
