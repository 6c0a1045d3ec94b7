"""Verdicts on a claim under two readings of the paper, with standard errors; the lines of claims.json."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isac_torch.evaluation.studies.claims import Claim, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from isac_torch.evaluation.studies.claims import Verdict
    from isac_torch.evaluation.studies.liesegang_cases import Reading
    from isac_torch.evaluation.studies.liesegang_study import Study

_GROUPS = 10
"""Of drops, each left out once for the standard errors."""


def _same(reading: Reading) -> Reading:
    return reading


@dataclass(frozen=True)
class Favourable:
    """The reading of the paper that favours a claim most; its words name every departure from the text.

    Attributes:
        words: what differs from the default reading.
        judge: the verdict under it.
        reading: makes it from the default reading.
    """

    words: str
    judge: Callable[[Study], Verdict]
    reading: Callable[[Reading], Reading] = _same


@dataclass(frozen=True)
class ReadClaim(Claim["Study"]):
    """A claim that is judged by default and under the most favourable reading.

    Attributes:
        favourable: that reading; None where the default is it.
        fault: why the two differ, or why the claim fails, in one sentence.
    """

    favourable: Favourable | None = None
    fault: str = ""

    def line(self, evidence: Study, facts: Mapping[str, int]) -> dict[str, Any]:
        """The claim's line of claims.json: status by default and under the favourable reading, each with its standard error."""
        row = super().line(evidence, facts)
        row["standard_error"] = standard_error(evidence, self.judge)
        row["default"] = row["status"]
        other = self.favourable
        if other is None:
            return row | {"favourable": row["status"], "favourable_reading": "the same", "fault": self.fault}
        study = evidence.under(other.reading(evidence.reading))
        number, status, how = told(other.judge(study))
        return row | {
            "favourable": status,
            "favourable_reading": other.words,
            "favourable_number": number,
            "favourable_standard_error": standard_error(study, other.judge),
            "favourable_how": how,
            "fault": self.fault,
        }


def standard_error(study: Study, judge: Callable[[Study], Verdict]) -> float | None:
    """Of the number that decides, over drops: a jackknife that leaves out a tenth of them at a time; None for one drop."""
    groups = min(_GROUPS, study.num_drops)
    if groups < 2:
        return None
    values = [judge(study.without(group, groups))[0] for group in range(groups)]
    mean = sum(values) / groups
    error = math.sqrt((groups - 1) / groups * sum((value - mean) ** 2 for value in values))
    return error if math.isfinite(error) else None
