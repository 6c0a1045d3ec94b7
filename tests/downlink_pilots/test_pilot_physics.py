"""The downlink-pilot system's drops, estimation errors and rates against loops, simulation and laws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from isac_torch.allocation import equal_split
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.channel import channel_statistics
from isac_torch.downlink_pilots.communication import blind_nmse, downlink_rate, printed_nmse
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ProblemError, ScenarioError
from isac_torch.propagation.path_loss import three_slope_gain
from tests.oracles import pilot_chain, pilot_world

EXACT = 1e-10


def random_power(problem, generator):
    share = torch.rand(problem.num_drops, problem.num_ues, problem.num_aps, generator=generator, dtype=torch.float64)
    return (share / share.sum(1, keepdim=True) * problem.budget.unsqueeze(1)).flatten(1)


def permute(problem, ues, aps):
    """The same problem with UEs and APs renumbered."""
    changes = {}
    for name in ("gain", "estimate", "fisher_xx", "fisher_yy", "fisher_xy"):
        changes[name] = getattr(problem, name)[:, ues][:, :, aps]
    for name in ("gram_real", "gram_imag", "same_pilot"):
        changes[name] = getattr(problem, name)[:, ues][:, :, ues]
    changes |= {"crb_max": problem.crb_max[:, ues], "weight": problem.weight[:, ues], "budget": problem.budget[:, aps]}
    changes["link_gain"] = problem.per_ue(problem.link_gain)[:, ues][:, :, aps].flatten(1)
    return replace(problem, **changes)


@pytest.mark.parametrize("metres", [3.0, 10.0, 10.5, 49.9, 50.0, 51.0, 400.0])
def test_three_slopes(metres):
    got = three_slope_gain(torch.tensor(metres, dtype=torch.float64), 2.4e9, 10.0, 1.65)
    assert float(got) == pytest.approx(pilot_world.three_slope(metres, 2.4e9, 10.0, 1.65), rel=EXACT)


def test_drop_lies_on_the_road_and_repeats(generator):
    scenario = DownlinkPilotScenario(num_ues=3, num_aps=7, shadowing_db=8.0)
    drop = scenario.sample(50, generator=generator)
    assert drop.ap_position.shape == (50, 7, 2)
    assert set(drop.ap_position[..., 1].unique().tolist()) == {0.0, 100.0}
    assert ((drop.ue_position[..., 1] >= 20) & (drop.ue_position[..., 1] <= 80)).all()
    again = scenario.sample(50, generator=torch.Generator().manual_seed(generator.initial_seed()))
    assert_close(drop.gain, again.gain, rtol=0, atol=0)
    # Shadowing beyond 50 m only.
    plain = replace(scenario, shadowing_db=0.0).sample(50, generator=torch.Generator().manual_seed(generator.initial_seed()))
    distance = torch.linalg.vector_norm(drop.ue_position[:, :, None] - drop.ap_position[:, None], dim=-1)
    assert_close(drop.gain[distance <= 50], plain.gain[distance <= 50])
    assert (drop.gain != plain.gain)[distance > 50].all()


@pytest.mark.parametrize(("ues", "uplink"), [(2, 10), (6, 10), (6, 4)])
def test_estimates_against_loops(ues, uplink, generator):
    scenario = DownlinkPilotScenario(num_ues=ues, uplink_symbols=uplink, shadowing_db=8.0)
    drop = scenario.sample(2, generator=generator)
    got = channel_statistics(drop, scenario)
    energy = uplink * scenario.pilot_power / scenario.noise_power
    for d in range(2):
        want = pilot_world.estimate_gain(drop.gain[d].numpy(), drop.pilot[d].numpy(), energy)
        assert_close(got.estimate[d], torch.as_tensor(want), rtol=EXACT, atol=0)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_nmse_against_loops(correlation, generator):
    scenario = DownlinkPilotScenario(num_ues=4, downlink_correlation=correlation, receiver="projection")
    drop = scenario.sample(3, generator=generator)
    problem = power_problem(drop, scenario)
    power = random_power(problem, generator)
    energy = scenario.downlink_symbols * scenario.pilot_power / scenario.noise_power
    statistics = channel_statistics(drop, scenario)
    for d in range(3):
        want = pilot_world.orthogonal_nmse(
            drop.gain[d].numpy(),
            statistics.estimate[d].numpy(),
            problem.per_ue(power)[d].numpy() / scenario.pilot_power,
            drop.gram_real[d].numpy(),
            energy,
        )
        # The loop subtracts nearly equal numbers, up to 1e5 times its result.
        assert_close(problem.nmse(power)[d], torch.as_tensor(want), rtol=1e-9, atol=0)


def weak(ues, aps, seed):
    """Gains of a network in which neither noise nor contamination nor shared pilots can be neglected."""
    rng = np.random.default_rng(seed)
    beta = np.exp(rng.normal(0.0, 0.7, (ues, aps)))
    share = rng.random((ues, aps))
    return beta, share / share.sum(0)


CASES = {
    "orthogonal": ([0, 1, 2], np.eye(3)),
    "correlated": ([0, 1, 2], np.full((3, 3), 0.6) + 0.4 * np.eye(3)),
    "complex": ([0, 1, 2], np.array([[1, 0.5j, 0.2], [-0.5j, 1, -0.3], [0.2, -0.3, 1]])),
    "shared_downlink": ([0, 1, 2], np.array([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])),
    "shared_uplink": ([0, 1, 0], np.eye(3)),
    "shared_uplink_complex": ([0, 0, 1], np.array([[1, 0.5j, 0.2], [-0.5j, 1, -0.3], [0.2, -0.3, 1]])),
    "all_shared": ([0, 0, 0], np.ones((3, 3))),
}


@pytest.mark.parametrize("receiver", ["lmmse", "projection", "ignorant"])
@pytest.mark.parametrize("case", CASES)
def test_nmse_against_simulated_pilots(case, receiver):
    """Uplink pilots, estimates, beams, downlink pilots and the UE's estimator, drawn 60,000 times: 2 %."""
    pilots, gram = CASES[case]
    beta, share = weak(3, 4, seed=3)
    pilot = np.array(pilots)
    uplink_energy, downlink_energy = 2.0, 5.0
    simulated = pilot_chain.simulated_nmse(
        beta, share, pilot, gram.astype(complex), uplink_energy, downlink_energy, 60_000, seed=11, receiver=receiver
    )
    gamma = pilot_world.estimate_gain(beta, pilot, uplink_energy)
    problem = replace(given_gains(beta, gamma, gram, pilot, downlink_energy), receiver=receiver)
    assert_close(problem.nmse(torch.as_tensor(share).reshape(1, -1))[0], torch.as_tensor(simulated), rtol=0.02, atol=0)


@pytest.mark.parametrize("uplink", [6, 3], ids=["orthogonal", "shared uplink"])
@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_receivers_in_order(correlation, uplink, generator):
    """The whole pilot tells no less than the own correlation, which tells no less than with the wrong weight."""
    scenario = DownlinkPilotScenario(num_ues=4, downlink_correlation=correlation, uplink_symbols=uplink)
    problem = power_problem(scenario.sample(5, generator=generator), scenario)
    power = random_power(problem, generator)
    whole, own, wrong = (replace(problem, receiver=name).nmse(power) for name in ("lmmse", "projection", "ignorant"))
    assert (whole <= own * (1 + 1e-9)).all()
    assert (own <= wrong * (1 + 1e-9)).all()
    if correlation == 0 and uplink == 6:
        assert_close(whole, wrong, rtol=1e-12, atol=0)
    if correlation == 0.3:
        assert (whole < 0.5 * own).all()


def given_gains(beta, gamma, gram, pilot, energy):
    """A problem of one drop from plain arrays; localisation plays no part."""
    generator = torch.Generator().manual_seed(0)
    aps, ues = beta.shape[1], beta.shape[0]
    scenario = DownlinkPilotScenario(num_ues=ues, num_aps=aps, crb_max=1e12)
    problem = power_problem(scenario.sample(1, generator=generator), scenario)
    gram = torch.as_tensor(gram.astype(complex))[None]
    pilot = torch.as_tensor(pilot)
    return replace(
        problem,
        gain=energy * torch.as_tensor(beta)[None],
        estimate=energy * torch.as_tensor(gamma)[None],
        gram_real=gram.real.contiguous(),
        gram_imag=gram.imag.contiguous(),
        same_pilot=(pilot[:, None] == pilot[None, :]).double()[None],
        budget=torch.ones(1, aps, dtype=torch.float64),
    )


def test_printed_error_is_right_only_without_contamination(generator):
    scenario = DownlinkPilotScenario(num_ues=6)
    for correlation, factor in ((0.0, 1.0), (0.6, 10.0)):
        changed = replace(scenario, downlink_correlation=correlation, receiver="projection")
        problem = power_problem(changed.sample(20, generator=generator), changed)
        power = equal_split(problem)
        ratio = problem.nmse(power) / printed_nmse(problem, power)
        if correlation == 0:
            assert_close(ratio, torch.ones_like(ratio), rtol=EXACT, atol=0)
        else:
            assert ratio.mean() > factor  # it says that contamination helps


def test_pilots_help_more_than_an_order_of_magnitude(generator):
    scenario = DownlinkPilotScenario()
    drop = scenario.sample(100, generator=generator)
    problem = power_problem(drop, scenario)
    with_pilots, without = problem.nmse(equal_split(problem)), blind_nmse(drop, scenario)
    assert ((without / with_pilots) > 30).all()
    assert (downlink_rate(with_pilots, scenario) > downlink_rate(without, scenario)).all()
    assert_close(downlink_rate(torch.zeros(1, 2), scenario), torch.full((1, 2), 20e6 * np.log2(1 + 4 * 10 / 11)))


@pytest.mark.parametrize("receiver", ["lmmse", "projection", "ignorant"])
@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_laws(correlation, receiver, generator):
    scenario = DownlinkPilotScenario(num_ues=4, uplink_symbols=3, downlink_correlation=correlation, receiver=receiver)
    drop = scenario.sample(5, generator=generator)
    problem = power_problem(drop, scenario)
    problem.check()
    power = random_power(problem, generator)
    ues, aps = torch.randperm(4, generator=generator), torch.randperm(8, generator=generator)
    moved = permute(problem, ues, aps)
    moved_power = problem.per_ue(power)[:, ues][:, :, aps].flatten(1)
    assert_close(moved.nmse(moved_power), problem.nmse(power)[:, ues], rtol=1e-9, atol=0)
    assert_close(moved.crb(moved_power), problem.crb(power)[:, ues], rtol=1e-9, atol=0)
    assert_close(moved.objective(moved_power), problem.objective(power), rtol=1e-9, atol=0)
    # Ten times the power in ten times the noise changes nothing, once the uplink says so too.
    louder = replace(scenario, pilot_power=10 * scenario.pilot_power, noise_density_dbm_hz=scenario.noise_density_dbm_hz + 10)
    loud = power_problem(drop, louder)
    assert_close(loud.nmse(10 * power), problem.nmse(power), rtol=1e-9, atol=0)
    assert_close(loud.crb(10 * power), problem.crb(power), rtol=1e-9, atol=0)
    # No power: nothing is known, nobody is found.
    zero = torch.zeros_like(power)
    assert_close(problem.nmse(zero), torch.ones(5, 4, dtype=torch.float64))
    assert problem.crb(zero).isinf().all()
    assert (problem.violations(zero).sensing == 1).all()
    # Localisation bounds fall as one over power.
    assert_close(problem.crb(0.5 * power), 2 * problem.crb(power), rtol=1e-9, atol=0)


@pytest.mark.parametrize("receiver", ["lmmse", "projection", "ignorant"])
def test_gradients_and_single_precision(receiver, generator):
    scenario = DownlinkPilotScenario(num_ues=3, uplink_symbols=2, downlink_correlation=0.3, receiver=receiver)
    problem = power_problem(scenario.sample(2, generator=generator), scenario)
    power = random_power(problem, generator).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: (problem.nmse(p).log(), problem.crb(p).log()), power, eps=1e-7, rtol=1e-4)
    single = problem.cast(torch.float32)
    # Sums of a few dozen products: some hundred units in the last place.
    assert_close(single.nmse(power.float()).double(), problem.nmse(power), rtol=1e-4, atol=0)
    assert_close(single.crb(power.float()).double(), problem.crb(power), rtol=1e-4, atol=0)


def test_impossible_coefficients_are_named(generator):
    scenario = DownlinkPilotScenario()
    problem = power_problem(scenario.sample(1, generator=generator), scenario)
    with pytest.raises(ProblemError, match="estimate exceeds gain"):
        replace(problem, estimate=2 * problem.gain).check()
    with pytest.raises(ProblemError, match="gain holds a value that is not finite"):
        replace(problem, gain=problem.gain * torch.nan).check()
    with pytest.raises(ProblemError, match="weight holds 0"):
        replace(problem, weight=0 * problem.weight).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_aps": 1}, "num_aps=1 must be at least 2"),
        ({"downlink_correlation": 1.2}, "amplitude"),
        ({"margin": 50.0}, "below half of width"),
        ({"uplink_symbols": 35}, "leave no data symbol"),
        ({"pilot_power": float("nan")}, "finite"),
        ({"crb_max": 0.0}, "crb_max=0.0 must be positive"),
    ],
)
def test_bad_scenarios_say_why(change, message):
    with pytest.raises(ScenarioError, match=message):
        DownlinkPilotScenario(**change)


def test_size_names():
    assert DownlinkPilotScenario.of_size("8x6", downlink_symbols=14, uplink_symbols=6).name == "8x6_dl14_ul6_crb1"
    assert DownlinkPilotScenario(downlink_correlation=0.5).name == "8x2_dl10_ul10_crb1_r0.5"
    with pytest.raises(ScenarioError, match="8x2"):
        DownlinkPilotScenario.of_size("8")


@settings(max_examples=25, deadline=None)
@given(
    aps=st.integers(2, 12),
    ues=st.integers(1, 8),
    uplink=st.integers(1, 15),
    downlink=st.integers(1, 15),
    correlation=st.floats(0, 1),
)
def test_every_legal_scenario_gives_a_sound_problem(aps, ues, uplink, downlink, correlation):
    scenario = DownlinkPilotScenario(
        num_aps=aps, num_ues=ues, uplink_symbols=uplink, downlink_symbols=downlink, downlink_correlation=correlation
    )
    problem = power_problem(scenario.sample(2, generator=torch.Generator().manual_seed(1)), scenario)
    problem.check()
    nmse = problem.nmse(equal_split(problem))
    assert ((nmse > 0) & (nmse < 1)).all()
