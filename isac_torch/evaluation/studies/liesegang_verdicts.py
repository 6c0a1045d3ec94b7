"""What verdicts on Liesegang et al. need beside the rules: the study under another reading, and standard errors over drops."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from isac_torch.evaluation.studies.claims import Claim, Verdict
    from isac_torch.evaluation.studies.liesegang_study import Study

_GROUPS = 10
"""Of drops, each left out once for the standard errors."""


def favourable_study(claim: Claim[Study], study: Study) -> Study:
    """The study under the claim's favourable reading, a function of the default one."""
    change = None if claim.favourable is None else claim.favourable.reading
    return study if change is None else study.under(change(study.reading))


def standard_error(study: Study, judge: Callable[[Study], Verdict]) -> float | None:
    """Of the number that decides, over drops: a jackknife that leaves out a tenth of them at a time; None for one drop."""
    groups = min(_GROUPS, study.num_drops)
    if groups < 2:
        return None
    values = [judge(study.without(group, groups))[0] for group in range(groups)]
    mean = sum(values) / groups
    error = math.sqrt((groups - 1) / groups * sum((value - mean) ** 2 for value in values))
    return error if math.isfinite(error) else None
