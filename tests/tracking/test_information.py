"""Position information and scan constraints against drawn coherence blocks: likelihood, estimator, echoes."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from isac_torch.allocation import equal_split
from isac_torch.propagation.arrays import steering
from isac_torch.propagation.geometry import angles
from isac_torch.sensing.clutter import temporal_covariance
from isac_torch.sensing.echoes import echo_scene, sample_reflectivity
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess
from isac_torch.sensing.signals import draw_blocks, transmitted
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.channel import channel_statistics
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scan import scan_grid
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup

SCENARIO = TrackingScenario.of_size("8x6x3", listening_aps=2, requirement=Requirement("dominate", blocks=1))


@dataclass(frozen=True)
class Heard:
    """One target's echo in some blocks at one receive AP: the sequences after the filter, and the reflectivities."""

    drop: TrackingDrop
    receiver: int
    white: Tensor  # block time ap antenna
    reflectivity: Tensor  # block ap, over sqrt of the noise

    def columns(self, position: Tensor) -> Tensor:
        """Echo columns [block, time x element, ap] of a target at `position` (m)."""
        out = angles(self.drop.tx_position, self.drop.tx_orientation, position[None, None])
        back = angles(self.drop.rx_position, self.drop.rx_orientation, position[None, None])
        towards = steering(out[0][0, :, 0], out[1][0, :, 0], 4)
        element = steering(back[0][0, self.receiver, 0], back[1][0, self.receiver, 0], 4)
        sent = (towards.conj()[None, None] * self.white).sum(-1)
        return (sent[:, :, None] * element[None, None, :, None]).flatten(1, 2)

    def echo(self, position: Tensor) -> Tensor:
        return (self.columns(position) @ self.reflectivity[..., None])[..., 0]

    def log_likelihood(self, position: Tensor, observed: Tensor) -> Tensor:
        """That of the most likely reflectivities: minus the energy outside the span of the columns."""
        columns = self.columns(position)
        inside = columns.mH @ observed[..., None]
        found = torch.linalg.solve(columns.mH @ columns, inside)
        return ((inside.conj() * found).real.sum() - observed.abs().square().sum()).real

    def information(self, position: Tensor) -> Tensor:
        """2 Re of the squared derivative of the echo beside the span of the columns, by blocks; central differences."""
        steps = 1e-3 * torch.eye(3, dtype=torch.float64)
        slope = torch.stack([(self.echo(position + e) - self.echo(position - e)) / 2e-3 for e in steps], -1)
        basis = torch.linalg.qr(self.columns(position))[0]
        beside = slope - basis @ (basis.mH @ slope)
        return 2.0 * (beside.mH @ beside).real


def _heard(drop: TrackingDrop, scenario: TrackingScenario, power: Tensor, blocks: int, target: int, place: int = 0) -> Heard:
    generator = torch.Generator().manual_seed(3)
    scene = echo_scene(drop, scenario, scenario.sensing)
    drawn = draw_blocks(drop, channel_statistics(drop, scenario), scenario, blocks, 50, generator)
    sent = transmitted(drawn, drop, power)
    receiver = int(drop.listening_ap[0, target, place])
    covariance = temporal_covariance(sent, scene.clutter)[0, :, receiver]
    factor = torch.linalg.cholesky(covariance + torch.eye(50))
    flat = sent[0].transpose(1, 2).flatten(2)
    white = torch.linalg.solve_triangular(factor, flat, upper=False).unflatten(-1, (-1, 4))
    strength = sample_reflectivity(scene, blocks, generator)[0, :, target, place] * scene.scale[0, target, receiver]
    return Heard(drop, receiver, white, strength)


def _one(scenario: TrackingScenario = SCENARIO, seed: int = 4) -> TrackingDrop:
    return scenario.sample(1, generator=torch.Generator().manual_seed(seed))


def test_curvature_of_the_likelihood_is_the_projected_information() -> None:
    """Autograd through the log likelihood without noise: its curvature is the part of the slope beside the columns."""
    drop = _one()
    heard = _heard(drop, SCENARIO, equal_split(power_problem(drop, SCENARIO)), 2, target=1)
    true = drop.target_position[0, 1]
    observed = heard.echo(true)
    curvature = -torch.autograd.functional.hessian(lambda x: heard.log_likelihood(x, observed), true)
    assert_close(curvature, heard.information(true).sum(0), rtol=1e-4, atol=1e-4 * float(curvature.abs().max()))


def test_expected_information_is_the_mean_over_drawn_blocks() -> None:
    """Large-system limits against random overlaps and reflectivities: h within 10 % in the mean and 15 % rms."""
    ratios = []
    for seed in range(4):
        drop = _one(seed=seed)
        problem = power_problem(drop, SCENARIO)
        power = equal_split(problem)
        assert problem.position is not None
        expected = problem.position.information(power)[0]
        for target in range(3):
            prior = torch.diag(problem.position.prior[0, target])
            drawn = sum(
                _heard(drop, SCENARIO, power, 40, target, place).information(drop.target_position[0, target]).mean(0)
                for place in (0, 1)
            )
            inverse = [torch.linalg.inv(matrix)[:2, :2].trace() for matrix in (expected[target], drawn + prior)]
            ratios.append(float(inverse[1] / inverse[0]))
    ratio = torch.tensor(ratios)
    assert abs(float(ratio.mean()) - 1.0) < 0.1
    assert float((ratio - 1.0).square().mean().sqrt()) < 0.15


@pytest.mark.slow
def test_the_most_likely_position_reaches_the_bound_at_high_snr() -> None:
    """Mean squared error of the maximum-likelihood estimator over noise, against the inverse information; within 10 %."""
    scenario = replace(SCENARIO, sensing=SensingSetup(rcs_variance_dbsm=40.0))
    drop = _one(scenario, seed=1)
    heard = _heard(drop, scenario, equal_split(power_problem(drop, scenario)), 4, target=0)
    true = drop.target_position[0, 0]
    information, clean = heard.information(true).sum(0), heard.echo(true)
    generator, errors = torch.Generator().manual_seed(8), []
    for _ in range(600):
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        here = true.clone()
        for _ in range(3):  # Newton steps with the expected curvature
            slope = torch.autograd.functional.jacobian(lambda x, y=clean + noise: heard.log_likelihood(x, y), here)
            here = here + torch.linalg.solve(information, slope)
        errors.append(here - true)
    error = torch.stack(errors)
    covariance = error.mT @ error / len(error)
    # In the axes of the information every squared error is to be one; 600 draws leave 6 % on each.
    root = torch.linalg.cholesky(information)
    assert_close((root.mT @ covariance @ root).diagonal().mean(), torch.tensor(1.0, dtype=torch.float64), rtol=0.1, atol=0.0)


def test_echoes_of_scan_cells_are_those_of_drawn_blocks() -> None:
    """R1 foretells how the echo of a cell changes with the powers: a target is put there, and its test collects the energy."""
    scenario = replace(SCENARIO, num_targets=1, listening_aps=1, angle_error=0.0)
    drop = _one(scenario)
    problem = power_problem(drop, scenario)
    uniform = equal_split(problem)
    more = 0.5 * uniform
    more[:, : problem.num_comm_links] = uniform[:, : problem.num_comm_links]
    cell = problem.num_target_constraints + 5
    foretold = problem.sir(more)[0, cell] / problem.sir(uniform)[0, cell]
    place = scan_grid(scenario, uniform)[5]
    nearest = (drop.rx_position - place).norm(dim=-1).argmin(-1)
    there = replace(drop, target_position=place[None, None], listening_ap=nearest[:, None, None])
    energy = [
        assess(drop, scenario, scenario.sensing, power, Glrt("paper"), num_blocks=60, seed=2, truth=there).quality.signal.mean()
        for power in (more, uniform)
    ]
    assert float(energy[0] / energy[1]) == pytest.approx(float(foretold), rel=0.08)
