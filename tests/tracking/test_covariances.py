"""Statistics from covariances of any structure, against loops over matrices of each AP's own size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isac_torch.errors import ScenarioError
from isac_torch.propagation.arrays import steering
from isac_torch.propagation.geometry import angles
from isac_torch.tensors import map_tensors
from isac_torch.tracking.build import network_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.covariances import link_statistics
from isac_torch.tracking.scenario import TrackingScenario
from tests.oracles import metrics, ragged
from tests.oracles.world import power_tables

SIZE = {"num_aps": 7, "num_ues": 5, "num_targets": 3, "num_receive_aps": 2}
ANTENNAS = (1, 4, 2, 3, 4)


def drawn(scenario, count=2):
    return scenario.sample(count, generator=torch.Generator().manual_seed(3))


def random_tables(drop, seed=5):
    """Covariances, responses and beams of every drop by row and AP, each of its AP's size."""
    rng = np.random.default_rng(seed)

    def outer(size, scale):
        root = rng.standard_normal((size, size)) + 1j * rng.standard_normal((size, size))
        matrix = root @ root.conj().T
        return scale * matrix / np.trace(matrix).real

    found = []
    for gain in drop.ue_gain.numpy():
        ues, aps = gain.shape
        targets = drop.target_position.shape[1]
        covariance, towards, beam = ragged.table(ues, aps), ragged.table(targets, aps), ragged.table(targets, aps)
        for m in range(aps):
            for k in range(ues):
                covariance[k, m] = outer(ANTENNAS[m], ANTENNAS[m] * gain[k, m])
            for t in range(targets):
                towards[t, m] = np.exp(2j * np.pi * rng.random(ANTENNAS[m]))
                beam[t, m] = outer(ANTENNAS[m], 1.0)
        found.append((covariance, towards, beam))
    return found


def filled(tables, size):
    """Tables of matrices or vectors as one tensor, with zeros for the antennas that are not there."""
    whole = np.array([[[np.pad(x, [(0, size - len(x))] * x.ndim) for x in row] for row in of_drop] for of_drop in tables])
    return torch.from_numpy(whole)


def statistics_of(drop, scenario, tables):
    covariance, towards, beam = (filled([each[i] for each in tables], max(ANTENNAS)) for i in range(3))
    place = drop.sensing_ap[..., None, None].expand(-1, -1, -1, *beam.shape[-2:])
    return link_statistics(drop, scenario, covariance, towards, beam.gather(2, place))


def problem_of(drop, scenario, tables):
    level = drop.ue_gain.new_full((len(drop.ue_gain),), 0.3)
    return network_problem(drop, scenario, statistics_of(drop, scenario, tables), scenario.ap_budgets(drop), level)


def some_power(problem, seed=7):
    shape = len(problem.budget), problem.num_links
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# With one serving AP a UE, what UEs of a shared pilot receive is one complex number, of which only the modulus counts.
@pytest.mark.parametrize("options", [{"pilot_length": 5}, {"pilot_length": 2, "serving_aps": 1}], ids=["orthogonal", "shared"])
def test_sinr_and_sir_are_those_of_loops_over_matrices_of_different_sizes(options):
    scenario = TrackingScenario(**SIZE, **options)
    drop = drawn(scenario)
    tables = random_tables(drop)
    problem = problem_of(drop, scenario, tables)
    power = some_power(problem)
    for d in range(2):
        world, data = ragged.world_of(drop, scenario, d, *tables[d]), power_tables(power, drop, d)
        expected = [metrics.sinr(k, world, *data) for k in range(problem.num_ues)]
        np.testing.assert_allclose(problem.sinr(power)[d].numpy(), expected, rtol=1e-9)
        expected = [metrics.sir(t, world, *data) for t in range(3)]
        np.testing.assert_allclose(problem.sir(power)[d].numpy(), expected, rtol=1e-9)


def test_with_shared_pilots_the_sinr_is_a_lower_bound():
    scenario = TrackingScenario(**SIZE, pilot_length=2)
    drop = drawn(scenario)
    drop = replace(drop, ue_gain=torch.full_like(drop.ue_gain, 1e-9))  # every AP hears every UE well
    tables = random_tables(drop)
    problem = problem_of(drop, scenario, tables)
    power = some_power(problem)
    world, data = ragged.world_of(drop, scenario, 0, *tables[0]), power_tables(power, drop, 0)
    exact = np.array([metrics.sinr(k, world, *data) for k in range(problem.num_ues)])
    bound = problem.sinr(power)[0].numpy()
    assert (bound <= exact * (1 + 1e-12)).all()
    assert (bound < exact * (1 - 1e-6)).any()  # rounding is below 1e-12


@pytest.mark.parametrize("pilot_length", [5, 2])
def test_linear_arrays_give_the_package_s_statistics_in_both_libraries(pilot_length):
    scenario = TrackingScenario(**SIZE, pilot_length=pilot_length)
    drop = drawn(scenario)
    known = channel_statistics(drop, scenario)
    towards = geometry_responses(drop, scenario)
    mine = link_statistics(drop, scenario, known.covariance, towards, known.sensing_beam)
    for name in ("energy", "heard", "coherent"):
        if getattr(known, name) is not None:
            torch.testing.assert_close(getattr(mine, name), getattr(known, name).abs(), rtol=1e-8, atol=0.0)
    assert (mine.coherent is None) == (known.coherent is None)
    arrays = (known.covariance.numpy(), towards.numpy(), known.sensing_beam.numpy())
    there = link_statistics(map_tensors(drop, lambda x: x.numpy()), scenario, *arrays)
    np.testing.assert_allclose(there.heard, mine.heard.numpy(), rtol=1e-9)


def geometry_responses(drop, scenario):
    azimuth, elevation = angles(drop.tx_position, drop.tx_orientation, drop.target_position)
    return steering(azimuth.mT, elevation.mT, scenario.num_antennas)


def test_wrong_arrays_are_refused_in_one_line():
    scenario = TrackingScenario(**SIZE)
    drop = drawn(scenario)
    known = channel_statistics(drop, scenario)
    towards = geometry_responses(drop, scenario)
    with pytest.raises(ScenarioError, match="covariance of shape"):
        link_statistics(drop, scenario, known.covariance[:, :2], towards, known.sensing_beam)
    with pytest.raises(ScenarioError, match="trace is not 1"):
        link_statistics(drop, scenario, known.covariance, towards, 4.0 * known.sensing_beam)
