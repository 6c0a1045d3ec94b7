"""The examples run."""

import importlib
import runpy

import pytest
import torch

from isac_torch import TrackingScenario, allocate, named_allocator, power_problem
from isac_torch.evaluation.benchmark import Case
from isac_torch.evaluation.measure import run_benchmark
from isac_torch.evaluation.tracking.view import VIEW
from tests.paths import ROOT

EXAMPLES = ROOT / "examples"


def test_compare_policies_prints_a_line_for_every_policy(capsys):
    module = runpy.run_path(str(EXAMPLES / "compare_policies.py"))
    module["main"](["--size", "4x2x2", "--drops", "2", "--seed", "900001"])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.endswith("are feasible")
    assert [line.split()[0] for line in lines] == ["opc_batched", *module["POLICIES"]]
    assert "1.000 of the optimum" in lines[0]


def test_dominate_gives_a_line_for_every_factor():
    module = runpy.run_path(str(EXAMPLES / "dominate_uniform_power.py"))
    head, *lines = module["compare"]("6x3x2", drops=2, factors=(0.9, 1.0))
    assert head.startswith("factor")
    assert [float(line.split()[0]) for line in lines] == [0.9, 1.0]
    # uniform power meets both, and asking for less never costs rate
    assert all(line.split()[3] == "0" for line in lines)
    assert float(lines[0].split()[1]) >= float(lines[1].split()[1]) * 0.999 >= 0.999


def test_ones_own_allocators_stand_beside_the_optimum(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "own")
    names = ["powers:half", "powers:StrongestAp", "powers:learned", "opc_batched"]
    case = Case(TrackingScenario.of_size("8x6x2"), 6, 1)
    benchmark = run_benchmark(VIEW, case, {name: named_allocator(name) for name in names}, tmp_path)
    rows = VIEW.summarise(benchmark)["allocators"]
    assert list(rows) == names
    assert all(0.0 < rows[name]["min_rate_ratio_mean"] <= 1.0 for name in names)
    assert rows["powers:learned"]["min_rate_mbps_mean"] > rows["powers:StrongestAp"]["min_rate_mbps_mean"]


def test_ones_own_gains_give_a_problem_that_every_allocator_takes(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES / "own")
    drop, scenario = importlib.import_module("powers").indoor(3)
    problem = power_problem(drop, scenario)
    best = allocate(problem, named_allocator("opc_batched"))
    assert bool((best.value >= allocate(problem, named_allocator("upc")).value * (1 - 1e-6)).all())
    assert bool((problem.ap_load(best.power) <= 0.1 * (1 + 1e-6)).all())


@pytest.mark.slow
def test_aps_as_processes_find_the_powers_of_the_batched_form(capsys):
    module = runpy.run_path(str(EXAMPLES / "aps_as_processes.py"))
    module["main"](["--size", "8x6x2", "--programs", "2", "--rounds", "2"])
    said = capsys.readouterr().out
    assert "difference from the batched form: 0.0e+00 W" in said


def test_moving_vehicles_get_fewer_pilots_and_a_higher_rate():
    module = runpy.run_path(str(EXAMPLES / "moving_vehicles.py"))
    rows = module["drive"](2, 2, torch.Generator().manual_seed(5))
    assert [round(row["seconds"], 6) for row in rows] == [0.1, 0.2]
    for row in rows:
        assert 2.0 <= row["downlink"] < 10.0
        assert row["uplink"] == 2.0
        assert row["rate_gain"] > 1.2
        assert row["filter_m"] < 1.0
