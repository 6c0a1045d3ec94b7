"""The pilot system's table: definitions on hand-made answers, files, errors."""

import csv
import json

import pytest
import torch

from isac_torch.allocation import allocate, equal_split
from isac_torch.allocators.pilot import FullPower, MinMaxNmse
from isac_torch.errors import IsacError
from isac_torch.evaluation.pilot_benchmark import allocator, benchmark, broken_bounds, score, table
from isac_torch.pilot.build import power_problem
from isac_torch.pilot.scenario import PilotScenario


def test_scores_by_hand():
    scenario = PilotScenario()
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


def test_files_and_table(tmp_path):
    summary = benchmark(PilotScenario(), ["full", "sca_paper", "first_order", "nmse_optimal"], 4, 3, tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert len(list(csv.DictReader((tmp_path / "drops.csv").open()))) == 16
    assert summary["allocators"]["nmse_optimal"]["nmse_ratio_max"] == 1.0
    assert summary["allocators"]["first_order"]["nmse_ratio_mean"] < 1.03
    assert "nmse_ratio_mean" in table(summary)


def test_errors_in_one_line(tmp_path):
    with pytest.raises(IsacError, match="not one of full"):
        allocator("upc")
    with pytest.raises(IsacError, match=r"model\.pt"):
        allocator("gnn")
    with pytest.raises(IsacError, match="raise crb_max"):
        benchmark(PilotScenario(crb_max=0.01), ["full"], 2, 1, tmp_path)
