"""UEs that only some APs serve: loops in NumPy, laws, brute force, certificates and the deployed allocator."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isac_torch import (
    BatchedMinMaxNmse,
    DownlinkPilotScenario,
    RoadAllocator,
    RoadSnapshot,
    Status,
    allocate,
    cli,
    power_problem,
)
from isac_torch.allocation import equal_split
from isac_torch.allocators.downlink_pilots.classical import FullPower, MinMaxNmse, PaperSca
from isac_torch.allocators.downlink_pilots.frame import best_frame
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotFirstOrder
from isac_torch.deployment.downlink_pilots.merit import powers, start_logits
from isac_torch.deployment.downlink_pilots.newton import improved, located
from isac_torch.deployment.downlink_pilots.statistics import coefficients
from isac_torch.deployment.files import read_snapshots
from isac_torch.downlink_pilots.drop import serving
from isac_torch.errors import DropError, ProblemError, ScenarioError
from tests.oracles import pilot_world
from tests.paths import ROOT

SUBSET = DownlinkPilotScenario(num_ues=3, serving_aps=4, crb_max=2.0)
CORRELATED = replace(SUBSET, downlink_correlation=0.3)
SHARED = replace(SUBSET, uplink_symbols=2)


def drops(scenario, count=3, seed=5):
    return scenario.sample(count, generator=torch.Generator().manual_seed(seed))


def silent(problem, power):
    """Whether links that carry no power have exactly none."""
    return bool((problem.per_ue(power)[problem.serves == 0] == 0.0).all())


def test_the_strongest_aps_serve():
    drop = drops(SUBSET)
    serves = serving(drop, SUBSET)
    assert serves is not None
    for d in range(3):
        for k in range(3):
            assert set(serves[d, k].nonzero()[:, 0].tolist()) == set(drop.gain[d, k].argsort()[-4:].tolist())
    assert serving(drop, replace(SUBSET, serving_aps=None)) is None
    assert SUBSET.name.endswith("_by4")


def test_nmse_and_crb_by_loops_over_the_serving_aps():
    drop = drops(CORRELATED)
    problem = power_problem(drop, CORRELATED)
    power = problem.served(
        torch.rand(3, problem.num_links, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 0.05
    )
    energy = CORRELATED.downlink_symbols / CORRELATED.noise_power
    wavelength = pilot_world.LIGHT / CORRELATED.carrier_frequency
    for d in range(3):
        beta, by_ue = drop.gain[d].numpy(), problem.per_ue(power)[d].numpy()
        uplink = CORRELATED.uplink_symbols * CORRELATED.pilot_power / CORRELATED.noise_power
        gamma = pilot_world.estimate_gain(beta, drop.pilot[d].numpy(), uplink)
        want = pilot_world.orthogonal_nmse(beta, gamma, by_ue, drop.gram_real[d].numpy(), energy)
        got = replace(problem, receiver="projection").nmse(power)[d]
        np.testing.assert_allclose(got, want, rtol=1e-9)
        for k in range(3):
            bound = pilot_world.crb(
                drop.ap_position[d].numpy(),
                drop.ue_position[d, k].numpy(),
                CORRELATED.downlink_symbols * by_ue[k],
                wavelength,
                CORRELATED.noise_power,
                CORRELATED.cross_section,
                CORRELATED.rms_bandwidth,
            )
            assert float(problem.crb(power)[d, k]) == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize("scenario", [SUBSET, CORRELATED, SHARED], ids=["orthogonal", "correlated", "shared"])
def test_all_aps_are_as_before(scenario):
    everyone = replace(scenario, serving_aps=None)
    drop = drops(everyone, 2)
    named = replace(drop, serves=torch.ones_like(drop.gain))
    for allocator in (FullPower(), BatchedMinMaxNmse(max_boxes=0), DownlinkPilotFirstOrder()):
        before, after = (allocate(power_problem(one, everyone), allocator).power for one in (drop, named))
        torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scenario", [SUBSET, CORRELATED], ids=["orthogonal", "correlated"])
def test_batch_and_single_drops_agree_and_certify(scenario):
    problem = power_problem(drops(scenario), scenario)
    batch, single = allocate(problem, BatchedMinMaxNmse(gap=1e-2)), allocate(problem, MinMaxNmse(gap=1e-2))
    torch.testing.assert_close(batch.value, single.value, rtol=1e-4, atol=0.0)
    assert silent(problem, batch.power)
    assert silent(problem, single.power)
    assert float(batch.gap.max()) < 0.05
    free = allocate(replace(power_problem(drops(scenario), replace(scenario, serving_aps=None))), BatchedMinMaxNmse(gap=1e-2))
    assert (batch.value <= free.upper_bound).all()
    assert (batch.value < free.value).any()


def test_no_powers_of_a_grid_are_better():
    """Two UEs, three APs; AP 0 serves UE 0 only, AP 2 serves UE 1 only: AP 1 divides its budget."""
    scenario = DownlinkPilotScenario(num_aps=3, num_ues=2, crb_max=50.0)
    drop = drops(scenario, 1)
    problem = power_problem(replace(drop, serves=torch.tensor([[[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]]).double()), scenario)
    best = allocate(problem, BatchedMinMaxNmse(gap=1e-3))
    assert best.status == Status.OPTIMAL
    part = torch.linspace(0.0, 1.0, 401, dtype=torch.float64)
    one, zero = torch.ones_like(part), torch.zeros_like(part)
    grid = 0.2 * torch.stack([one, part, zero, zero, 1.0 - part, one], 1)
    many = problem.select(torch.zeros(401, dtype=torch.long))
    met = many.violations(grid).worst <= 0.0
    highest = many.objective(grid)[met].max()
    assert float(best.value) >= float(highest) * (1 - 1e-6)
    assert float(highest) >= float(best.value) * (1 - 5e-3)
    assert float(best.upper_bound) >= float(highest)


def test_power_of_a_link_that_carries_none_is_a_violation():
    problem = power_problem(drops(SUBSET), SUBSET)
    assert float(problem.violations(equal_split(problem)).budget.max()) <= 1e-12
    wrong = torch.full((3, problem.num_links), 0.2 / 3, dtype=torch.float64)
    assert float(problem.violations(wrong).budget.min()) == pytest.approx(1 / 3)
    assert problem.serves is not None
    with pytest.raises(ProblemError, match="serves must hold 0 and 1"):
        replace(problem, serves=0.5 * problem.serves).check()


@pytest.mark.parametrize("scenario", [SUBSET, CORRELATED, SHARED], ids=["orthogonal", "correlated", "shared"])
def test_every_allocator_keeps_to_the_subsets(scenario):
    problem = power_problem(drops(scenario, 2), scenario)
    for allocator in (FullPower(), FullPower("estimate"), PaperSca(), DownlinkPilotFirstOrder(), MinMaxNmse(0.1, max_boxes=0)):
        answer = allocate(problem, allocator)
        assert silent(problem, answer.power), allocator.name
        assert bool((answer.status < Status.FAILED).all()), allocator.name


def test_frames():
    scenario = replace(SUBSET, num_ues=2, frame_symbols=10, downlink_symbols=3, uplink_symbols=3)
    drop = drops(scenario, 1)
    plan, free = best_frame(drop, scenario), best_frame(drop, replace(scenario, serving_aps=None))
    assert 0.0 < float(plan.rate) <= float(free.rate) * 1.01
    assert silent(power_problem(drop, scenario), plan.power)


@pytest.mark.parametrize("scenario", [SUBSET, CORRELATED], ids=["orthogonal", "correlated"])
def test_deployed_allocator_by_numpy(scenario):
    drop = drops(scenario)
    problem = power_problem(drop, scenario)
    optimum = allocate(problem, BatchedMinMaxNmse(gap=1e-2))
    allocator = RoadAllocator.load()
    for index in range(3):
        snapshot = RoadSnapshot.from_drop(drop, index, scenario)
        answer, road = allocator(snapshot), coefficients(snapshot)
        power = torch.tensor(answer.power)[None]
        one = problem.select(torch.tensor([index]))
        assert silent(one, power)
        assert float(one.violations(power).worst) <= 1e-6
        np.testing.assert_allclose(answer.nmse, one.nmse(power)[0], rtol=1e-9)
        np.testing.assert_allclose(answer.crb, one.crb(power)[0], rtol=1e-9)
        best = improved(road, located(road, powers(road, start_logits(road))))
        assert road.nmse(road.positive(best)).max() * float(optimum.value[index]) < 1.003


def test_positions_of_ones_own_and_shards(tmp_path, capsys):
    road, shards = tmp_path / "road.json", tmp_path / "val"
    words = ["downlink-pilots", "import-geometry", str(ROOT / "examples/road.csv"), "--output", str(road)]
    assert cli.main([*words, "--serving_aps", "3"]) == 0
    (found,) = read_snapshots(road, kind=RoadSnapshot)
    assert found.serves is not None
    assert found.serves.sum(1).tolist() == [3.0, 3.0, 3.0]
    assert cli.main([*words, "--serving_aps", "9"]) == 2
    assert "serving_aps=9 must lie in 2 to num_aps=8" in capsys.readouterr().err
    size = ["--scenario.serving_aps", "4", "--num_drops", "2", "--shard_size", "2", "--seed", "4"]
    assert cli.main(["downlink-pilots", "generate", *size, "--output", str(shards)]) == 0
    assert cli.main(["dataset", "verify", str(shards)]) == 0
    powers_csv = tmp_path / "powers.csv"
    assert cli.main(["downlink-pilots", "allocate", str(shards / "shard-00000.h5"), "--output", str(powers_csv)]) == 0
    read = read_snapshots(shards / "shard-00000.h5", kind=RoadSnapshot)
    assert [one.serves.sum() for one in read if one.serves is not None] == [8.0, 8.0]


def test_what_is_no_subset_is_refused_in_one_line():
    with pytest.raises(ScenarioError, match="serving_aps=1 must lie in 2 to num_aps=8"):
        DownlinkPilotScenario(serving_aps=1)
    drop = drops(SUBSET, 1)
    with pytest.raises(ScenarioError, match="serves names no AP"):
        power_problem(replace(drop, serves=torch.zeros_like(drop.gain)), SUBSET)
    road = RoadSnapshot.from_drop(drop, 0, SUBSET)
    with pytest.raises(DropError, match="serves must hold 0 and 1"):
        replace(road, serves=np.full((3, 8), 0.5)).check()
