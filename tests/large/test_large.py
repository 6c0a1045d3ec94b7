"""Large networks: bounds against the dense physics, budgets, rows, fairness against certified optima, refusals."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from isac_torch.allocation import allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import AllocationError, DropError
from isac_torch.large.allocator import LargeAllocator
from isac_torch.large.cells import CellGrid
from isac_torch.large.fairness import _FEW, _MANY, _equal_start, fair_powers
from isac_torch.large.fractional import fractional_powers
from isac_torch.large.gains import MeasuredGains, Shadowing, far_bound
from isac_torch.large.lags import TABLE_ERROR
from isac_torch.large.problem import Settings, large_problem
from isac_torch.large.sample import sample_network
from isac_torch.tracking.scenario import TrackingScenario
from tests.large.networks import dense, network, random_powers

WHOLE = Settings(ue_radius=1e4, target_radius=1e4, ue_reach=4, target_reach=4)
"""Everything is near."""
MARGIN = 60 * TABLE_ERROR
"""What the margins for the table's errors add up to at worst, with 4 antennas."""


@pytest.mark.parametrize(("size", "pilots"), [("16x16x4", 16), ("16x16x4", 5), ("24x20x6", 8)])
def test_whole_networks_agree_with_the_dense_physics(size, pilots):
    exact, net = dense(size, pilot_length=pilots)
    problem = large_problem(net, None, WHOLE)
    assert (problem.link_ap == exact.link_ap[0].numpy()).all()
    np.testing.assert_allclose(problem.link_gain, exact.link_gain[0], rtol=1e-9)
    for seed in range(3):
        power = random_powers(problem, seed)
        sinr = exact.sinr(torch.as_tensor(power)[None])[0].numpy()
        sir = exact.sir(torch.as_tensor(power)[None])[0].numpy()
        # Only the table's margins (TABLE_ERROR times a small count) separate them, to the safe side.
        assert (problem.sinr(power) <= sinr).all()
        np.testing.assert_allclose(problem.sinr(power), sinr, rtol=MARGIN)
        assert (problem.sir(power) <= sir * (1 + 1e-9)).all()
        np.testing.assert_allclose(problem.sir(power), sir, rtol=MARGIN)
        np.testing.assert_allclose(problem.ap_load(power), exact.ap_load(torch.as_tensor(power)[None])[0])


@pytest.mark.parametrize(("law", "exponent"), [("radar", 2.0), ("product", 2.2)])
def test_echoes_fall_with_the_exponent_of_their_law(law, exponent):
    exact, net = dense("16x16x4", echo_gain=law)
    gap = np.linalg.norm(net.rx_position[net.listening_ap] - net.target_position[:, None], axis=-1)
    problem = large_problem(net, None, WHOLE)
    assert problem.targets is not None
    np.testing.assert_allclose(problem.targets.own, (gap**-exponent).sum(1), rtol=1e-12)
    power = random_powers(problem, 1)
    np.testing.assert_allclose(problem.sir(power), exact.sir(torch.as_tensor(power)[None])[0].numpy(), rtol=MARGIN)


@pytest.mark.parametrize("power", [1, 2])
def test_shadowed_far_fields_stay_below_their_bound(power):
    """Sums of eight log-normal terms: the bound lies above all but 0.4 % of 40,000 draws; two deviations would not."""
    weight = np.random.default_rng(3).uniform(0.2, 1.0, 8)
    factor = 10.0 ** (0.1 * 3.0 * np.random.default_rng(4).standard_normal((40_000, 8)))
    total = factor**power @ weight
    mean, square = np.array([weight.sum()]), np.array([np.square(weight).sum()])
    bound = far_bound(mean, square, 3.0, power)
    assert (total > bound).mean() < 4e-3
    assert bound < 8.0 * total.mean()  # and is of use
    np.testing.assert_allclose(far_bound(mean, square, 0.0, power), mean)


@pytest.mark.parametrize("shadowing", [0.0, 4.0])
def test_truncated_networks_are_bounded_from_below(shadowing):
    exact, net = dense("64x64x8", pilot_length=16, shadowing_db=shadowing)
    settings = Settings(ue_radius=650.0, target_radius=700.0, ue_reach=8, target_reach=8)
    problem = large_problem(net, MeasuredGains(net.ue_gain, shadowing), settings)
    assert len(problem.users.hearing.lags) < 0.85 * 64 * 48, "something must be far for this test to say anything"
    whole = large_problem(net, None, WHOLE)
    for seed in range(4):
        power = random_powers(problem, seed)
        sinr, sir = (law(torch.as_tensor(power)[None])[0].numpy() for law in (exact.sinr, exact.sir))
        assert (problem.sinr(power) <= sinr).all()
        assert (problem.sir(power) <= sir).all()
        assert np.median(problem.sinr(power) / sinr) > 0.7
        assert np.median(problem.sir(power) / sir) > 0.5
        # Where nothing is far, nothing is bounded.
        assert np.abs(whole.sinr(power) / sinr - 1).max() < MARGIN


def test_allocation_keeps_budgets_meets_rows_and_serves_the_weakest_better():
    net = network(150, 150, 7, 11, sir_min_db=-10.0)
    settings = Settings(ue_radius=700.0, target_radius=1500.0)
    allocated = LargeAllocator(settings=settings)(net, Shadowing(4.0, 3))
    again = LargeAllocator(settings=settings)(net, Shadowing(4.0, 3))
    assert (allocated.power == again.power).all(), "deterministic, no state"
    assert allocated.path == "fair"
    assert (allocated.power > 0).all()
    assert np.bincount(allocated.link_ap, allocated.power).max() <= 2.0 * (1 + 1e-12)
    assert not allocated.missed.any()
    assert (allocated.owner_kind == "target").sum() == 7 * 4
    assert allocated.owner_index[allocated.owner_kind == "target"].tolist() == np.repeat(np.arange(7), 4).tolist()
    problem = large_problem(net, Shadowing(4.0, 3), settings)
    uniform = problem.sinr(fractional_powers(problem))
    assert np.percentile(allocated.sinr, 5) > 1.5 * np.percentile(uniform, 5)
    load = problem.ap_load(fractional_powers(problem, 0.3, 0.7))
    busy = np.bincount(problem.link_ap, minlength=problem.num_aps) > 0
    np.testing.assert_allclose(load[busy], 2.0)


@pytest.mark.parametrize("targets", [0, 1])
def test_networks_without_rows_are_allocated(targets):
    allocated = LargeAllocator()(network(40, 30, targets, 12))
    assert np.isfinite(allocated.power).all()
    assert len(allocated.sir) == targets
    assert not allocated.missed.any()


def test_more_fairness_approaches_the_certified_max_min_optimum():
    exact, net = dense("16x16x4", sir_min_db=-6.0)
    best = allocate(exact, BatchedOptimal(gap=1e-3))
    problem = large_problem(net, None, WHOLE)
    ratio = []
    for fairness, steps in ((1.0, 40), (2.0, 40), (8.0, 200)):
        power = torch.as_tensor(fair_powers(problem, fairness, steps))[None]
        assert float(exact.violations(power).worst) < 1e-9
        ratio.append(float(exact.objective(power) / best.value))
    assert ratio[0] < ratio[1] < ratio[2] <= 1.0
    assert ratio[2] > 0.85


def test_four_steps_reach_the_rates_of_many():
    net = network(400, 400, 20, 21)
    problem = large_problem(net, Shadowing(4.0, 21))
    power = {steps: fair_powers(problem, 3.0, steps) for steps in (4, 120)}
    rate = {steps: np.percentile(np.log2(1.0 + problem.sinr(found)), 5) for steps, found in power.items()}
    assert rate[4] > 0.96 * rate[120]
    assert (problem.ap_load(power[4]) <= problem.budget * (1.0 + 1e-12)).all()


@pytest.mark.parametrize("pace", [_FEW, _MANY])
def test_the_start_gives_every_ue_of_an_ap_the_same_within_the_budget(pace):
    problem = large_problem(network(30, 40, 9, 22))
    power, comm = _equal_start(problem, pace), problem.num_comm_links
    assert (problem.ap_load(power) <= problem.budget * (1.0 + 1e-12)).all()
    for ap in range(problem.num_aps):
        served, sensed = (power[part][problem.link_ap[part] == ap] for part in (slice(comm), slice(comm, None)))
        assert np.ptp(served) < 1e-12 if len(served) else True
        asked = pace.ue_share * bool(len(served)) + pace.target_share * len(sensed)
        assert served.sum() + sensed.sum() == pytest.approx(problem.budget[ap] * min(asked, 1.0))


def test_what_cannot_be_a_large_network_is_refused_in_one_line():
    net = network(40, 30, 4, 13)
    gains = np.full((30, 30), 1e-9)
    cases = [
        (dataclasses.replace(net, pilot_symbols=1001), None, "pilots"),
        (
            dataclasses.replace(net, ue_gain=gains, ue_azimuth=gains, ue_elevation=gains, ue_position=None),
            None,
            "ue_position",
        ),
        (net, Settings(ue_radius=50.0), "enlarge ue_radius"),
        (dataclasses.replace(net, serving_ap=np.tile(np.arange(4), (30, 1))), Settings(ue_radius=400.0), "beyond"),
        (dataclasses.replace(net, ue_position=np.full((30, 3), np.nan)), None, "ue_position"),
    ]
    for bad, settings, message in cases:
        with pytest.raises(DropError, match=message) as caught:
            large_problem(bad, None, settings)
        assert "\n" not in str(caught.value)
    hostile: tuple[dict[str, float], ...] = ({"ue_radius": 0.0}, {"target_radius": math.nan}, {"ue_reach": 2})
    for one in hostile:
        with pytest.raises(DropError, match=next(iter(one))):
            Settings(**one)
    for wrong in ({"fairness": 0.5}, {"steps": 0}):
        with pytest.raises(AllocationError, match=next(iter(wrong))):
            LargeAllocator(**wrong)


@pytest.mark.parametrize("seed", range(8))
def test_strange_networks_end_in_finite_powers_within_budgets(seed):
    generator = np.random.default_rng(seed)
    aps, ues, targets = generator.integers(1, 9), generator.integers(1, 12), generator.integers(0, 5)

    def spots(count):
        # Coincident, collinear or scattered; also on top of the APs.
        return generator.choice([0.0, 1.0, 50.0, 400.0]) * generator.uniform(0, 1, (count, 3))

    net = Snapshot(
        tx_position=spots(aps),
        tx_orientation=generator.uniform(-9, 9, aps),
        rx_position=spots(max(1, targets // 2)),
        ue_position=spots(ues),
        target_position=spots(targets),
        pilot_symbols=int(generator.integers(1, 4)),
        num_antennas=int(generator.integers(1, 6)),
        ap_power=10.0 ** generator.uniform(-3, 3, aps),
        pilot_power=10.0 ** generator.uniform(-6, 0, ues),
        sir_min_db=float(generator.uniform(-20, 20)),
        echo_gain=str(generator.choice(["radar", "product"])),
    )
    assert net.ap_power is not None
    for steps in (4, 15):
        allocated = LargeAllocator(steps=steps)(net, Shadowing(4.0, seed))
        assert np.isfinite(allocated.power).all()
        assert (np.bincount(allocated.link_ap, allocated.power, aps) <= net.ap_power * (1 + 1e-12)).all()
        assert np.isfinite(allocated.sinr).all()
        assert not np.isnan(allocated.sir).any()


def test_crowds_that_would_not_fit_are_refused():
    crowd = np.zeros((4000, 2))
    with pytest.raises(DropError, match="make the radius smaller"):
        CellGrid.over(crowd, 1000.0, 10).near_pairs(crowd, crowd)


def test_given_sets_and_pilots_are_kept():
    net = network(40, 30, 4, 14)
    settings = Settings(ue_radius=5000.0, target_radius=5000.0, ue_reach=4, target_reach=4)
    serving = np.stack([np.roll(np.arange(30), k)[:2] for k in range(30)])
    given = dataclasses.replace(net, serving_ap=serving, pilot=np.arange(30) % 32, listening_ap=np.zeros((4, 1), int))
    problem = large_problem(given, None, settings)
    assert (problem.link_ap[:60] == serving.ravel()).all()
    assert np.isfinite(fair_powers(problem, steps=5)).all()


def test_nothing_here_needs_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import isac_torch.large.allocator\n"
        "assert not any(name.startswith('torch.') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.slow
def test_ten_thousand_aps():
    net = network(10_000, 10_000, 500, 900_010)
    allocated = LargeAllocator()(net, Shadowing(4.0, 1))
    assert np.bincount(allocated.link_ap, allocated.power).max() <= 2.0 * (1 + 1e-12)
    assert allocated.path == "fair"
    assert allocated.missed.mean() < 0.2  # most rows are certain at -5 dB; all but a few are met, see docs/scalability.md
    assert np.percentile(np.log2(1 + allocated.sinr), 5) > 0.25


def test_drawn_networks_fill_their_area_and_all_azimuths():
    """Uniform laws: the ends of each range are come near to, and never passed."""
    size = {"num_aps": 900, "num_ues": 500, "num_targets": 500, "num_receive_aps": 1}
    scenario = TrackingScenario(**size, pilot_length=32, coherence_length=200)
    drawn = sample_network(scenario, 5)
    assert drawn.ue_position is not None
    heights = (scenario.target_height_min, scenario.target_height_max)
    for value, low, high in (
        (drawn.tx_orientation, 0.0, 2.0 * math.pi),
        (drawn.tx_position[:, :2], 0.0, scenario.side),
        (drawn.ue_position[:, :2], 0.0, scenario.side),
        (drawn.target_position[:, 2], *heights),
    ):
        assert low <= value.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < value.max() <= high
        assert value.mean() == pytest.approx(0.5 * (low + high), rel=0.1)
    assert set(drawn.ue_position[:, 2]) == {scenario.ue_height}
