"""The trade-off under `dominate` obeys the order of nested feasible sets, with default receive APs and with chosen ones."""

import csv
from itertools import pairwise

import pytest

from isac_torch.cli import main
from isac_torch.errors import IsacError
from isac_torch.evaluation.tracking.pareto_factors import pareto_factors
from isac_torch.roles.search import Search
from isac_torch.tracking.requirement import Requirement
from isac_torch.tracking.scenario import TrackingScenario
from tests.paths import ROOT

SMALL = TrackingScenario(
    num_aps=6,
    num_ues=3,
    num_targets=2,
    num_receive_aps=1,
    serving_aps=2,
    sensing_aps=2,
    requirement=Requirement("dominate", cell=250.0),
)
FACTORS = [1.0, 0.6]
EFFORT = Search(looked=3, solved=2, rounds=0, finalists=1)


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """Folder and points of uniform power and of the optimum on two drops."""
    folder = tmp_path_factory.mktemp("pareto")
    names = ["upc", "opc_batched"]
    return folder, pareto_factors(SMALL, allocators=names, num_drops=2, seed=5, output=folder, factors=FACTORS, search=EFFORT)


def line(points, name):
    return [p for p in points if p.allocator == name]


@pytest.mark.parametrize("name", ["opc_batched", "opc_batched, roles chosen"])
def test_more_sensing_never_raises_the_optimal_rate(front, name):
    own = line(front[1], name)
    assert [p.factor for p in own] == sorted(FACTORS)
    # each point is optimal to a certified gap of 1e-3 in SINR for its receive APs, which is at most 1e-3 in rate
    assert all(later.min_rate_mbps_valid_mean <= earlier.min_rate_mbps_valid_mean * 1.001 for earlier, later in pairwise(own))
    assert all(p.gap_max <= 1e-2 for p in own if p.valid_share > 0)


def test_chosen_roles_are_never_worse(front):
    fixed, chosen = line(front[1], "opc_batched"), line(front[1], "opc_batched, roles chosen")
    assert all(b.min_rate_mbps_valid_mean >= a.min_rate_mbps_valid_mean * 0.999 for a, b in zip(fixed, chosen, strict=True))
    assert all(b.valid_share >= a.valid_share for a, b in zip(fixed, chosen, strict=True))
    assert {p.changed_share for p in fixed} == {0.0}


def test_uniform_power_meets_what_it_gives_and_no_more(tmp_path):
    points = pareto_factors(SMALL, allocators=["upc"], num_drops=2, seed=5, output=tmp_path, factors=[1.4, 0.5, 1.0])
    assert [(p.factor, p.valid_share) for p in points] == [(0.5, 1.0), (1.0, 1.0), (1.4, 0.0)]
    assert [p.rate_over_upc for p in points] == pytest.approx([1.0, 1.0, 0.0])


def test_optimum_beats_uniform_power_where_that_is_valid(front):
    assert all(p.rate_over_upc >= 0.999 for p in line(front[1], "opc_batched"))


def test_files(front):
    folder, points = front
    with (folder / "pareto.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(row["rate_over_upc"]) for row in lines] == [p.rate_over_upc for p in points]
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("factors", [[], [0.0], [-1.0], [float("nan")], [float("inf")], [1e9]])
def test_hostile_factors_are_one_line_before_any_work(factors, tmp_path):
    with pytest.raises(IsacError) as caught:
        pareto_factors(SMALL, allocators=["upc"], num_drops=2, seed=0, output=tmp_path / "new", factors=factors)
    assert "factors=" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--sir_min_db", "[-5.0]"], "give one of them"),
        (["--factors", "null"], "list factors too"),
        (["--factors", "[-1]"], "factors="),
    ],
)
def test_bad_options_are_one_line(change, word, tmp_path, capsys):
    config = ROOT / "configs" / "pareto" / "dominate.yaml"
    assert main(["pareto", "--config", str(config), "--output", str(tmp_path / "new"), *change]) == 2
    error = capsys.readouterr().err.strip()
    assert word in error
    assert "\n" not in error
    assert not (tmp_path / "new").exists()


def test_configuration_runs(tmp_path):
    config = ROOT / "configs" / "pareto" / "dominate.yaml"
    change = ["--num_drops", "2", "--allocators", '["upc"]', "--factors", "[1.0]", "--choose_roles", "false"]
    assert main(["pareto", "--config", str(config), *change, "--output", str(tmp_path)]) == 0
    assert (tmp_path / "pareto.csv").exists()
