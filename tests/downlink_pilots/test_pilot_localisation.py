"""The localisation bound against loops, the likelihood's own curvature, and the error of a maximum-likelihood estimator."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import equal_split
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.localisation import echo_snr
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.units import SPEED_OF_LIGHT
from tests.oracles import pilot_chain, pilot_world


def test_bound_against_loops(generator):
    scenario = DownlinkPilotScenario(num_ues=3, num_aps=5)
    drop = scenario.sample(2, generator=generator)
    problem = power_problem(drop, scenario)
    power = equal_split(problem) * torch.rand(2, 15, generator=generator, dtype=torch.float64)
    got = problem.crb(power)
    for d in range(2):
        for k in range(3):
            want = pilot_world.crb(
                drop.ap_position[d].numpy(),
                drop.ue_position[d, k].numpy(),
                scenario.downlink_symbols * problem.per_ue(power)[d, k].numpy(),
                SPEED_OF_LIGHT / scenario.carrier_frequency,
                scenario.noise_power,
                scenario.cross_section,
                scenario.rms_bandwidth,
            )
            assert float(got[d, k]) == pytest.approx(want, rel=1e-10)


def waveform(scenario):
    """Frequencies (Hz) and unit-energy spectrum of a pilot whose rms bandwidth the scenario is then told."""
    frequency = np.linspace(-0.5, 0.5, 33) * scenario.bandwidth
    spectrum = 1.0 + 0.5 * np.cos(3 * np.pi * frequency / scenario.bandwidth)
    spectrum /= np.sqrt((spectrum**2).sum())
    return frequency, spectrum, float(np.sqrt((spectrum**2 * frequency**2).sum()))


def test_bound_against_the_curvature_of_the_likelihood(generator):
    """Hessian of the expected log-likelihood in position and all complex amplitudes, then the position block of its inverse."""
    scenario = DownlinkPilotScenario(num_aps=3, num_ues=1, width=120.0)
    frequency, spectrum, rms = waveform(scenario)
    scenario = replace(scenario, rms_bandwidth=rms)
    drop = scenario.sample(1, generator=generator)
    problem = power_problem(drop, scenario)
    power = equal_split(problem)
    amplitude = (echo_snr(drop, scenario)[0, 0] * power[0, :, None]).sqrt().flatten()
    ap, f, shape = drop.ap_position[0], torch.as_tensor(frequency), torch.as_tensor(spectrum)
    truth = torch.cat([drop.ue_position[0, 0], torch.ones(9), torch.zeros(9)]).double()

    def echoes(theta):
        reach = torch.linalg.vector_norm(theta[:2] - ap, dim=-1)
        delay = ((reach[:, None] + reach[None, :]) / SPEED_OF_LIGHT).flatten()
        phase = -2 * math.pi * f * delay[:, None]
        wave = shape * torch.polar(torch.ones_like(phase), phase)
        return torch.complex(amplitude * theta[2:11], amplitude * theta[11:])[:, None] * wave

    observed = echoes(truth).detach()

    def log_likelihood(theta):
        return -torch.view_as_real(observed - echoes(theta)).square().sum()  # smooth at zero, where abs() is not

    information = -torch.autograd.functional.hessian(log_likelihood, truth)
    bound = torch.linalg.inv(information)[:2, :2].trace()
    assert float(problem.crb(power)) == pytest.approx(float(bound), rel=1e-6)


def test_maximum_likelihood_reaches_the_bound(generator):
    """Mean squared error of the estimator over 1500 simulated echoes is within 10 % of the bound (3 % standard error)."""
    scenario = DownlinkPilotScenario(num_aps=4, num_ues=1)
    frequency, spectrum, rms = waveform(scenario)
    scenario = replace(scenario, rms_bandwidth=rms)
    drop = scenario.sample(1, generator=generator)
    problem = power_problem(drop, scenario)
    power = equal_split(problem)
    power = power * problem.crb(power) / 0.02  # high SNR: a bound of (14 cm)^2
    snr = echo_snr(drop, scenario)[0, 0] * power[0, :, None]
    squared = pilot_chain.located(
        drop.ap_position[0].numpy(),
        drop.ue_position[0, 0].numpy(),
        snr.numpy(),
        spectrum,
        frequency,
        trials=1500,
        seed=5,
    )
    assert squared.mean() == pytest.approx(float(problem.crb(power)), rel=0.10)


def test_position_error_needs_two_directions(generator):
    """With one AP's echo heard by itself only, the bearing is unknown: no bound, full violation."""
    scenario = DownlinkPilotScenario(num_aps=2, num_ues=1)
    drop = scenario.sample(3, generator=generator)
    problem = power_problem(drop, scenario)
    lone = replace(problem, fisher_xx=problem.fisher_xx * 0, fisher_xy=problem.fisher_xy * 0)
    assert lone.crb(equal_split(problem)).isinf().all()
    assert_close(lone.violations(equal_split(problem)).sensing, torch.ones(3, dtype=torch.float64))
