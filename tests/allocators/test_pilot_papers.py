"""The downlink-pilot paper's algorithm, and the exact cone of localisation beside the printed condition."""

import numpy as np
import torch
from torch.testing import assert_close

from isac_torch.allocation import allocate, equal_split
from isac_torch.allocators.downlink_pilots.classical import PaperSca
from isac_torch.downlink_pilots.communication import printed_nmse
from isac_torch.solvers.downlink_pilots.model import drop_arrays
from isac_torch.solvers.downlink_pilots.paper import sequential_taylor
from tests.allocators.pilot_drops import drops, first, random_power


def sufficient_condition(drop, share):
    """Whether shares [ue, ap] satisfy the paper's condition (30) for every UE."""
    for k in range(drop.num_ues):
        xx, yy, xy = drop.information[:, k]
        reached = xx * (yy @ share[k]) - xy * (xy @ share[k])
        if (reached < drop.quality[k] / 2.0 * (xx + yy)).any():
            return False
    return True


def test_localisation_cone_is_exact_and_the_printed_condition_is_not():
    """Random powers: the cone says what tr J^-1 <= Gamma says, the printed condition never more, and often less."""
    generator = torch.Generator().manual_seed(6)
    problem = drops(num_drops=1, crb_max=1.5)
    drop = drop_arrays(problem)
    exact = printed = 0
    for _ in range(400):
        power = random_power(problem, generator) * torch.rand(1, 16, generator=generator, dtype=torch.float64)
        share = drop.share(power)
        xx, yy, xy = np.einsum("ckm,km->ck", drop.information, share)
        cone = (np.sqrt((xx - yy) ** 2 + 4 * xy**2 + drop.quality**2) <= xx + yy - drop.quality).all()
        truth = bool((problem.crb(power) <= problem.crb_max).all())
        assert cone == truth
        exact += truth
        if sufficient_condition(drop, share):
            assert truth
            printed += 1
    assert 0 < printed < exact


def test_paper_is_a_bisection_and_falls_back_to_full_power():
    problem = drops(num_drops=4)
    printed, reopened = allocate(problem, PaperSca()), allocate(problem, PaperSca(reset=True))
    full = problem.objective(equal_split(problem))
    assert (printed.violation <= 1e-6).all()
    assert (reopened.value >= printed.value * (1 - 1e-9)).all()
    assert (printed.value > full).any()
    # Idle passes: brackets are never reset.
    steps: list[torch.Tensor] = []
    sequential_taylor(first(problem), steps=steps)
    assert all(bool((step == steps[1]).all()) for step in steps[2:])
    hopeless = drops(num_drops=1, crb_max=0.05)
    assert_close(allocate(hopeless, PaperSca()).power, equal_split(hopeless), rtol=0, atol=0)


def test_paper_judges_by_its_printed_error():
    """With correlated pilots the printed NMSE of its answer is small, the true one is not."""
    problem = drops(num_drops=3, num_ues=6, downlink_correlation=0.6, crb_max=3.0)
    allocation = allocate(problem, PaperSca())
    assert (problem.nmse(allocation.power).amax(-1) > 5 * printed_nmse(problem, allocation.power).amax(-1)).all()


def test_paper_through_cvxpy():
    """One feasibility programme of Algorithm 1, written again for CVXPY: the same interior point, the same verdict."""
    import cvxpy as cp

    from isac_torch.solvers.downlink_pilots.paper import _Taylor

    problem = drops(num_drops=1)
    algorithm, drop = _Taylor(problem), drop_arrays(problem)
    around = np.full((2, 8), 0.5)
    level = float((problem.nmse(equal_split(problem))).amax())
    for factor, expected in ((0.8, True), (0.01, False)):
        got = algorithm.feasible(factor * level, around)
        share = cp.Variable((2, 8), nonneg=True)
        t, gain, amplitude = factor * level, drop.gain, drop.root * np.sqrt(drop.scale)[:, None]
        constraints = [cp.sum(share, axis=0) <= 1]
        for k in range(2):
            f, mean = (gain[k] * around[k]).sum(), (amplitude[k] * np.sqrt(around[k])).sum()
            w, z = 1 + f, mean**2 + f
            slope = t * (z * gain[k] + w * (amplitude[k] / np.sqrt(around[k]) * mean + gain[k])) - gain[k]
            constraints.append((t * w * z - f + slope @ (share[k] - around[k])) / np.abs(slope).max() >= 0)
            ra, rb, rc = drop.information[:, k]
            ratio = (np.outer(ra, rb) - np.outer(rc, rc)) / (ra + rb)[:, None]
            constraints.append(ratio @ share[k] >= drop.quality[k] / 2)
        programme = cp.Problem(cp.Maximize(0), constraints)
        programme.solve(solver=cp.CLARABEL)
        assert (programme.status == "optimal") == expected == (got is not None)
        if got is not None:
            np.testing.assert_allclose(got, share.value, atol=0.05)
