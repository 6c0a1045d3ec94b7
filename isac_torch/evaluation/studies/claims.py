"""A statement of a paper with the rule that decides it under two readings of the paper, and the lines of claims.json."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EvidenceT = TypeVar("EvidenceT")
Verdict: TypeAlias = tuple[float, bool, str]
"""Number that decides, whether the claim holds, in words."""


def _unknown(_evidence: object, _judge: object) -> None:
    """The standard error of a study that gives none."""


@dataclass(frozen=True)
class Favourable(Generic[EvidenceT]):
    """The reading of the paper that favours a claim most.

    Attributes:
        words: what it reads differently.
        judge: the rule; None: that of the claim.
        reading: what makes the numbers that decide from those of the default reading, as the study of the paper wants it; None
            where they are the same.
        study: whose numbers decide; empty: the claim's.
        config: file that draws the figure so, after the configuration of the run; empty: that one alone.
    """

    words: str
    judge: Callable[[EvidenceT], Verdict] | None = None
    reading: Any = None
    study: str = ""
    config: str = ""


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
        fault: one sentence: why the two readings differ, why the claim fails, or what else is to be said; may be empty.
        favourable: the other reading; None where the default is it.
    """

    id: str
    figure: str
    study: str
    claim: str
    threshold: str
    judge: Callable[[EvidenceT], Verdict]
    fault: str = ""
    favourable: Favourable[EvidenceT] | None = None

    def line(
        self,
        evidence: EvidenceT,
        facts: Mapping[str, int],
        elsewhere: Callable[[Claim[EvidenceT], EvidenceT], EvidenceT],
        error: Callable[[EvidenceT, Callable[[EvidenceT], Verdict]], float | None] = _unknown,
    ) -> dict[str, Any]:
        """The claim's line of claims.json: its verdicts by default and under the favourable reading.

        Args:
            evidence: the numbers that decide.
            facts: how many drops, which seed.
            elsewhere: the numbers under the favourable reading, from the claim and `evidence`; asked only where there is one.
            error: standard error of a verdict's number; null in the line where it is None.
        """
        default = _told(self.judge(evidence)) | {"standard_error": error(evidence, self.judge)}
        words, config, favourable = "the same", "", default
        if self.favourable is not None:
            other, judge = elsewhere(self, evidence), self.favourable.judge or self.judge
            words, config = self.favourable.words, self.favourable.config
            favourable = _told(judge(other)) | {"standard_error": error(other, judge)}
        return {
            "id": self.id,
            "claim": self.claim,
            "figure": self.figure,
            "threshold": self.threshold,
            **facts,
            "default": default["status"],
            "our_number": default["number"],
            "standard_error": default["standard_error"],
            "how": default["how"],
            "favourable": favourable["status"],
            "favourable_reading": words,
            "favourable_config": config,
            "favourable_number": favourable["number"],
            "favourable_standard_error": favourable["standard_error"],
            "favourable_how": favourable["how"],
            "fault": self.fault,
        }


def _told(verdict: Verdict) -> dict[str, Any]:
    """A verdict as claims.json has it; a number that is not finite becomes null."""
    number, holds, how = verdict
    status = "confirmed" if holds else "not_confirmed"
    return {"number": number if math.isfinite(number) else None, "status": status, "how": how}


def judge_claims(
    claims: Sequence[Claim[EvidenceT]],
    studies: Mapping[str, EvidenceT],
    facts: Callable[[EvidenceT], Mapping[str, int]],
    elsewhere: Callable[[Claim[EvidenceT], EvidenceT], EvidenceT],
    error: Callable[[EvidenceT, Callable[[EvidenceT], Verdict]], float | None] = _unknown,
) -> list[dict[str, Any]]:
    """Verdicts on every claim whose study was run, as the lines of claims.json.

    Args:
        claims: all claims of a paper.
        studies: numbers of each study by its name.
        facts: how many drops, which seed, of a study's numbers.
        elsewhere: as in `Claim.line`.
        error: as in `Claim.line`.
    """
    known = ((claim, studies[claim.study]) for claim in claims if claim.study in studies)
    return [claim.line(evidence, facts(evidence), elsewhere, error) for claim, evidence in known]
