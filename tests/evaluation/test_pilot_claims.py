"""Verdicts on the claims of Liao et al., on made-up averages that confirm them and that break each condition in turn."""

import math
from typing import Any

import pytest
import torch

from isac_torch.evaluation.studies import liao_claims, liesegang_claims
from isac_torch.evaluation.studies.claims import Claim, judge_claims
from isac_torch.evaluation.studies.liao_study import QUANTITIES, Sample, points

LIAO = {claim.id: claim for claim in liao_claims.CLAIMS}


def made_up(study: str, values: dict[tuple[str, str], list[float]]) -> list[Sample]:
    """Samples of four equal drops with the given averages by (scheme, quantity), a value per point; others are 1."""
    chosen = points(study)
    schemes = ("full", "sca_paper", "ours", "ours_slack_5", "ours_as_full", "existing", "no_dl")
    table = {name: torch.ones(len(chosen), 4, len(QUANTITIES), dtype=torch.float64) for name in schemes}
    for (scheme, quantity), line in values.items():
        assert len(line) == len(chosen)
        table[scheme][:, :, QUANTITIES.index(quantity)] = torch.tensor(line, dtype=torch.float64).unsqueeze(-1)
    return [Sample(point, {name: table[name][i] for name in schemes}) for i, point in enumerate(chosen)]


RATIOS, PROPORTIONS, CORRELATIONS = 7, 9, 11
SCA, FULL, OURS, NONE, OLD = ("sca_paper", "full", "ours", "no_dl", "existing")
FALLING = [0.8**i for i in range(PROPORTIONS)]
FLAT = [*FALLING[:7], FALLING[6], FALLING[6]]  # falls until 40 %, then stays
SAVED = [0.0, 0.02, 0.05, 0.1, 0.12, 0.15, 0.17]
CROSSING = [i / 10 for i in range(CORRELATIONS)]


def spent(saved: list[float]) -> list[float]:
    return [1.0 - value for value in saved]


Values = dict[tuple[str, str], list[float]]
LIAO_CASES: dict[str, tuple[list[Values], list[Values]]] = {
    "A-4a-1": (
        [{(NONE, "nmse"): [10**1.21] * RATIOS}],
        [{(NONE, "nmse"): [10**1.19] * RATIOS}, {(NONE, "nmse"): [20.0] * RATIOS, (FULL, "nmse"): [4.0] * RATIOS}],
    ),
    "A-4a-2": (
        [{(SCA, "nmse"): [7, 6, 5, 4, 3, 2, 2.1]}],
        [{(SCA, "nmse"): [7, 6, 6.5, 4, 3, 2, 1]}, {(SCA, "nmse"): [7, 6, 5, 4, 3, 2, 2]}],
    ),
    "A-4a-3": (
        [{(SCA, "nmse"): [9, 8, 7, 6, 5, 2, 3]}],
        [
            {(SCA, "nmse"): [9, 8, 7, 6, 5, 3, 2]},
            {(SCA, "nmse"): [9, 8, 7, 6, 5, 2, 3], (FULL, "nmse"): [4.0] * RATIOS},
            {(SCA, "nmse"): [9, 8, 7, 6, 5, 3, 3]},
        ],
    ),
    "A-4b": ([{(SCA, "rate"): [1.1] * RATIOS}], [{(SCA, "rate"): [1.04] * RATIOS}, {(SCA, "rate"): [1.16] * RATIOS}]),
    "A-5-1": (
        [{(scheme, "crb"): [1.01, *[0.5] * 6] for scheme in (FULL, SCA, OLD)}],
        [
            {(scheme, "crb"): [1.01 if scheme != one else 1.0, *[0.5] * 6] for scheme in (FULL, SCA, OLD)}
            for one in (FULL, SCA, OLD)
        ],
    ),
    "A-5-2": (
        [{(FULL, "crb"): [2, 2, 0.9, 0.9, 0.9, 0.9, 1.0]}],
        [{(FULL, "crb"): [2, 2, 0.9, 0.9, 1.01, 0.9, 0.9]}, {(OLD, "crb"): [2, 2, 2, 2, 2, 0.9, 2]}],
    ),
    "A-5-3": (
        [{(OLD, "crb"): [1, 1.1, 1, 1, 0.9, 0.8, 0.7]}],
        [
            {(OLD, "crb"): [1, 1.1, 1, 0.9, 0.9, 0.8, 0.7]},
            {(OLD, "crb"): [1, 1, 1, 1, 1, 0.9, 0.9]},
            {(OLD, "crb"): [1.1] * RATIOS},
        ],
    ),
    "A-6": (
        [{(SCA, "power"): spent(SAVED)}],
        [
            {(SCA, "power"): spent([value / 2 for value in SAVED])},
            {(SCA, "power"): spent([value * 2 for value in SAVED])},
            {(SCA, "power"): spent([*SAVED[:5], 0.17, 0.15])},
        ],
    ),
    "A-7a": (
        [{(SCA, "nmse"): FLAT, (FULL, "nmse"): FLAT}],
        [
            {(SCA, "nmse"): FALLING, (FULL, "nmse"): FALLING},
            {(SCA, "nmse"): [1, 1.1, *FLAT[2:]], (FULL, "nmse"): FLAT},
            {(SCA, "nmse"): FLAT, (FULL, "nmse"): [*FLAT[:3], FLAT[2], *FLAT[4:]]},
        ],
    ),
    "A-7b": (
        [{(SCA, "rate"): [1.0, *[1.04] * 8]}],
        [{(SCA, "rate"): [1.0, *[1.06] * 8]}],
    ),
    "A-8-1": (
        [{(scheme, "crb"): [2, 2, 2, *[0.5] * 6] for scheme in (FULL, SCA)}],
        [
            {(FULL, "crb"): [2, 2, 2, *[0.5] * 6], (SCA, "crb"): [2, 2, 2, 2, *[0.5] * 5]},
            {(scheme, "crb"): [2, 2, *[0.5] * 7] for scheme in (FULL, SCA)},
            {(scheme, "crb"): [2] * PROPORTIONS for scheme in (FULL, SCA)},
        ],
    ),
    "A-T": (
        [{(scheme, "nmse"): [9, 8, 7, 6, 5, 4, 4.1] for scheme in (FULL, SCA)}],
        [{(scheme, "nmse"): [9, 8, 7, 6, 5, 4, 4.1 if scheme == one else 4] for scheme in (FULL, SCA)} for one in (FULL, SCA)],
    ),
    "A-8-2": (
        [{(FULL, "crb"): [7, 6, 5, 4, 3, 2, 1, 0.8, 0.6]}],
        [{(FULL, "crb"): [7, 6, 5, 4, 3, 2, 1, 0.7, 0.4]}],
    ),
    "A-9": (
        [{(SCA, "power"): [0.9] * PROPORTIONS}],
        [{(SCA, "power"): [0.96] * PROPORTIONS}, {(SCA, "power"): [0.84] * PROPORTIONS}],
    ),
    "A-10a": (
        [{(SCA, "nmse"): [0.1, *[0.2] * 9, 0.9], (FULL, "nmse"): [0.1, *[0.2] * 9, 0.8]}],
        [
            {(SCA, "nmse"): [0.1, *[0.2] * 9, 0.7], (FULL, "nmse"): [0.1, *[0.2] * 9, 0.8]},
            {(SCA, "nmse"): [0.1, 1.1, *[0.2] * 8, 0.9], (FULL, "nmse"): [0.1, *[0.2] * 9, 0.8]},
            {(SCA, "nmse"): [0.1, *[0.2] * 9, 0.9], (FULL, "nmse"): [0.1, *[1.1] * 9, 0.8]},
        ],
    ),
    "A-10b": (
        [{(SCA, "nmse"): CROSSING, (NONE, "nmse"): [limit] * CORRELATIONS} for limit in (0.45, 0.55, 0.65)],
        [{(SCA, "nmse"): CROSSING, (NONE, "nmse"): [limit] * CORRELATIONS} for limit in (0.35, 0.75, 2.0)],
    ),
    "O-1": (
        [{(OURS, "nmse"): [1.0] * RATIOS}, {(OURS, "nmse"): [1.1] * RATIOS, (SCA, "met"): [0.0, *[1.0] * 6]}],
        [{(OURS, "nmse"): [*[1.0] * 6, 1.0001]}],
    ),
    "O-2": (
        [{("ours_as_full", "power"): [0.8] * RATIOS, (SCA, "power"): [0.81] * RATIOS}],
        [{("ours_as_full", "power"): [0.82] * RATIOS, (SCA, "power"): [0.81] * RATIOS}],
    ),
    "O-3": (
        [{(FULL, "printed_nmse"): [*[1.0] * 10, 0.6]}],
        [{(FULL, "printed_nmse"): [*[1.0] * 10, 0.7]}],
    ),
    "O-4": (
        [{(FULL, "printed_nmse"): [*[1.0] * 10, 0.6]}],
        [{(FULL, "printed_nmse"): [*[1.0] * 10, 0.7]}],
    ),
}
# Where both meet every constraint on the first point only, that point decides.
LIAO_CASES["O-1"][0][1][(OURS, "nmse")] = [1.1, *[1.0] * 6]
LIAO_FAVOURABLE: dict[str, tuple[list[Values], list[Values]]] = {
    "A-5-1": (
        [{(scheme, "worst_crb"): [1.1, *[0.5] * 6] for scheme in (FULL, SCA, OLD)}],
        [
            {(scheme, "worst_crb"): [1.1 if scheme != one else 0.9, *[0.5] * 6] for scheme in (FULL, SCA, OLD)}
            for one in (FULL, SCA, OLD)
        ],
    ),
    "A-8-1": (
        [{(scheme, "worst_crb"): [2, 2, 2, *[0.5] * 6] for scheme in (FULL, SCA)}],
        [
            {(FULL, "worst_crb"): [2, 2, 2, *[0.5] * 6], (SCA, "worst_crb"): [2, 2, 2, 2, *[0.5] * 5]},
            {(scheme, "worst_crb"): [2, 2, *[0.5] * 7] for scheme in (FULL, SCA)},
            {(scheme, "worst_crb"): [2] * PROPORTIONS for scheme in (FULL, SCA)},
        ],
    ),
    "A-4a-3": (
        [{(SCA, "nmse"): [9, 8, 7, 6, 5, 3, 2], (FULL, "nmse"): [1.9] * RATIOS}],
        [{(SCA, "nmse"): [9, 8, 7, 6, 5, 3, 2], (FULL, "nmse"): [2.1] * RATIOS}],
    ),
    "A-T": (
        [{(scheme, "nmse"): [4, 3, 2, 3] for scheme in (FULL, SCA)}],
        [{(FULL, "nmse"): [4, 3, 2, 3], (SCA, "nmse"): [4, 3, 2, 1]}],
    ),
    "A-10b": LIAO_CASES["A-10b"],
}


def pilot_line(claim: Claim[Any], evidence: Any, other: Any = None) -> dict[str, Any]:
    """The claim's line; `other` decides under the favourable reading, where it is not what decides by default."""
    return claim.line(evidence, {"num_drops": 4, "seed": 7}, lambda _, known: known if other is None else other)


@pytest.mark.parametrize("name", LIAO)
def test_verdicts_on_liao_et_al(name: str) -> None:
    study = LIAO[name].study
    holding, failing = LIAO_CASES[name]
    for verdict, cases in (("confirmed", holding), ("not_confirmed", failing)):
        for values in cases:
            assert pilot_line(LIAO[name], made_up(study, values))["default"] == verdict


@pytest.mark.parametrize("name", LIAO_FAVOURABLE)
def test_favourable_verdicts_on_liao_et_al(name: str) -> None:
    claim = LIAO[name]
    assert claim.favourable is not None
    ours = made_up(claim.study, {})
    for verdict, cases in zip(("confirmed", "not_confirmed"), LIAO_FAVOURABLE[name], strict=True):
        for values in cases:
            other = made_up(claim.favourable.study or claim.study, values)
            line = pilot_line(claim, ours, other)
            assert line["favourable"] == verdict
            assert line["favourable_reading"] not in ("", "the same")
            assert line["default"] == pilot_line(claim, ours)["default"]


@pytest.mark.parametrize(("share", "status"), [(0.51, "confirmed"), (0.5, "not_confirmed")])
def test_verdict_on_the_power_map(share: float, status: str) -> None:
    shares = {"full": 0.5, "sca_paper": share}
    assert pilot_line(liao_claims.POWER_MAP, shares)["default"] == status


def test_verdict_on_the_convergence() -> None:
    """Nine of ten drops must end at a KKT point."""
    near, far = [0.01] * 9 + [0.4], [0.01] * 8 + [0.4] * 2
    line = pilot_line(liao_claims.STATIONARY, {"printed": far, "reopened": near})
    assert (line["default"], line["favourable"]) == ("not_confirmed", "confirmed")


def test_lines_hold_facts_and_no_nan() -> None:
    assert len(liesegang_claims.CLAIMS) + len(LIAO) == 39
    samples = made_up("correlation_6", {})
    lines = judge_claims(liao_claims.CLAIMS, {"correlation_6": samples}, lambda _: {"seed": 7}, lambda _, known: known)
    assert [line["id"] for line in lines] == ["A-10b", "O-4"]
    assert lines[0]["our_number"] is None  # never crossed: NaN
    assert lines[0]["seed"] == 7
    assert math.isfinite(lines[1]["our_number"])
