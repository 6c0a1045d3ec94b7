"""A statement of a paper with the rule that decides it, and the lines of claims.json."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EvidenceT = TypeVar("EvidenceT")
Verdict: TypeAlias = tuple[float, bool, str]
"""Number that decides, whether the claim holds, in words."""


def told(verdict: Verdict) -> tuple[float | None, str, str]:
    """A verdict as claims.json has it: number, None where it is not finite; status; in words."""
    number, holds, how = verdict
    return number if math.isfinite(number) else None, "confirmed" if holds else "not_confirmed", how


@dataclass(frozen=True)
class Claim(Generic[EvidenceT]):
    """A statement of a paper and the rule that decides it.

    Attributes:
        id: as in docs/reproduction.md and docs/downlink_pilots.md.
        figure: of the paper; "ours" for what this project adds.
        study: name of the numbers that decide.
        claim: in our words.
        threshold: the rule.
        judge: the verdict from those numbers.
    """

    id: str
    figure: str
    study: str
    claim: str
    threshold: str
    judge: Callable[[EvidenceT], Verdict]

    def line(self, evidence: EvidenceT, facts: Mapping[str, int]) -> dict[str, Any]:
        """The claim's line of claims.json; a number that is not finite becomes null.

        Args:
            evidence: the numbers that decide.
            facts: how many drops, which seed.
        """
        number, status, how = told(self.judge(evidence))
        return {
            "id": self.id,
            "claim": self.claim,
            "figure": self.figure,
            "threshold": self.threshold,
            "our_number": number,
            **facts,
            "status": status,
            "how": how,
        }


def judge_claims(
    claims: Sequence[Claim[EvidenceT]],
    studies: Mapping[str, EvidenceT],
    facts: Callable[[EvidenceT], Mapping[str, int]],
) -> list[dict[str, Any]]:
    """Verdicts on every claim whose study was run, as the lines of claims.json.

    Args:
        claims: all claims of a paper.
        studies: numbers of each study by its name.
        facts: how many drops, which seed, of a study's numbers.
    """
    known = ((claim, studies[claim.study]) for claim in claims if claim.study in studies)
    return [claim.line(evidence, facts(evidence)) for claim, evidence in known]
