"""Verdicts on the claims of Liesegang et al., on made-up averages that confirm them and that break each condition in turn."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from isac_torch.evaluation.studies import liesegang_claims
from isac_torch.evaluation.studies.liesegang_cases import NO_SENSING, Case, Policy, Reading, Sweeps
from isac_torch.evaluation.studies.liesegang_study import Result
from isac_torch.evaluation.studies.liesegang_verdicts import favourable_study, standard_error

LIESEGANG = {claim.id: claim for claim in liesegang_claims.CLAIMS}


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
