"""The downlink-pilot system's table: definitions on hand-made answers, files, errors."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from isac_torch import cli
from isac_torch.allocation import allocate, equal_split
from isac_torch.allocators.downlink_pilots.classical import FullPower, MinMaxNmse
from isac_torch.allocators.downlink_pilots.learned import DownlinkPilotLearned
from isac_torch.allocators.registry import named_allocator
from isac_torch.commands.downlink_pilots import evaluate
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import IsacError
from isac_torch.evaluation.benchmark import Benchmark
from isac_torch.evaluation.downlink_pilots.metrics import active_drops, broken_bounds, score
from isac_torch.evaluation.downlink_pilots.view import VIEW
from isac_torch.evaluation.measure import run_benchmark
from isac_torch.evaluation.settings import Setting
from isac_torch.evaluation.tables import text_table
from isac_torch.systems import DOWNLINK_PILOTS
from tests.evaluation.unrendered import unrendered
from tests.paths import ROOT


def test_scores_by_hand():
    scenario = DownlinkPilotScenario()
    problem = power_problem(scenario.sample(3, generator=torch.Generator().manual_seed(2)), scenario)
    best = allocate(problem, MinMaxNmse(max_boxes=0))
    own = score(problem, best, best)
    assert own["nmse_ratio_mean"] == own["nmse_ratio_max"] == 1.0
    assert own["crb_violation_rate"] == 0.0
    full = allocate(problem, FullPower())
    ratios = problem.nmse(full.power).amax(-1) / problem.nmse(best.power).amax(-1)
    got = score(problem, full, best)
    assert got["nmse_ratio_mean"] == pytest.approx(float(ratios.mean()))
    assert got["nmse_ratio_max"] == pytest.approx(float(ratios.max()))
    assert got["power_share_mean"] == pytest.approx(1.0)
    weak = equal_split(problem) * (problem.crb(equal_split(problem)).amax(-1) / 1.02)[:, None]  # worst bound 1.02 m2
    assert broken_bounds(problem, weak).all()
    assert not broken_bounds(problem, weak * 1.02).any()


def test_breaking_a_bound_earns_no_credit():
    scenario = DownlinkPilotScenario(crb_max=100.0)
    free = power_problem(scenario.sample(3, generator=torch.Generator().manual_seed(2)), scenario)
    unbound = allocate(free, MinMaxNmse(max_boxes=0))
    problem = replace(free, crb_max=0.97 * free.crb(unbound.power))  # a little more than the free optimum locates
    best = allocate(problem, MinMaxNmse())
    reckless = replace(unbound, violation=problem.violations(unbound.power).worst)
    assert (best.value < unbound.value).all()
    row = score(problem, reckless, best)
    assert row["crb_violation_rate"] == 1.0
    assert row["nmse_ratio_mean"] == 1.0


def test_files_tables_and_stored_optima(tmp_path):
    roads = [{}, {"crb_max": 0.31}]
    names = ["full", "sca_paper", "first_order", "nmse_batched"]
    summary = evaluate(DownlinkPilotScenario(), names, 4, 3, tmp_path, variants=roads, tensorboard=False)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    rows = list(csv.DictReader((tmp_path / "drops.csv").open()))
    assert len(rows) == 2 * 4 * 4
    for row in rows:
        if row["kind"] == "feasible":
            assert float(row["largest_nmse"]) >= float(row["bound_nmse"]) * (1 - 1e-6) or float(row["largest_crb_m2"]) > 0.31
    for name in ("nmse_ratio", "learned_v_optimal"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    setting = summary["settings"]["8x2_dl10_ul10_crb1"]
    assert setting["allocators"]["nmse_batched"]["nmse_ratio_max"] == 1.0
    assert setting["allocators"]["first_order"]["nmse_ratio_mean"] < 1.03
    assert setting["certified_share"] == 1.0
    assert summary["settings"]["8x2_dl10_ul10_crb0.31"]["certified_share"] == 1.0
    times = {"cpu_ms_per_drop", "cpu_ms_single_call"}
    assert all(min(row[key] for key in times) > 0.0 for row in setting["allocators"].values())
    stored = {path.name: path.read_bytes() for path in (tmp_path / "optima").iterdir()}
    with unrendered():
        again = evaluate(DownlinkPilotScenario(), ["nmse_batched"], 4, 3, tmp_path, variants=roads, tensorboard=False)
    assert {path.name: path.read_bytes() for path in (tmp_path / "optima").iterdir()} == stored
    row = again["settings"]["8x2_dl10_ul10_crb1"]["allocators"]["nmse_batched"]
    assert row == {key: value for key, value in setting["allocators"]["nmse_batched"].items() if key not in times}
    shown = text_table(VIEW.columns, summary["settings"], VIEW.leads)
    assert "nmse_ratio_mean" not in shown
    assert "sca_paper" in shown


def test_an_interrupted_run_leaves_the_settings_that_are_done(tmp_path, monkeypatch):
    def first_only(view, case, named, optima):
        if case.scenario.num_ues == 3:
            raise KeyboardInterrupt
        return run_benchmark(view, case, named, optima)

    monkeypatch.setattr("isac_torch.evaluation.suite.run_benchmark", first_only)
    with pytest.raises(KeyboardInterrupt):
        evaluate(DownlinkPilotScenario(), ["full"], 2, 3, tmp_path, variants=[{}, {"num_ues": 3}])
    assert list(json.loads((tmp_path / "summary.json").read_text())["settings"]) == ["8x2_dl10_ul10_crb1"]


def test_tensorboard_gets_the_table(tmp_path):
    evaluate(DownlinkPilotScenario(), ["full"], 2, 3, tmp_path)
    assert list((tmp_path / "tensorboard").glob("**/events.out.tfevents.*"))


def test_command_line_judges_variants(tmp_path, capsys):
    options = ["--num_drops=2", "--seed=910000", "--tensorboard=false", f"--output={tmp_path}"]
    variants = "--variants=[{num_ues: 3}, {crb_max: 0.5}]"
    with unrendered():
        assert cli.main(["downlink-pilots", "evaluate", "--allocators=[full, first_order]", variants, *options]) == 0
    assert "8x3_dl10_ul10_crb1" in capsys.readouterr().out
    assert cli.main(["downlink-pilots", "evaluate", "--allocators=[upc]", *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "choose among full" in said


def test_shipped_weights_are_the_default():
    learned = named_allocator("gnn", system="downlink_pilots")
    assert isinstance(learned, DownlinkPilotLearned)
    assert learned.repair
    raw = named_allocator("gnn_raw", system="downlink_pilots")
    assert isinstance(raw, DownlinkPilotLearned)
    assert not raw.repair


def test_errors_in_one_line(tmp_path):
    with pytest.raises(IsacError, match="choose among full"):
        named_allocator("upc", system="downlink_pilots")
    with pytest.raises(IsacError, match="no such checkpoint"):
        named_allocator("gnn", tmp_path / "model.pt", system="downlink_pilots")
    with pytest.raises(IsacError, match="raise crb_max"):
        evaluate(DownlinkPilotScenario(crb_max=0.01), ["full"], 2, 1, tmp_path)
    with pytest.raises(IsacError, match="name of its own"):
        evaluate(DownlinkPilotScenario(), ["full"], 2, 1, tmp_path, variants=[{}, {}])
    with pytest.raises(IsacError, match="give one of them"):
        evaluate(DownlinkPilotScenario(), ["full"], 2, 1, tmp_path, variants=[{}], settings=[Setting()])


def test_settings_have_names_and_numbers_of_drops(tmp_path):
    settings = [Setting({"num_ues": 3}, name="three", num_drops=2), Setting(name="two")]
    with unrendered():
        evaluate(
            DownlinkPilotScenario(), ["untrained", "nmse_uncertified"], 3, 1, tmp_path, settings=settings, tensorboard=False
        )
    found = json.loads((tmp_path / "summary.json").read_text())["settings"]
    assert {name: setting["num_drops"] for name, setting in found.items()} == {"three": 2, "two": 3}
    row = found["two"]["allocators"]
    assert row["nmse_uncertified"]["nmse_ratio_mean"] <= 1.001 < row["untrained"]["nmse_ratio_mean"]


def test_configuration_of_the_table_names_nine_settings(tmp_path):
    """Six drops each and the quickest allocator; what the file says is otherwise used as it stands."""
    config = ROOT / "configs/downlink_pilots/evaluate.yaml"
    options = ["--num_drops=6", "--allocators=[full]", "--tensorboard=false", f"--output={tmp_path}"]
    with unrendered():
        assert cli.main(["downlink-pilots", "evaluate", "--config", str(config), *options]) == 0
    settings = json.loads((tmp_path / "summary.json").read_text())["settings"]
    assert len(settings) == 9
    assert {setting["num_drops"] for setting in settings.values()} == {6}


def test_active_drops_are_those_with_a_bound_at_its_limit():
    scenario = DownlinkPilotScenario(crb_max=0.31)
    sample = scenario.sample(4, generator=torch.Generator().manual_seed(2))
    problem = power_problem(sample, scenario)
    loose = equal_split(problem)
    bound = problem.crb(loose).amax(-1)  # at twice the limit, at it, within a thousandth of it, a hundredth below
    tightness = torch.tensor([2.0, 1.0, 1.0 - 5e-4, 0.99], dtype=bound.dtype)
    problem = replace(problem, crb_max=(bound / tightness)[:, None].expand_as(problem.crb_max))
    answer = replace(allocate(problem, FullPower()), power=loose)
    certified = {DOWNLINK_PILOTS.allocators.certified[0]: answer}
    infeasible = torch.tensor([True, False, False, False])
    found = Mock(spec=Benchmark, problem=problem)
    found.plain, found.optimum = SimpleNamespace(certified=certified), SimpleNamespace(infeasible=infeasible)
    assert active_drops(found).tolist() == [False, True, True, False]
