"""Verdicts of every claim on made-up averages: each holds on numbers made for it and fails with each of its conditions."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from isac_torch.evaluation.studies import liao_claims, liesegang_claims
from isac_torch.evaluation.studies.claims import Claim, judge_claims
from isac_torch.evaluation.studies.liao_study import QUANTITIES, Sample, points
from isac_torch.evaluation.studies.liesegang_cases import NO_SENSING, Case, Policy, Reading, Sweeps
from isac_torch.evaluation.studies.liesegang_study import Result
from isac_torch.evaluation.studies.liesegang_verdicts import favourable_study, standard_error

LIESEGANG = {claim.id: claim for claim in liesegang_claims.CLAIMS}
LIAO = {claim.id: claim for claim in liao_claims.CLAIMS}


@dataclass
class MadeUp:
    """A study of Liesegang et al. whose numbers are functions of the case: dB, Mbit/s, probability."""

    ratio: Callable[[Case], float] = lambda case: 0.0
    rate: Callable[[Case], float] = lambda case: 1.0
    miss: Callable[[Case], float] = lambda case: 0.5
    asked: list[Case] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)
    num_drops: int = 2

    def under(self, reading: Reading) -> "MadeUp":
        return replace(self, reading=reading, asked=[])

    def without(self, group: int, groups: int) -> "MadeUp":
        return self

    def run(self, case: Case, *, with_miss: bool = False) -> Result:
        self.asked.append(case)
        full = (torch.full((2, 3), value, dtype=torch.float64) for value in (self.ratio(case), 1e6 * self.rate(case)))
        ratio, rate = full
        return Result(ratio, rate, torch.full((2, 3), self.miss(case), dtype=torch.float64) if with_miss else ratio[:, :0])


def rcs(case: Case) -> int:
    return Sweeps().rcs_dbsm.index(case.setup.rcs_variance_dbsm)


def clutter(case: Case) -> int:
    return Sweeps().clutter.index(case.setup.clutter_factor)


def samples(values: list[float]) -> Callable[[Case], float]:
    return lambda case: values[Sweeps().samples.index(case.setup.sensing_samples or 50)]


def pair(case: Case) -> tuple[float, float]:
    assert isinstance(case.policy, Policy)
    return case.policy.comm_exponent, case.policy.sensing_exponent


def by_policy(**values: float) -> Callable[[Case], float]:
    """Values of the two designs, of fractional control, and of single kinds of beams."""
    same = {"opc_batched_sensing": "opc_sensing"}  # the favourable reading's
    return lambda case: values[same.get(case.policy, case.policy) if isinstance(case.policy, str) else case.policy.beams]


def dominating(rate: float, ratio: float, pilot: float) -> MadeUp:
    """The design that dominates uniform power against fractional control at 1 Mbit/s and 3 dB, at the right setting."""

    def of(value: float, other: float) -> Callable[[Case], float]:
        return lambda case: value if isinstance(case.policy, str) and asked(case) else other

    def asked(case: Case) -> bool:
        required = case.scenario.requirement
        return (required.kind, required.sicnr, case.scenario.pilot_power) == ("dominate", 1.2, pilot)

    return MadeUp(rate=of(rate, 1.0), ratio=of(ratio, 3.0))


def of_kinds(**values: float) -> Callable[[Case], float]:
    return lambda case: values[case.association]


def trends(case: Case) -> float:
    return 0.9 * 0.5 ** rcs(case) * (clutter(case) + 1) / 3


REGIONS = {1: 7.0, 4: 6.0, 9: 5.0}
LIESEGANG_CASES: dict[str, tuple[list[MadeUp], list[MadeUp]]] = {
    "B-2-1": (
        [MadeUp(miss=trends), MadeUp(miss=lambda c: 1e-5)],  # below 1e-4 nothing is told apart
        [
            MadeUp(miss=lambda c: trends(c) if (rcs(c), clutter(c)) != (2, 1) else 0.9),
            MadeUp(miss=lambda c: 0.9 * 0.5 ** rcs(c) * (1 - clutter(c) / 5)),
            MadeUp(miss=lambda c: 0.5 ** rcs(c)),
            MadeUp(miss=lambda c: 0.3 * (clutter(c) + 1)),
        ],
    ),
    "B-2-2": (
        [MadeUp(miss=lambda c: 0.1 * (clutter(c) + 1) if c.policy == NO_SENSING else 0.05)],
        [
            MadeUp(miss=lambda c: (0.04, 0.2, 0.3)[clutter(c)] if c.policy == NO_SENSING else 0.05),
            MadeUp(miss=lambda c: (0.1, 0.4, 0.3)[clutter(c)] if c.policy == NO_SENSING else 0.05),
            MadeUp(miss=lambda c: 0.05),
        ],
    ),
    "B-2-3": (
        [MadeUp(miss=lambda c: 0.1 if c.clutter_statistics else 0.201)],
        [MadeUp(miss=lambda c: 0.1 if c.clutter_statistics else 0.199 if clutter(c) == 1 else 0.9)],
    ),
    "B-3": (
        [MadeUp(ratio=lambda c: 0.5, miss=lambda c: 0.1), MadeUp(ratio=lambda c: 0.2 * rcs(c), miss=lambda c: 0.01)],
        [MadeUp(ratio=lambda c: 0.5, miss=lambda c: 0.11), MadeUp(ratio=lambda c: -2.0, miss=lambda c: 0.0)],
    ),
    "B-4-1": (
        [MadeUp(ratio=lambda c: -abs(c.scenario.num_ues - 4.0))],
        [MadeUp(ratio=lambda c: -abs(c.scenario.num_ues - 8.0)), MadeUp(ratio=lambda c: -abs(c.scenario.num_ues - 2.0))],
    ),
    "B-4-2": (
        [MadeUp(ratio=samples([0.0, 1.0, 4.0, 9.0, 10.0, 48.0]))],
        [
            MadeUp(ratio=samples([0.0, 1.0, 0.9, 9.0, 10.0, 11.0])),
            MadeUp(ratio=samples([0.0, 1.0, 4.0, 9.0, 10.0, 50.0])),
        ],
    ),
    "B-5-1": (
        [MadeUp(ratio=of_kinds(utc=3, uc=2, tc=3, cf=1), rate=of_kinds(utc=5, uc=5, tc=4, cf=3))],
        [
            MadeUp(ratio=of_kinds(utc=3, uc=2, tc=3.1, cf=1), rate=of_kinds(utc=5, uc=5, tc=4, cf=3)),
            MadeUp(ratio=of_kinds(utc=3, uc=2, tc=3, cf=1), rate=of_kinds(utc=5, uc=5.1, tc=4, cf=3)),
        ],
    ),
    "B-5-2": (
        [MadeUp(ratio=lambda c: -abs(c.setup.num_regions - 4.0))],
        [MadeUp(ratio=lambda c: float(c.setup.num_regions)), MadeUp(ratio=lambda c: -float(c.setup.num_regions))],
    ),
    "B-5-3": (
        [MadeUp(rate=lambda c: REGIONS[c.setup.num_regions])],
        [
            MadeUp(rate=lambda c: {1: 7.0, 4: 7.5, 9: 5.0}[c.setup.num_regions]),
            MadeUp(rate=lambda c: {1: 7.0, 4: 6.0, 9: 6.5}[c.setup.num_regions]),
        ],
    ),
    "B-6-1": (
        [MadeUp(rate=lambda c: 1 + pair(c)[1], ratio=lambda c: -0.99 * pair(c)[1])],
        [
            MadeUp(rate=lambda c: 1 + pair(c)[1] * (1 - 1.1 * pair(c)[0])),
            MadeUp(rate=lambda c: 1 + pair(c)[1], ratio=lambda c: -1.01 * pair(c)[1] * pair(c)[0]),
        ],
    ),
    "B-6-2": (
        [MadeUp(rate=lambda c: {(0, 1): 0.96}.get(pair(c), 1.0), ratio=lambda c: {(0, 1): -0.9}.get(pair(c), 0.0))],
        [
            MadeUp(rate=lambda c: {(0, 1): 0.94}.get(pair(c), 1.0)),
            MadeUp(ratio=lambda c: {(0, 1): -1.1}.get(pair(c), 0.0)),
        ],
    ),
    "B-7-1": (
        [MadeUp(ratio=lambda c: -(2.0 ** -rcs(c)))],
        [MadeUp(ratio=lambda c: float(rcs(c))), MadeUp(ratio=lambda c: (0.0, 9.0, 10.0, 12.0, 12.5)[rcs(c)])],
    ),
    "B-7-2": (
        [MadeUp(ratio=lambda c: -(5.0 - rcs(c)) if c.policy == NO_SENSING else 0.0)],
        [
            MadeUp(ratio=lambda c: -(1.0 + rcs(c)) if c.policy == NO_SENSING else 0.0),
            MadeUp(ratio=lambda c: -(9.0, 9.0, 3.0, 2.0, 2.1)[rcs(c)] if c.policy == NO_SENSING else 0.0),
        ],
    ),
    "B-7-3": (
        [MadeUp(ratio=lambda c: -clutter(c) * (0.5 if c.phase == "tracking" else 1.0))],
        [MadeUp(ratio=lambda c: -clutter(c) * (0.51 if c.phase == "tracking" else 1.0))],
    ),
    "B-8-1": (
        [MadeUp(rate=lambda c: 1 + pair(c)[1], ratio=lambda c: -9.0 * pair(c)[1])],
        [MadeUp(rate=lambda c: 1 + pair(c)[1] * (1 - 1.1 * pair(c)[0])), MadeUp()],
    ),
    "B-8-2": (
        [MadeUp(ratio=by_policy(both=7, data=6, probe=5))],
        [MadeUp(ratio=by_policy(both=7, data=5, probe=6)), MadeUp(ratio=by_policy(both=7, data=5, probe=5))],
    ),
    "B-9-1": (
        [
            MadeUp(
                rate=by_policy(opc_communication=2, opc_sensing=1.5, both=1),
                ratio=by_policy(opc_communication=3, opc_sensing=3, both=3),
            )
        ],
        [
            MadeUp(
                rate=by_policy(opc_communication=2, opc_sensing=0.9, both=1),
                ratio=by_policy(opc_communication=3, opc_sensing=3, both=3),
            ),
            MadeUp(
                rate=by_policy(opc_communication=2, opc_sensing=1.5, both=1),
                ratio=by_policy(opc_communication=2.9, opc_sensing=3, both=3),
            ),
        ],
    ),
    "B-9-1b": ([dominating(1.1, 3.1, 1e-4)], [dominating(0.9, 3.1, 1e-4), dominating(1.1, 2.9, 1e-4)]),
    "B-9-2": (
        [MadeUp(rate=by_policy(opc_communication=1.2, opc_sensing=1), ratio=by_policy(opc_communication=0, opc_sensing=0.5))],
        [
            MadeUp(rate=by_policy(opc_communication=1.1, opc_sensing=1), ratio=by_policy(opc_communication=0, opc_sensing=0.5)),
            MadeUp(rate=by_policy(opc_communication=2, opc_sensing=1), ratio=by_policy(opc_communication=0, opc_sensing=-0.1)),
        ],
    ),
}


def liesegang_line(name: str, study: MadeUp) -> dict[str, Any]:
    return LIESEGANG[name].line(study, {}, favourable_study, standard_error)


@pytest.mark.parametrize("name", LIESEGANG)
def test_verdicts_on_liesegang_et_al(name: str) -> None:
    holding, failing = LIESEGANG_CASES[name]
    for study in holding:
        assert liesegang_line(name, study)["default"] == "confirmed"
    for study in failing:
        assert liesegang_line(name, study)["default"] == "not_confirmed"
    tracked = {case.phase for case in holding[0].asked}
    assert tracked == {"detection"} if name < "B-7" else "tracking" in tracked


def test_the_favourable_reading_changes_what_the_claim_says_and_nothing_else() -> None:
    line = liesegang_line("B-9-1b", dominating(1.1, 3.1, 1e-2))
    assert (line["default"], line["favourable"]) == ("not_confirmed", "confirmed")
    near = MadeUp(ratio=lambda c: -abs(c.setup.num_regions - 4.0) if c.conditions.receivers == "nearest" else 0.0)
    line = liesegang_line("B-5-2", near)
    assert (line["default"], line["favourable"]) == ("not_confirmed", "confirmed")
    alone = MadeUp(
        ratio=of_kinds(utc=3, uc=2, tc=3, cf=1), rate=lambda c: 5.0 + (c.association == "uc") * (c.setup.num_regions > 1)
    )
    line = liesegang_line("B-5-1", alone)
    assert (line["default"], line["favourable"]) == ("not_confirmed", "confirmed")
    for line in (liesegang_line(name, LIESEGANG_CASES[name][0][0]) for name in ("B-4-2", "B-6-1")):
        assert line["favourable"] == line["default"] == "confirmed"
        assert line["standard_error"] == 0.0  # a made-up study has no random drops


def test_every_claim_that_can_fail_says_whose_fault_it_is() -> None:
    assert all(claim.fault for claim in liesegang_claims.CLAIMS if claim.favourable is not None)


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
    assert len(LIESEGANG) + len(LIAO) == 39
    samples = made_up("correlation_6", {})
    lines = judge_claims(liao_claims.CLAIMS, {"correlation_6": samples}, lambda _: {"seed": 7}, lambda _, known: known)
    assert [line["id"] for line in lines] == ["A-10b", "O-4"]
    assert lines[0]["our_number"] is None  # never crossed: NaN
    assert lines[0]["seed"] == 7
    assert math.isfinite(lines[1]["our_number"])
