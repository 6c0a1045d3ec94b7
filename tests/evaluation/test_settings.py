"""Several settings in one run; the network, its help by the engine, and requirements of their own."""

import csv
import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from isac_torch.allocators.registry import named_allocator
from isac_torch.errors import IsacError
from isac_torch.evaluation.benchmark import Case
from isac_torch.evaluation.measure import run_benchmark
from isac_torch.evaluation.run import evaluate
from isac_torch.evaluation.settings import Setting
from isac_torch.evaluation.tracking.view import VIEW, demanding, fresh_problem
from isac_torch.nn.checkpoint import save_network
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from tests.evaluation.unrendered import unrendered

SMALL = TrackingScenario(num_aps=6, num_ues=3, num_targets=2, num_receive_aps=2, serving_aps=2, sensing_aps=2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a small untrained network: its corrections are arbitrary, its budgets are kept."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "model.pt"
    save_network(path, AllocationNetwork(hidden=8, layers=1, refinements=1, steps=4), {})
    return path


@pytest.fixture(scope="module")
def several(tmp_path_factory, weights):
    """Folder and summary of one run of two settings, one of them with the requirement of each drop's own."""
    folder = tmp_path_factory.mktemp("several")
    names = ["fpc_0_1", "opc_batched", "gnn", "gnn_repaired", "gnn_refined"]
    settings = [
        Setting(num_drops=4, allocators=["opc_global", *names], opc_global_drops=2),
        Setting({"pilot_length": 2}, name="tight", sir_below_best_db=1.0),
    ]
    whole = {"allocators": names, "num_drops": 9, "max_drops": 6, "seed": 11, "sensed_drops": 0, "checkpoint": weights}
    with unrendered():
        return folder, evaluate(SMALL, output=folder, settings=settings, tensorboard=False, **whole)


@pytest.fixture(scope="module")
def hard(tmp_path_factory, weights):
    """Summary of drops some of which no powers can satisfy."""
    scenario = replace(SMALL, sir_min_db=3.0)
    named = {name: named_allocator(name, weights) for name in ("opc_batched", "gnn", "gnn_repaired", "gnn_refined")}
    return VIEW.summarise(run_benchmark(VIEW, Case(scenario, 6, 11, sensed_drops=0), named, tmp_path_factory.mktemp("hard")))


def test_policies_are_asked_for_what_uniform_power_senses(tmp_path):
    asked = Requirement("dominate", position=0.0)
    named = {name: VIEW.allocator(name) for name in ("opc_dominate", "opc_batched", "upc")}
    found = run_benchmark(VIEW, Case(replace(SMALL, sir_min_db=-8.0), 4, 7), named, tmp_path)
    assert list(found.variants) == ["opc_dominate"]
    assert [outcome.name for outcome in found.comparable] == ["opc_batched", "upc"]
    assert found.part("opc_dominate").problem.position is not None
    linear = run_benchmark(VIEW, Case(replace(SMALL, requirement=asked), 4, 7, sensed_blocks=1), named, tmp_path)
    rows = VIEW.summarise(linear)["allocators"]
    assert linear.part("opc_dominate").problem.position is None  # the scenario's own factors
    assert list(linear.variants) == []  # the scenario asks for that anyway: all can be drawn together
    assert rows["opc_dominate"]["min_rate_ratio_mean"] == pytest.approx(1.0)
    assert rows["opc_dominate"]["rate_over_upc_worst"] >= 1.0 - 1e-3  # uniform power is feasible; the gap is 1e-3
    assert rows["opc_dominate"]["infeasible"] == 0
    assert rows["upc"]["rate_over_upc"] == rows["upc"]["mean_rate_over_upc"] == 1.0
    assert rows["upc"]["sicnr_minus_upc_db_mean"] == rows["upc"]["position_error_minus_upc_m"] == 0.0
    with pytest.raises(IsacError, match="opc_dominate"):
        VIEW.allocator("magic")


def test_settings_fill_one_summary_and_a_folder_each(several):
    folder, summary = several
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert list(summary["settings"]) == ["6x3x2_tau3_sir-5", "tight"]
    for name, setting in summary["settings"].items():
        assert list(setting) == ["num_drops", "infeasible", "outage", "allocators"]
        assert json.loads((folder / name / "summary.json").read_text()) == setting
        assert (folder / name / "cdf_min_rate.png").exists()
    first = summary["settings"]["6x3x2_tau3_sir-5"]
    assert first["num_drops"] == 4
    assert first["allocators"]["opc_global"]["num_drops"] == 2
    assert summary["settings"]["tight"]["num_drops"] == 6
    with (folder / "settings.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6 + 5
    assert set(json.loads((folder / "provenance.json").read_text())["settings"]) == set(summary["settings"])


def test_repaired_and_refined_break_nothing_and_lose_nothing(several, hard):
    _, summary = several
    for setting in (*summary["settings"].values(), hard):
        rows = setting["allocators"]
        for name in ("gnn_repaired", "gnn_refined"):
            if setting["infeasible"] < setting["num_drops"]:
                assert rows[name]["valid_drop_share"] == 1.0
                assert rows[name]["min_rate_ratio_valid_mean"] >= rows["gnn"]["min_rate_ratio_valid_mean"]
        refined = rows["gnn_refined"]["min_rate_ratio_worst"]
        assert refined is None or refined >= 0.997  # its gap is 3e-3 in SINR


def test_tight_setting_asks_every_drop_for_its_own_limit(several):
    _, summary = several
    tight = summary["settings"]["tight"]
    assert tight["infeasible"] == 0
    assert tight["allocators"]["fpc_0_1"]["sir_violation_rate"] > 0.2
    _, problem = fresh_problem(replace(SMALL, pilot_length=2), 6, 11, progress=False)
    asked = demanding(problem, 1.0).sir_min
    assert_close(asked, (largest_sir(problem).best_sir * 10**-0.1).unsqueeze(-1).expand_as(asked))


def test_infeasible_drops_are_answered_near_the_largest_sir(hard):
    assert hard["infeasible"] > 0
    for name in ("opc_batched", "gnn_repaired", "gnn_refined"):
        assert hard["allocators"][name]["best_effort_sir_mean"] == pytest.approx(0.95, abs=1e-3)


def test_shared_pilots_are_measured_against_the_best_of_all(several):
    _, summary = several
    rows = summary["settings"]["tight"]["allocators"]
    assert all(row["min_rate_ratio_max"] is None or row["min_rate_ratio_max"] <= 1.0 for row in rows.values())
    assert all(row["ratio_to_bound_mean"] <= row["min_rate_ratio_mean"] + 1e-9 for row in rows.values())


def test_second_run_takes_optima_from_the_store(several, weights, tmp_path):
    folder, summary = several
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "optima").glob("*.npz")}
    named = {"opc_batched": named_allocator("opc_batched"), "upc": named_allocator("upc")}
    case = Case(replace(SMALL, pilot_length=2), 6, 11, sir_below_best_db=1.0, sensed_drops=0)
    again = run_benchmark(VIEW, case, named, folder / "optima")
    assert again.from_store == ("opc_batched",)
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "optima").glob("*.npz")} == kept
    row, old = VIEW.summarise(again)["allocators"]["opc_batched"], summary["settings"]["tight"]["allocators"]["opc_batched"]
    assert row["ms_per_drop"] == old["ms_per_drop"]
    assert row["sicnr_db_median"] is None
