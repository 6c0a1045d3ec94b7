"""Positions estimated from simulated echoes: against the bound, against what only differences of arrival can tell."""

import pytest
import torch

from isac_torch.allocation import equal_split
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.echoes import flat_waveform, path_lengths, simulate_echoes
from isac_torch.downlink_pilots.estimators import maximum_likelihood, tdoa
from isac_torch.downlink_pilots.localisation import echo_snr
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import ScenarioError
from isac_torch.units import SPEED_OF_LIGHT

SCENARIO = DownlinkPilotScenario(num_aps=4, num_ues=1)
TRIALS = 600


def heard(generator, bound=1e-3):
    """TRIALS noisy copies of one road at powers (W) whose localisation bound is `bound` m2."""
    drop = SCENARIO.sample(1, generator=generator).select(torch.zeros(TRIALS, dtype=torch.long))
    problem = power_problem(drop, SCENARIO)
    power = equal_split(problem) * problem.crb(equal_split(problem)) / bound
    waveform = flat_waveform(SCENARIO, 128)
    return drop, power, waveform, simulate_echoes(drop, SCENARIO, power, waveform, generator)


def tdoa_bound(drop, power):
    """CRB (m2) of the first road's position with an unknown clock per transmitter."""
    snr = (echo_snr(drop, SCENARIO) * power[:, None, :, None])[0, 0]
    vector = drop.ue_position[0, 0] - drop.ap_position[0]
    unit = vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    information = torch.zeros(2, 2, dtype=torch.float64)
    for sender in range(4):  # only the receivers' directions differ between a transmitter's paths
        away = unit - (snr[sender, :, None] * unit).sum(0) / snr[sender].sum()
        for receiver in range(4):
            information += snr[sender, receiver] * torch.outer(away[receiver], away[receiver])
    information *= 8.0 * torch.pi**2 * SCENARIO.rms_bandwidth**2 / SPEED_OF_LIGHT**2
    return float(torch.linalg.inv(information).trace())


def squared(position, drop):
    return float((position - drop.ue_position).square().sum(-1).mean())


def test_waveform_has_the_stated_bandwidth_and_energy():
    waveform = flat_waveform(SCENARIO, 64)
    assert float((waveform.spectrum.square() * waveform.frequency.square()).sum().sqrt()) == pytest.approx(20e6)
    assert float(waveform.spectrum.square().sum()) == pytest.approx(1.0)
    with pytest.raises(ScenarioError, match="bins=2"):
        flat_waveform(SCENARIO, 2)


def test_energy_and_delay_of_an_echo(generator):
    """The matched filter at the true delay collects the SNR of every path; longer paths turn the phase faster."""
    drop, power, waveform, echo = heard(generator, bound=1e-6)
    length = path_lengths(drop.ue_position, drop.ap_position.unsqueeze(1))
    turned = torch.polar(waveform.spectrum, 2.0 * torch.pi * waveform.frequency * length.unsqueeze(-1) / SPEED_OF_LIGHT)
    energy = (echo * turned).sum(-1).abs().square()
    torch.testing.assert_close(energy, echo_snr(drop, SCENARIO) * power[:, None, :, None], rtol=0.05, atol=0)


def test_both_estimators_reach_their_bounds(generator):
    """Mean squared error of ML within 10 % of the CRB at high SNR, of TDOA of the CRB with an unknown clock per transmitter."""
    drop, power, waveform, echo = heard(generator)
    problem = power_problem(drop, SCENARIO)
    area = drop.ap_position
    assert squared(maximum_likelihood(echo, area, SCENARIO, waveform), drop) == pytest.approx(1e-3, rel=0.10)
    assert float(problem.crb(power)[0, 0]) == pytest.approx(1e-3)
    bound = tdoa_bound(drop, power)
    assert bound > 1e-3
    assert squared(tdoa(echo, area, SCENARIO, waveform), drop) == pytest.approx(bound, rel=0.15)


@pytest.mark.parametrize("seed", [1, 2, 8, 18])
def test_differences_lead_to_the_vehicle_wherever_it_is(seed):
    """Roads at whose ends differences tell little across one direction: 100 times the CRB, and a search that starts far off."""
    drop, power, waveform, echo = heard(torch.Generator().manual_seed(seed), bound=1e-5)
    few = torch.arange(100)
    found = tdoa(echo[few], drop.ap_position[few], SCENARIO, waveform)
    assert squared(found, drop.select(few)) < 2.0 * tdoa_bound(drop, power)


def test_a_clock_offset_hurts_the_one_that_believes_clocks(generator):
    drop, _, waveform, echo = heard(generator)
    late = torch.polar(torch.ones_like(waveform.frequency), -2.0 * torch.pi * waveform.frequency * 20e-9)  # 6 m
    few = torch.arange(20)
    drop, echo = drop.select(few), echo[few] * late
    assert squared(tdoa(echo, drop.ap_position, SCENARIO, waveform), drop) < 0.02
    assert squared(maximum_likelihood(echo, drop.ap_position, SCENARIO, waveform), drop) > 0.5
