"""Figures of Liesegang et al. at a tiny effort: files, claims, policies, and what is refused."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from isac_torch import cli
from isac_torch.errors import IsacError
from isac_torch.evaluation.studies import liesegang_figures
from isac_torch.evaluation.studies.liesegang import TITLES, reproduce
from isac_torch.evaluation.studies.liesegang_claims import CLAIMS
from isac_torch.evaluation.studies.liesegang_study import Case, Policy, Study, policy_power
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup
from tests.paths import ROOT

SMALL = TrackingScenario(num_aps=8, num_ues=4, num_targets=3, serving_aps=2, sensing_aps=2, num_antennas=2)


@pytest.mark.parametrize("figure", ["2", "5", "8"])
def test_a_figure_is_drawn_tabulated_and_judged(figure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in (("RCS_DBSM", (0.0, 10.0)), ("CLUTTER", (1e-2, 1e-1))):
        monkeypatch.setattr(liesegang_figures, name, few)
        monkeypatch.setattr(f"isac_torch.evaluation.studies.liesegang_rules.{name}", few)
    rows = reproduce(tmp_path, figure, num_drops=2, num_blocks=1)
    assert (tmp_path / f"figure_{figure}.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / f"figure_{figure}.csv").open(encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert {"panel", "curve", "x", "y"} == set(points[0])
    assert all(0.0 <= float(point["y"]) <= 1.0 for point in points)
    assert json.loads((tmp_path / "claims.json").read_text(encoding="utf-8")) == rows
    assert {row["id"] for row in rows} == {claim.id for claim in CLAIMS if claim.figure == figure}
    for row in rows:
        assert set(row) == {
            "id", "claim", "figure", "threshold", "our_number", "num_drops", "num_blocks", "seed", "status", "how"
        }  # fmt: skip
        assert row["status"] in ("confirmed", "not_confirmed")


def test_every_claim_belongs_to_a_figure() -> None:
    assert {claim.figure for claim in CLAIMS} == {*TITLES, "ours"}
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert len([claim for claim in CLAIMS if claim.figure != "ours"]) == 18  # of the paper


def test_one_kind_of_beams_gets_the_whole_budget() -> None:
    problem = power_problem(SMALL.sample(3, generator=torch.Generator().manual_seed(0)), SMALL)
    for beams, kept in (("data", slice(0, 8)), ("probe", slice(8, None))):
        power = policy_power(Policy(0.5, 0.5, beams), problem)  # type: ignore[arg-type]
        assert float(power.sum()) == pytest.approx(float(power[:, kept].sum()))
        load = problem.ap_load(power)
        busy = load > 0
        assert_close(load[busy], problem.budget[busy])
    both = policy_power(Policy(0.5, 0.5), problem)
    assert bool((both > 0).all())


@pytest.mark.parametrize("association", ["utc", "tc", "uc", "cf"])
def test_associations_give_a_value_for_every_cell_and_ue(association: str) -> None:
    case = Case(scenario=SMALL, setup=SensingSetup(num_regions=4), association=association)  # type: ignore[arg-type]
    result = Study(2, 2, 0).run(case, with_miss=True)
    assert result.ratio_db.shape == result.miss.shape == (2, 4)
    assert result.rate.shape == (2, 4)
    assert bool(result.ratio_db.isfinite().all())
    assert bool((result.rate > 0).all())


def test_equal_cases_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(2, 1, 0)
    first = study.run(Case(scenario=SMALL), with_miss=True)
    monkeypatch.setattr(study, "_compute", None)
    assert study.run(Case(scenario=SMALL)) is first


def test_a_second_run_reads_what_the_first_one_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(scenario=SMALL)
    first = Study(2, 1, 0, folder=tmp_path).run(case, with_miss=True)
    with monkeypatch.context() as patch:
        patch.setattr(Study, "_compute", None)
        again = Study(2, 1, 0, folder=tmp_path).run(case)
    assert_close(again.ratio_db, first.ratio_db, rtol=0, atol=0)
    assert_close(again.miss, first.miss, rtol=0, atol=0)
    for file in tmp_path.glob("*.npz"):  # a damaged file and another seed are computed
        file.write_bytes(file.read_bytes()[:40])
    assert_close(Study(2, 1, 0, folder=tmp_path).run(case).ratio_db, first.ratio_db, rtol=0, atol=0)
    assert not torch.equal(Study(2, 1, 1, folder=tmp_path).run(case).ratio_db, first.ratio_db)


def test_cross_sections_shift_the_scnr_by_their_decibels() -> None:
    study = Study(2, 2, 0)
    low, high = (study.run(Case(scenario=SMALL, setup=SensingSetup(rcs_variance_dbsm=level))).ratio_db for level in (0.0, 10.0))
    assert_close(high - low, torch.full_like(low, 10.0))


@pytest.mark.parametrize("policy", ["opc_communication", "opc_sensing", "upc"])
def test_allocators_are_judged_by_true_echoes(policy: str) -> None:
    case = Case(phase="tracking", scenario=replace(SMALL, sir_min_db=-10.0), policy=policy)
    result = Study(2, 1, 0).run(case)
    assert result.ratio_db.shape == (2, 3)
    assert bool(result.ratio_db.isfinite().all())


@pytest.mark.parametrize(
    ("options", "word"),
    [({"figure": "10"}, "figure='10'"), ({"num_drops": -1}, "num_drops"), ({"num_blocks": -1}, "num_blocks")],
)
def test_bad_options_are_refused_in_one_line(options: dict[str, object], word: str, tmp_path: Path) -> None:
    with pytest.raises(IsacError, match=word):
        reproduce(tmp_path, quick=True, **options)  # type: ignore[arg-type]


def test_the_quick_configuration_runs(tmp_path: Path) -> None:
    config = ROOT / "configs" / "reproduce" / "liesegang_quick.yaml"
    options = ["--figure", "8", "--num_drops", "2", "--num_blocks", "1", "--output", str(tmp_path)]
    assert cli.main(["reproduce", "liesegang", "--config", str(config), *options]) == 0
    assert (tmp_path / "figure_8.png").exists()
