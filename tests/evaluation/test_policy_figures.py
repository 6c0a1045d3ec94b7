"""What the pictures of a policy show, on hand-made outcomes and on a small network; the board that holds them."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocation import Status, allocate
from isac_torch.allocators.registry import named_allocator
from isac_torch.evaluation.figures import allocator_styles
from isac_torch.evaluation.optimum import Optimum, best_known
from isac_torch.evaluation.tracking import figures, policy_figures
from isac_torch.evaluation.tracking.metrics import Outcome
from isac_torch.evaluation.tracking.view import fresh_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.scenario import TrackingScenario

SMALL = TrackingScenario(num_aps=6, num_ues=3, num_targets=2, num_receive_aps=2, serving_aps=2, sensing_aps=2)


def outcome(sinr, violation=None, name="gnn", sir_min=0.3):
    """One drop a value of `sinr`; the targets' SIR is 0.5."""
    sinr = torch.tensor(sinr, dtype=torch.float64)
    count = len(sinr)
    violation = torch.zeros(count, dtype=torch.float64) if violation is None else torch.tensor(violation, dtype=torch.float64)
    sir = torch.full((count, 2), 0.5, dtype=torch.float64)
    sir_min = torch.as_tensor(sir_min, dtype=torch.float64).expand(2, count).T.contiguous()
    return Outcome(
        name, torch.ones(count, 3, dtype=torch.float64), sinr[:, None], sinr, sir, sir_min, torch.zeros_like(sinr), violation,
        torch.full((count,), Status.FEASIBLE), 1.0,
    )  # fmt: skip


def known(value, infeasible=None):
    value = torch.tensor(value, dtype=torch.float64)
    infeasible = torch.zeros(len(value), dtype=torch.bool) if infeasible is None else torch.tensor(infeasible)
    return Optimum(value, value.clone(), infeasible, torch.full_like(value, torch.nan))


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """Uniform power, as if it were a network's, against the optimum on five drops; what the figures look at."""
    drop, problem = fresh_problem(SMALL, 5, 3, progress=False)
    found = {name: allocate(problem, named_allocator(name)) for name in ("upc", "opc_batched")}
    outcomes = tuple(
        Outcome(
            name, one.power, rate(problem.sinr(one.power), SMALL), one.value, problem.sir(one.power), problem.sir_min,
            problem.violations(one.power).budget, one.violation, one.status, 0.1,
        )
        for name, one in found.items()
    )  # fmt: skip
    return SimpleNamespace(
        scenario=SMALL, drop=drop, problem=problem, outcomes=outcomes, optimum=best_known([found["opc_batched"]])
    )


def test_ratio_classes_by_hand():
    # Optimum 2 bit/s/Hz each: SINR 3. Ratios 1, 1/2 exactly, 0 < 1/2, and one drop with a violation; the fifth does not count.
    shares = policy_figures._class_shares(
        outcome([3.0, 1.0, 0.1, 9.0, 3.0], violation=[0, 0, 0, 0.5, 0]), known([3.0] * 5, [False] * 4 + [True])
    )
    names = [name for name, _, _ in policy_figures.RATIO_CLASSES]
    assert dict(zip(names, shares.tolist(), strict=True)) == {
        "breaks a constraint": 25.0, "below 0.5": 25.0, "0.5 to 0.8": 25.0, "0.8 to 0.9": 0.0, "0.9 to 0.95": 0.0,
        "0.95 to 0.99": 0.0, "at least 0.99": 25.0,
    }  # fmt: skip


def test_drops_come_worst_first_and_only_counted_ones():
    judged = outcome([2.0, 0.5, 3.0, 1.0], violation=[0, 0, 9.0, 0])
    optimum = known([3.0] * 4, [False, False, False, True])
    assert policy_figures.drops_by_ratio(judged, optimum, 4).tolist() == [1, 0, 2]
    assert policy_figures.drops_by_ratio(judged, optimum, 1).tolist() == [0]
    assert_close(policy_figures.strict_ratio(judged, optimum)[2], torch.tensor(0.0, dtype=torch.float64))


def test_loads_are_the_sums_of_the_powers(benchmark):
    problem, power = benchmark.problem, benchmark.outcomes[0].power
    for index in range(problem.num_drops):
        share = policy_figures._power_share(problem, power[index], index)
        assert share.shape == (problem.num_aps, problem.num_ues + problem.num_targets)
        assert int(share.isfinite().sum()) == problem.num_links
        load = policy_figures._load_share(problem, power[index], index)
        assert_close(share.nan_to_num(0.0).sum(1), load)
        assert_close(load, (problem.ap_load(power) / problem.budget)[index])


def test_every_picture_is_drawn_and_named(benchmark):
    pictures = policy_figures.policy_pictures(benchmark, benchmark.outcomes, benchmark.outcomes[0])
    assert set(pictures) == {
        "ratio_histogram", "loss", "violations", "sinr_per_ue", "powers_typical", "powers_worst", "load_worst",
    }  # fmt: skip
    assert "upc" in pictures["sinr_per_ue"].axes[0].get_title()
    without = SimpleNamespace(**vars(benchmark) | {"outcomes": benchmark.outcomes[:1]})
    assert set(policy_figures.policy_pictures(without, without.outcomes, benchmark.outcomes[0])) == {
        "ratio_histogram",
        "loss",
        "violations",
    }


def test_pictures_of_nothing_but_infeasible_drops_are_empty_and_not_errors(benchmark):
    infeasible = torch.ones(5, dtype=torch.bool)
    optimum = Optimum(benchmark.optimum.value, benchmark.optimum.upper_bound, infeasible, benchmark.optimum.best_quality)
    nothing = SimpleNamespace(**vars(benchmark) | {"optimum": optimum})
    pictures = policy_figures.policy_pictures(nothing, nothing.outcomes, benchmark.outcomes[0])
    for picture in pictures.values():
        picture.canvas.draw()


def test_an_allocator_keeps_its_colour_whoever_else_is_there():
    names = ["upc", "fpc_0_1", "gnn", "gnn_refined", "opc_global", "fpc_0.3_0", "fpc_0.7_0"]
    alone = [next(allocator_styles([name])) for name in names]
    together = list(allocator_styles(names))
    assert [style["color"] for style in alone] == [style["color"] for style in together]
    assert len({(style["color"], style["linestyle"]) for style in together}) == len(names)


def test_optima_of_a_few_drops_are_not_drawn_beside_one_of_all():
    optimum = known([3.0] * 4)
    everyone = [outcome([3.0] * 2, name="opc_global"), outcome([3.0] * 4, name="opc_batched"), outcome([1.0], name="opc_paper")]
    assert [o.name for o in figures.of_all_drops(everyone, optimum)] == ["opc_batched", "opc_paper"]
    assert [o.name for o in figures.of_all_drops(everyone[:1], optimum)] == ["opc_global"]


@pytest.mark.parametrize(
    ("sir_min", "words"), [(0.3, "SIR of a target (dB)"), (torch.linspace(0.1, 0.9, 12), "over the required")]
)
def test_sir_is_drawn_over_the_requirement_where_that_differs(sir_min, words):
    figure = figures.sir_distribution([outcome([3.0] * 12, sir_min=sir_min)], known([3.0] * 12))
    assert words in figure.axes[0].get_xlabel()
    assert len(figure.axes[0].get_lines()) == 2  # the distribution and one line for the requirement
