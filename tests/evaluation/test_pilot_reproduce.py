"""Figures of Liao et al.: files, columns, verdicts, repeatability."""

import csv
import json
from dataclasses import replace

import pytest
import torch

from isac_torch import cli
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import IsacError
from isac_torch.evaluation.studies.liao import FIGURES, reproduce
from isac_torch.evaluation.studies.liao_claims import CLAIMS
from isac_torch.evaluation.studies.liao_figures import PLOTS
from isac_torch.evaluation.studies.liao_powers import Chunk
from isac_torch.evaluation.studies.liao_reading import Reading
from isac_torch.evaluation.studies.liao_study import points, run_chunk, run_points
from isac_torch.evaluation.studies.liao_traces import traces
from tests.paths import ROOT


def test_points_are_those_of_the_paper():
    assert [(p.scenario.downlink_symbols, p.scenario.uplink_symbols) for p in points("ratio")][::3] == [
        (4, 16),
        (10, 10),
        (16, 4),
    ]
    proportions = [p.scenario.downlink_symbols for p in points("proportion")]
    assert proportions == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert [p.scenario.num_ues for p in points("correlation_6")] == [6] * 11
    assert {claim.study for claim in CLAIMS} == {plot.study for plot in PLOTS.values()}


def test_one_figure(tmp_path):
    claims = reproduce(tmp_path, figure="5", num_drops=2)
    assert json.loads((tmp_path / "claims.json").read_text()) == claims
    assert {"A-4a-1", "A-5-1", "O-1"} <= {claim["id"] for claim in claims}
    keys = {
        "id", "claim", "figure", "threshold", "num_drops", "seed", "default", "our_number", "standard_error", "how",
        "favourable", "favourable_reading", "favourable_number", "favourable_standard_error", "favourable_how",
        "favourable_config", "fault",
    }  # fmt: skip
    for claim in claims:
        assert set(claim) == keys
        assert {claim["default"], claim["favourable"]} <= {"confirmed", "not_confirmed"}
        assert claim["num_drops"] == 2
    rows = list(csv.DictReader((tmp_path / "figure_5.csv").open()))
    assert {row["scheme"] for row in rows} == {"full", "sca_paper", "ours", "existing"}
    assert len(rows) == 4 * 7
    assert (tmp_path / "figure_5.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(tmp_path.glob(".*"))  # no half-written files
    verdict = next(claim for claim in claims if claim["id"] == "O-1")
    assert verdict["default"] == verdict["favourable"] == "confirmed"


def test_power_map_and_traces(tmp_path):
    claims = reproduce(tmp_path, figure="2", num_drops=100)
    assert [(claim["id"], claim["default"]) for claim in claims] == [("A-2", "confirmed")]
    scenario = DownlinkPilotScenario(downlink_correlation=0.3, receiver="projection")
    problem = power_problem(scenario.sample(1, generator=torch.Generator().manual_seed(3)), scenario)
    ours = traces(problem)["ours"]
    assert all(value <= bound for value, bound, _ in ours)
    assert ours[-1][2] < 1e-3 < ours[0][2]  # KKT residual
    assert ours[-1][0] >= 0.999 * ours[-1][1]


def test_same_seed_same_numbers(monkeypatch):
    """The first chunk does not depend on how many follow; no two drops are alike."""
    monkeypatch.setattr("isac_torch.evaluation.studies.liao_study.CHUNK", 2)
    chosen = points("ratio")[3:4]
    sample = run_points(chosen, 3, 5, workers=1)[0]
    again = run_chunk(Chunk(chosen[0].scenario, 2, (5, 0)), Reading(), True)
    for name, values in again.items():
        torch.testing.assert_close(sample.values[name][:2], values, rtol=0, atol=0, equal_nan=True)
    assert sample.column("full", "nmse").unique().numel() == 3


@pytest.mark.slow
def test_workers_change_nothing():
    chosen = points("ratio")[:2]
    alone, together = run_points(chosen, 30, 5, workers=1), run_points(chosen, 30, 5, workers=2)
    for one, other in zip(alone, together, strict=True):
        for name in one.values:
            torch.testing.assert_close(one.values[name], other.values[name], rtol=1e-9, atol=0, equal_nan=True)


@pytest.mark.parametrize("config", sorted((ROOT / "configs" / "downlink_pilots").glob("reproduce*.yaml")), ids=lambda p: p.stem)
def test_every_config_runs(config, tmp_path):
    """On the quickest figure; what the file says is otherwise used as it stands."""
    assert cli.main(["reproduce", "liao", "--config", str(config), "--figure", "2", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "claims.json").is_file()


def test_bad_arguments_say_what_is_possible(tmp_path):
    with pytest.raises(IsacError, match="10b, convergence"):
        reproduce(tmp_path, figure="11")
    with pytest.raises(IsacError, match="num_drops=1"):
        reproduce(tmp_path, num_drops=1)
    assert len(FIGURES) == 13
    for options, message in (
        ({"eps": 0.0}, "eps=0.0"),
        ({"shadowing_db": -1.0}, "shadowing_db=-1.0"),
    ):
        with pytest.raises(IsacError, match=message):
            reproduce(tmp_path, figure="3", reading=Reading(**options))


def test_kept_powers_are_read_again(tmp_path, monkeypatch):
    """An interrupted run goes on where it stopped; a damaged file is computed anew."""
    chunk = Chunk(points("ratio")[3].scenario, 2, (5, 0), tmp_path)
    first = run_chunk(chunk, Reading(), True)
    kept = sorted(tmp_path.iterdir())
    assert [path.name.split("_")[0] for path in kept] == ["ours", "saving", "sca0.0001"]
    kept[0].write_bytes(b"damaged")
    again = run_chunk(chunk, Reading(), True)
    for name, values in first.items():
        torch.testing.assert_close(values, again[name], rtol=0, atol=0, equal_nan=True)
    monkeypatch.setattr("isac_torch.evaluation.studies.liao_powers.allocate", None)  # nothing is computed any more
    run_chunk(chunk, Reading(existing="full", receiver="ignorant"), True)


def test_a_receiver_that_ignores_correlation():
    """As a simulated one: its weight for orthogonal pilots on what it really receives; never better than one that knows."""
    scenario = Reading().of(points("correlation_6")[6].scenario)
    drop = scenario.sample(1, generator=torch.Generator().manual_seed(3))
    problem = power_problem(drop, scenario)
    power = torch.rand(1, 48, generator=torch.Generator().manual_seed(4), dtype=torch.float64) / 40.0  # W
    got = replace(problem, receiver="ignorant").nmse(power)
    assert bool((got >= problem.nmse(power) - 1e-12).all())
    number = torch.Generator().manual_seed(5)
    heard = torch.einsum("km,jm->kj", problem.gain[0], problem.per_ue(power)[0])
    blocks = 200_000

    def circular(*shape):
        parts = torch.randn(2, *shape, generator=number, dtype=torch.float64) * 0.5**0.5
        return torch.complex(parts[0], parts[1])

    for ue in range(2):
        streams = circular(blocks, 6) * heard[ue].sqrt()  # deviations of the effective channels from their means
        received = streams @ problem.gram_real[0, ue].to(streams) + circular(blocks)
        estimate = heard[ue, ue] / (1.0 + heard[ue, ue]) * received
        error = (streams[:, ue] - estimate).abs().square().mean() / problem.strength(power)[0, ue]
        assert float(error) == pytest.approx(float(got[0, ue]), rel=0.02)
