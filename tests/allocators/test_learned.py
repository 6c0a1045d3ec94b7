"""Learned and first-order allocators, and the guard rails of stored networks."""

import json
from dataclasses import replace

import pytest
import torch

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.tracking.batched import BatchedOptimal
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.allocators.tracking.learned import FirstOrder, LearnedAllocator, unlike_training
from isac_torch.errors import CheckpointError
from isac_torch.nn.checkpoint import load_network, save_network
from isac_torch.nn.tracking.balance import balance
from isac_torch.nn.tracking.merit import Aim, mean_log_rate, strict_score
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.solvers.tracking.fair_powers import fair_powers
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.graph import link_graph
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.weights import shipped_weights


def make_problem(size="16x16x4", drops=24, seed=1_700_000_000, **parameters) -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size(size, **parameters)
    return power_problem(scenario.sample(drops, generator=torch.Generator().manual_seed(seed)), scenario)


@pytest.fixture(scope="module")
def problem():
    return make_problem()


@pytest.fixture
def network():
    torch.manual_seed(0)
    return AllocationNetwork(hidden=8, layers=1, refinements=1, steps=4)


def test_first_order_beats_equal_power_everywhere_and_meets_the_rows(problem):
    found, equal = allocate(problem, FirstOrder(40)), allocate(problem, Fractional())
    assert bool((found.value > equal.value).all())
    assert float((found.status == Status.FEASIBLE).double().mean()) >= 0.9
    assert bool((problem.violations(found.power).budget <= 1e-12).all())


def test_more_steps_are_better(problem):
    few, many = allocate(problem, FirstOrder(5)), allocate(problem, FirstOrder(60))
    assert float(many.value.log().mean()) > float(few.value.log().mean()) + 0.02


@pytest.mark.parametrize("size", ["4x2x0", "4x3x1", "8x4x2"])
@pytest.mark.parametrize("reuse", [False, True])
def test_allocators_answer_every_size(size, reuse, network):
    problem = make_problem(size, 6, pilot_length=1 if reuse else None)
    for allocator in (FirstOrder(4), LearnedAllocator(network)):
        found = allocate(problem, allocator)
        assert bool((found.status != Status.FAILED).all())
        assert bool((problem.violations(found.power).budget <= 1e-12).all())
        assert not size.endswith(("x0", "x1")) or bool((found.status == Status.FEASIBLE).all())  # no rows to miss


def test_fairness_comes_near_the_local_optimum_of_the_solver(problem):
    easy = problem.select((largest_sir(problem).margin > 1.1).nonzero()[:, 0])
    optimum = fair_powers(easy)
    found = {name: allocate(easy, FirstOrder(60, objective=name)) for name in ("max_min", "proportional_fair")}
    rate = {name: mean_log_rate(easy, found[name].power) for name in found}
    lost = (optimum.utility - rate["proportional_fair"])[optimum.solved]
    assert float(lost.mean()) < 0.12  # nepers of the mean rate; 0.07 on other drops
    assert float((rate["proportional_fair"] - rate["max_min"]).mean()) > 0.2
    assert bool((rate["proportional_fair"] <= optimum.upper_bound + 1e-9)[optimum.solved].all())


def test_same_drops_same_powers(problem, network):
    allocator = LearnedAllocator(network)
    assert bool((allocate(problem, allocator).power == allocate(problem, allocator).power).all())


def test_single_precision_problems_are_answered_in_kind(problem, network):
    found = allocate(problem.cast(torch.float32), LearnedAllocator(network))
    assert found.power.dtype == torch.float32
    assert bool((problem.violations(found.power.double()).budget <= 1e-6).all())


def test_directions_by_ue_beams_replace_plain_ones_only_where_they_are_better(problem, network):
    both = allocate(problem, LearnedAllocator(network)).power
    with torch.no_grad():
        single = problem.cast(torch.float32)
        logits = network(single, link_graph(single), Aim()).double()
        plain = balance(problem, logits, None, 24, 4).power
    gain = strict_score(problem, both) - strict_score(problem, plain)
    assert bool((gain >= -1e-9).all())
    assert bool((both == plain).all(-1).any())


def test_a_network_gone_wrong_does_no_harm(problem, network):
    with torch.no_grad():
        for parameter in network.heads[0].parameters():
            parameter.fill_(torch.nan)
    found = allocate(problem, LearnedAllocator(network))
    assert bool(found.power.isfinite().all())
    assert bool((found.status != Status.FAILED).all())


def test_networks_survive_the_disk(tmp_path, problem, network):
    path = tmp_path / "model.pt"
    save_network(path, network, {"steps": 3, "metrics": {"val/min_rate_ratio": 0.9}})
    again, training = load_network(path, AllocationNetwork)
    assert training["steps"] == 3
    stored = LearnedAllocator.load(path)
    assert bool((allocate(problem, stored).power == allocate(problem, LearnedAllocator(network)).power).all())
    assert again.shape == network.shape
    content = torch.load(path, weights_only=True)
    json.dumps({key: value for key, value in content.items() if key != "weights"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"system": "downlink_pilots"}, "weights of a downlink-pilot network"),
        ({"feature_version": -1}, "feature_version is -1"),
        ({"format_version": 99}, "format_version is 99"),
        ({"network": {"hidden": 9}}, "do not fit"),
        ({"network": {"hidden": 8, "surprise": 1}}, "do not fit"),
        ({"weights": None}, "do not fit"),
        ({"weights": {}}, "do not fit"),
        ({"network": None}, "do not fit"),
        ({"network": {"hidden": 12_000, "layers": 1, "refinements": 1, "steps": 1}}, "do not fit"),
        ({"network": {"hidden": 8, "layers": 10**9, "refinements": 1, "steps": 1}}, "do not fit"),
        ({"network": {"hidden": -8, "layers": 1, "refinements": 1, "steps": 1}}, "do not fit"),
        ({"format": "another"}, "not a network of isac-torch"),
    ],
)
def test_foreign_checkpoints_are_refused_in_one_line(tmp_path, network, change, said):
    path = tmp_path / "model.pt"
    save_network(path, network, {})
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(CheckpointError, match=said) as caught:
        load_network(path, AllocationNetwork)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.to(torch.complex64),
        lambda value: value.to(torch.int8),
        lambda value: value.to(torch.bool),
        lambda value: value[..., :0],
        lambda value: torch.zeros(1).expand(value.shape),
        lambda value: value.tolist(),
    ],
)
def test_weights_of_another_type_or_size_are_refused(tmp_path, network, change):
    save_network(tmp_path / "model.pt", network, {})
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    content["weights"]["encode_ue.weight"] = change(content["weights"]["encode_ue.weight"])
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="do not fit"):
        load_network(tmp_path / "model.pt", AllocationNetwork)


@pytest.mark.parametrize("kind", [AllocationNetwork, OneShotNetwork, ShareNetwork])
def test_networks_of_every_kind_are_read_back(tmp_path, kind):
    stored = kind(hidden=8)
    save_network(tmp_path / "model.pt", stored, {})
    read, _ = load_network(tmp_path / "model.pt", kind)
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in stored.state_dict().items())
    assert not any(value.is_meta for value in [*read.parameters(), *read.buffers()])


def test_weights_that_are_not_finite_are_refused(tmp_path, network):
    with torch.no_grad():
        network.encode_ue.bias[0] = torch.inf
    save_network(tmp_path / "model.pt", network, {})
    with pytest.raises(CheckpointError, match="is not finite"):
        load_network(tmp_path / "model.pt", AllocationNetwork)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text"])
def test_damaged_checkpoints_are_refused_in_one_line(tmp_path, network, damage):
    path = tmp_path / "model.pt"
    if damage != "missing":
        save_network(path, network, {})
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"weights: none\n"}[damage])
    with pytest.raises(CheckpointError) as caught:
        load_network(path, AllocationNetwork)
    assert "\n" not in str(caught.value)
    assert "train it again" in str(caught.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").write_text, ("x",))

    torch.save({"format": "isac-torch-network", "trap": Trap()}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError):
        load_network(tmp_path / "model.pt", AllocationNetwork)
    assert not (tmp_path / "sprung").exists()


def test_unequal_budgets_are_recognised_and_lose_nothing():
    scenario = TrackingScenario.of_size("12x8x2", sir_min_db=-10.0)
    equal = power_problem(scenario.sample(4, generator=torch.Generator().manual_seed(3)), scenario)
    macro = torch.where(torch.arange(equal.num_aps) < 3, 20.0, 0.125) * equal.budget
    off = torch.where(torch.arange(equal.num_aps) == 0, 0.005, 1.0) * equal.budget
    allocator = LearnedAllocator.load(shipped_weights())
    assert not bool(unlike_training(equal).any())
    for budget in (macro, off):
        problem = replace(equal, budget=budget)
        assert bool(unlike_training(problem).all())
        best, found = allocate(problem, BatchedOptimal()), allocate(problem, allocator)
        good = best.status <= Status.FEASIBLE
        ratio = (1.0 + found.value[good]).log2() / (1.0 + best.value[good]).log2()
        assert float(ratio.min()) > 0.95
        assert float(ratio.mean()) > 0.98
        assert float(found.violation[good].max()) < 1e-6
