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
from isac_torch.evaluation.studies.liesegang import TITLES, reproduce
from isac_torch.evaluation.studies.liesegang_cases import Case, Conditions, Policy, Reading, Sweeps
from isac_torch.evaluation.studies.liesegang_claims import CLAIMS
from isac_torch.evaluation.studies.liesegang_readings import ESTIMABLE_PILOT
from isac_torch.evaluation.studies.liesegang_study import Study, policy_power
from isac_torch.sensing.conditions import Nearby, Pointing
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.tracking.setup import SensingSetup
from tests.paths import ROOT

SMALL = TrackingScenario(num_aps=8, num_ues=4, num_targets=3, serving_aps=2, sensing_aps=2, num_antennas=2)


FEW = Reading(SMALL, sweeps=Sweeps(rcs_dbsm=(0.0, 10.0), clutter=(1e-2, 1e-1)))


@pytest.mark.parametrize("figure", ["2", "5", "8", "roc"])
def test_a_figure_is_drawn_tabulated_and_judged(figure: str, tmp_path: Path) -> None:
    rows = reproduce(tmp_path, figure, num_drops=2, num_blocks=1, reading=FEW)
    assert (tmp_path / f"figure_{figure}.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / f"figure_{figure}.csv").open(encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert {"panel", "axis", "curve", "x", "y", "standard_error"} == set(points[0])
    assert all(0.0 <= float(point["y"]) <= 1.0 for point in points)
    assert json.loads((tmp_path / "claims.json").read_text(encoding="utf-8")) == rows
    assert {row["id"] for row in rows} == {claim.id for claim in CLAIMS if claim.figure == figure}
    for row in rows:
        assert {"standard_error", "default", "favourable", "favourable_reading", "fault", "num_drops", "how"} <= set(row)
        assert {row["default"], row["favourable"]} <= {"confirmed", "not_confirmed"}


def test_every_claim_belongs_to_a_figure() -> None:
    assert {claim.figure for claim in CLAIMS} == {*TITLES, "ours"} - {"roc"}
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert len([claim for claim in CLAIMS if claim.figure != "ours"]) == 18  # of the paper


def test_one_kind_of_beams_gets_the_whole_budget() -> None:
    problem = power_problem(SMALL.sample(3, generator=torch.Generator().manual_seed(0)), SMALL)
    for beams, kept in (("data", slice(0, 8)), ("probe", slice(8, None))):
        power = policy_power(Policy(0.5, 0.5, beams), problem)
        assert float(power.sum()) == pytest.approx(float(power[:, kept].sum()))
        load = problem.ap_load(power)
        busy = load > 0
        assert_close(load[busy], problem.budget[busy])
    both = policy_power(Policy(0.5, 0.5), problem)
    assert bool((both > 0).all())


@pytest.mark.parametrize("association", ["utc", "tc", "uc", "cf"])
def test_associations_give_a_value_for_every_cell_and_ue(association: str) -> None:
    case = Case(scenario=SMALL, setup=SensingSetup(num_regions=4), association=association)
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


def test_a_sweep_of_cross_sections_computed_together_is_that_of_single_cases() -> None:
    for phase in ("detection", "tracking"):
        together, alone = Study(2, 2, 0, reading=FEW), Study(2, 2, 0, reading=replace(FEW, sweeps=Sweeps(rcs_dbsm=(7.0,))))
        for known in (True, False):
            for level in (0.0, 10.0):
                case = FEW.with_setup({"rcs_variance_dbsm": level}, phase=phase, clutter_statistics=known)
                one, two = (study.run(case, with_miss=phase == "detection") for study in (together, alone))
                assert_close(one.ratio_db, two.ratio_db, rtol=0, atol=1e-7)
                assert_close(one.miss, two.miss, rtol=1e-6, atol=1e-8)
        # Misses at 0 dBsm come with those at the false-alarm rates of figure roc; 10 dBsm stands alone in the second study.
        assert len(together._known) == (7 if phase == "detection" else 4)
        assert len(alone._known) == (8 if phase == "detection" else 4)


def test_receivers_are_the_nearest_one_for_each_cell() -> None:
    reading = Reading(SMALL).heard_by("nearest")
    for regions, count in ((1, 1), (4, 2)):  # a quarter of eight APs
        cells, _ = Study(3, 1, 0)._networks(reading.with_setup({"num_regions": regions}))
        assert cells.drop.rx_position.shape[1] == count
        gap = torch.cdist(cells.drop.target_position, torch.cat([cells.drop.rx_position, cells.drop.tx_position], 1))
        closest = gap.flatten(1).argmin(1) % gap.shape[2]
        assert bool((closest < count).all())  # the nearest pair of all always listens


def test_averages_differ_as_they_are_written() -> None:
    ratios = {}
    for averaging in ("drop", "energies", "block"):
        case = Reading(SMALL, conditions=Conditions(averaging=averaging)).tracked()
        ratios[averaging] = Study(2, 5, 0).run(case).ratio_db
    assert ratios["block"].shape == (2, 15)
    assert_close((10 ** (ratios["block"].reshape(2, 5, 3) / 10)).mean(1).log10() * 10, ratios["drop"])
    assert not torch.equal(ratios["energies"], ratios["drop"])


def test_tests_of_near_aps_lose_detections_and_those_of_all_lose_none() -> None:
    misses = {}
    for kept in (None, 6, 1):  # of six transmit APs
        case = Reading(SMALL, conditions=Conditions(near=Nearby(kept))).case()
        misses[kept] = Study(2, 5, 0).run(case, with_miss=True).miss
    assert_close(misses[6], misses[None])
    assert float(misses[1].mean()) > 1.05 * float(misses[None].mean())


def test_single_precision_changes_neither_rates_nor_averages() -> None:
    """Other draws of the same law: averages over 40 blocks differ by less than 1 dB; rates need no blocks."""
    for phase in ("detection", "tracking"):
        single, double = (
            Study(2, 40, 0).run(Reading(SMALL, conditions=Conditions(precision=precision)).case(phase=phase))
            for precision in ("single", "double")
        )
        assert torch.equal(single.rate, double.rate)
        assert single.ratio_db.dtype == torch.float64
        assert_close(single.ratio_db, double.ratio_db, rtol=0.0, atol=1.0)


def test_positions_of_beams_change_rates_alone() -> None:
    spread = Conditions(pointing=Pointing(positions=20))
    for phase in ("detection", "tracking"):
        one, two = (Study(2, 1, 0).run(Reading(SMALL, conditions=c).case(phase=phase)) for c in (Conditions(), spread))
        assert torch.equal(one.ratio_db, two.ratio_db)
        assert not torch.equal(one.rate, two.rate)
        assert_close(one.rate.mean(), two.rate.mean(), rtol=0.2, atol=0)


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
        reproduce(tmp_path, quick=True, **options)


@pytest.mark.parametrize(
    "sweep",
    [{"ues": (2, 8)}, {"ues": (4,)}, {"samples": (1, 50)}, {"samples": (10, 50)}, {"samples": (20, 10, 1)}, {"tuples": ()}],
)
def test_sweeps_that_claims_cannot_be_judged_by_are_refused(sweep: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(IsacError, match=next(iter(sweep))):
        Sweeps(**sweep)


@pytest.mark.parametrize("name", ["quick", "paper"])
def test_the_configurations_run(name: str, tmp_path: Path) -> None:
    config = ROOT / "configs" / "reproduce" / f"liesegang_{name}.yaml"
    options = ["--figure", "8", "--num_drops", "2", "--num_blocks", "1", "--output", str(tmp_path)]
    assert cli.main(["reproduce", "liesegang", "--config", str(config), *options]) == 0
    assert (tmp_path / "figure_8.png").exists()


def test_favourable_configurations_make_their_reading_the_default() -> None:
    """What follows the paper's file changes what its text names and leaves the rest."""
    base, pilots, region = (_reading(names) for names in (("paper",), ("paper", "pilots"), ("paper", "region")))
    assert pilots == base.with_pilots(ESTIMABLE_PILOT)
    assert region == replace(base.heard_by("scenario"), sweeps=replace(base.sweeps, regions=(1, 4, 9)))
    for claim in CLAIMS:
        if claim.favourable is not None and claim.favourable.reading(base) != base:
            drawn = {"pilots": pilots, "region": region}[claim.favourable.config.removesuffix(".yaml").rpartition("_")[2]]
            assert claim.favourable.reading(base) == replace(drawn, sweeps=base.sweeps)


def _reading(names: tuple[str, ...]) -> Reading:
    """What a command line with these files gives the study."""
    found: list[Reading] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("isac_torch.evaluation.studies.liesegang.reproduce", lambda *_, reading, **__: found.append(reading))
        cli.main(["reproduce", "liesegang", *(f"--config={ROOT}/configs/reproduce/liesegang_{name}.yaml" for name in names)])
    return found[0]
