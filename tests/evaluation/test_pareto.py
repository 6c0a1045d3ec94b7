"""The trade-off between rate and sensing obeys the order of nested feasible sets."""

import csv
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from isac_torch.cli import main
from isac_torch.errors import IsacError
from isac_torch.evaluation.tracking.pareto import pareto, requiring
from isac_torch.evaluation.tracking.view import fresh_problem
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import ROOT

SMALL = TrackingScenario(num_aps=6, num_ues=3, num_targets=2, num_receive_aps=1, serving_aps=2, sensing_aps=2)
LEVELS = [-20.0, -3.0, 3.0]


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """Folder and points of uniform power and of the optimum on six drops."""
    folder = tmp_path_factory.mktemp("pareto")
    return folder, pareto(SMALL, allocators=["upc", "opc_batched"], num_drops=6, seed=5, output=folder, sir_min_db=LEVELS)


def test_harder_sensing_never_raises_the_optimal_rate(front):
    _, points = front
    own = [p for p in points if p.allocator == "opc_batched"]
    assert [p.sir_min_db for p in own] == LEVELS
    rates = [p.min_rate_mbps_valid_mean for p in own]
    # each point is optimal to a certified gap of 1e-3 in SINR, which is at most 1e-3 in rate
    assert all(later <= earlier * 1.001 for earlier, later in pairwise(rates))
    assert own[-1].infeasible_share == 1.0  # two targets on one receive AP cannot both exceed 0 dB
    assert own[-1].min_rate_mbps_valid_mean == 0.0


def test_optimum_lies_above_every_other_allocator(front):
    _, points = front
    for level in LEVELS:
        upc, best = (p for p in points if p.sir_min_db == level)
        assert upc.min_rate_mbps_valid_mean <= best.min_rate_mbps_valid_mean * 1.001
        assert upc.valid_share <= best.valid_share


def test_files(front):
    folder, points = front
    with (folder / "pareto.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["valid_share"]) for line in lines] == [p.valid_share for p in points]
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_only_the_requirement_changes():
    _, problem = fresh_problem(SMALL, 2, 0, progress=False)
    assert_close(requiring(problem, -5.0).sir_min, torch.full_like(problem.sir_min, 10**-0.5))
    assert requiring(problem, -5.0).leakage is problem.leakage


@pytest.mark.parametrize(
    ("scenario", "change", "word"),
    [
        (TrackingScenario(num_targets=1), {}, "num_targets=1"),
        (SMALL, {"sir_min_db": []}, "sir_min_db"),
        (SMALL, {"sir_min_db": [float("nan")]}, "sir_min_db"),
        (SMALL, {"allocators": []}, "nobody"),
    ],
)
def test_bad_input_is_one_line_before_any_work(scenario, change, word, tmp_path):
    arguments = {"allocators": ["upc"], "num_drops": 2, "seed": 0, "output": tmp_path / "new"} | change
    with pytest.raises(IsacError) as caught:
        pareto(scenario, **arguments)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_configuration_runs(tmp_path):
    config = ROOT / "configs" / "pareto" / "tracking.yaml"
    change = ["--num_drops", "2", "--allocators", '["upc"]', "--sir_min_db", "[-5.0]", "--output", str(tmp_path)]
    assert main(["pareto", "--config", str(config), *change]) == 0
    assert (tmp_path / "pareto.csv").exists()
