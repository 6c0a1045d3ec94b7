"""The downlink-pilot system's network and plain ascent: budgets, numbering, storage, training."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate, equal_split
from isac_torch.allocators.downlink_pilots.batched import BatchedMinMaxNmse
from isac_torch.allocators.downlink_pilots.classical import FullPower, MinMaxNmse
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotFirstOrder, DownlinkPilotLearned
from isac_torch.allocators.registry import named_allocator
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.graph import link_graph
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import CheckpointError
from isac_torch.evaluation.downlink_pilots.metrics import score
from isac_torch.nn.checkpoint import load_network, save_network
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.nn.downlink_pilots.shares import elasticities, localisation_shortfall, merit, powers, start_logits
from isac_torch.weights import shipped_weights


def drops(num_drops=6, seed=4, **parameters):
    scenario = DownlinkPilotScenario(**parameters)
    return power_problem(scenario.sample(num_drops, generator=torch.Generator().manual_seed(seed)), scenario)


def random_network(seed=0, **sizes):
    """A network whose heads say something."""
    torch.manual_seed(seed)
    network = DownlinkPilotNetwork(**sizes)
    for head in [*network.heads, network.balance.dual]:
        torch.nn.init.normal_(head.weight, std=0.1)
    return network


def test_first_order_comes_close_to_the_optimum():
    problem = drops()
    ours, best, full = (allocate(problem, a) for a in (DownlinkPilotFirstOrder(), MinMaxNmse(max_boxes=0), FullPower()))
    ratio = best.value / ours.value
    assert (ratio < 1.03).all()
    assert (ours.value > full.value).all()
    assert problem.violations(ours.power).budget.max() < 1e-9


@pytest.mark.parametrize(
    "parameters",
    [{}, {"num_ues": 6, "downlink_correlation": 0.4}, {"num_ues": 5, "num_aps": 5, "uplink_symbols": 3}, {"num_ues": 1}],
    ids=["sparse", "dense", "shared", "single"],
)
def test_any_size_keeps_budgets(parameters):
    problem = drops(crb_max=5.0, **parameters)
    allocation = allocate(problem, DownlinkPilotLearned(random_network()))
    assert problem.violations(allocation.power).budget.max() < 1e-9
    assert (allocation.power >= 0).all()
    assert (allocation.status != Status.FAILED).all()


def test_numbering_of_ues_and_aps_does_not_matter():
    problem = drops(num_ues=3).cast(torch.float32)
    network = random_network(layers=1, refinements=1, steps=2)
    ues, aps = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    swapped = {n: getattr(problem, n)[:, ues][:, :, aps] for n in ("gain", "estimate", "fisher_xx", "fisher_yy", "fisher_xy")}
    moved = replace(problem, **swapped)
    with torch.no_grad():
        here, there = (powers(p, network(p, link_graph(p))) for p in (problem, moved))
    assert_close(there, problem.per_ue(here)[:, ues][:, :, aps].flatten(1), rtol=1e-2, atol=1e-4)


def test_missing_localisation_is_in_nepers_of_the_bound():
    """A bound falls as 1 / power, so that a tenth of the power misses ten times the limit by log 10; silence counts as 1e6."""
    problem = drops(num_drops=2, num_ues=3)
    power = equal_split(problem)
    problem = replace(problem, crb_max=problem.crb(power))  # just met
    for share, missing in ((1.0, 0.0), (0.1, 2.302585), (10.0, 0.0), (0.0, 13.815511)):
        short = localisation_shortfall(problem, share * power, margin=0.0)
        assert_close(short, torch.full_like(short, missing), rtol=1e-6, atol=1e-9)
    wanted = localisation_shortfall(problem, power)
    assert bool(((wanted > 0.0) & (wanted < 0.1)).all())  # a margin above the limit


def test_gradient_of_the_merit():
    problem = drops(num_drops=2, downlink_correlation=0.3, crb_max=0.3)
    logits = start_logits(problem).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: merit(problem, powers(problem, x)), logits, eps=1e-6, rtol=1e-4)


def test_elasticities_are_logarithmic_derivatives():
    problem = drops(num_drops=2, num_ues=3, downlink_correlation=0.3)
    power = (equal_split(problem) * torch.linspace(0.5, 1.0, problem.num_links, dtype=torch.float64)).requires_grad_()
    values = (problem.strength(power), 1.0 / problem.crb(power))
    for part, value in zip(elasticities(problem, power.detach()), values, strict=True):
        (slope,) = torch.autograd.grad(value.log().sum(), power)
        assert_close(part.flatten(1), slope * power.detach())
        assert_close(part.sum(-1), torch.ones_like(part[..., 0]))  # of the first degree


@pytest.mark.parametrize("changes", [{}, {"num_ues": 4, "shadowing_db": 8.0}], ids=["plain", "shadowed"])
def test_an_optimum_is_a_fixed_point_of_the_balancing_steps(changes):
    """Many steps, without any training, end at the certified optimum: their fixed points are those of (P17)."""
    problem = drops(num_drops=6, crb_max=0.7, **changes)
    best = allocate(problem, BatchedMinMaxNmse(gap=1e-3))
    many = allocate(problem, DownlinkPilotLearned(DownlinkPilotNetwork(8, 1, 0, 150), repair=False))
    kept = best.status == Status.OPTIMAL
    assert kept.sum() >= 3
    assert_close(many.value[kept], best.value[kept], rtol=3e-3, atol=0.0)
    assert float(problem.violations(many.power).sensing[kept].max()) <= 1e-6


def test_balancing_steps_are_differentiable_to_the_dual_variables():
    problem, network = drops(num_drops=2, num_ues=3), DownlinkPilotNetwork(8, 1, 0, 3)
    (network.points(problem.cast(torch.float32))[-1]).square().sum().backward()
    for parameter in network.balance.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all())
        assert bool(parameter.grad.abs().sum() > 0)


def test_weights_survive_storage_and_bad_files_are_refused(tmp_path):
    network, problem = random_network(hidden=16, steps=2), drops()
    path = tmp_path / "model.pt"
    save_network(path, network, {"steps": 1})
    again = load_network(path, DownlinkPilotNetwork)[0]
    assert_close(
        allocate(problem, DownlinkPilotLearned(again)).power,
        allocate(problem, DownlinkPilotLearned(network)).power,
        rtol=0,
        atol=0,
    )
    content = torch.load(path, weights_only=True)
    for change, message in (
        ({"system": "tracking"}, "weights of an allocation network"),
        ({"feature_version": 0}, "feature_version"),
        ({"network": {"hidden": 8}}, "do not fit"),
        ({"weights": {n: v * torch.nan for n, v in content["weights"].items()}}, "not finite"),
    ):
        torch.save(content | change, path)
        with pytest.raises(CheckpointError, match=message):
            load_network(path, DownlinkPilotNetwork)
    path.write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="not a readable network"):
        load_network(path, DownlinkPilotNetwork)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_network(tmp_path / "missing.pt", DownlinkPilotNetwork)


def test_missed_bounds_are_repaired_by_the_engine():
    """Random weights under a limit that binds: every bound that can be met is met, and such drops have the engine's powers."""
    problem, network = drops(num_drops=12, num_ues=3, crb_max=0.46), random_network()
    raw, repaired = (allocate(problem, DownlinkPilotLearned(network, repair=one)) for one in (False, True))
    missed = problem.violations(raw.power).sensing > 1e-6
    assert missed.any()
    assert not missed.all()
    best = allocate(problem.select(missed.nonzero()[:, 0]), BatchedMinMaxNmse(max_boxes=0))
    assert_close(repaired.power[missed], best.power, rtol=1e-6, atol=0)
    assert_close(repaired.power[~missed], raw.power[~missed], rtol=0, atol=0)
    met = problem.violations(repaired.power).sensing[missed] <= 1e-6
    assert met.any()
    assert torch.equal(met, best.status != Status.INFEASIBLE)


def test_nan_weights_fall_back_to_untrained_shares():
    network = random_network()
    with torch.no_grad():
        network.heads[0].weight.fill_(torch.nan)
    allocation = allocate(drops(), DownlinkPilotLearned(network))
    assert allocation.power.isfinite().all()
    assert (allocation.status != Status.FAILED).all()


def test_shipped_weights_are_those_of_their_card_and_hold_the_bars():
    path = shipped_weights("downlink_pilots")
    card = json.loads(path.with_suffix(".json").read_text())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card["sha256"]
    assert len(card["results"]) == 6
    for name, result in card["results"].items():
        assert result["nmse_ratio_mean"] <= (1.03 if name in ("K2_4_16", "K2_10_10", "K6_10_10") else 1.06)
        assert result["crb_violation_rate"] <= 0.005
    assert sum(result["crb_active_share"] >= 0.25 for result in card["results"].values()) >= 2
    problem = drops(num_drops=24, seed=910001, downlink_symbols=4, uplink_symbols=16, crb_max=0.78)
    learned, best = allocate(problem, named_allocator("gnn", system="downlink_pilots")), allocate(problem, BatchedMinMaxNmse())
    row = score(problem, learned, best)
    assert row["nmse_ratio_mean"] < 1.05
    assert row["crb_violation_rate"] <= 1 / 12  # one drop of a dozen feasible ones
