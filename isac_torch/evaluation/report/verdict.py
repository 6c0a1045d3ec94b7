"""The first words of a report: is the policy good, and at what cost to whom?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isac_torch.evaluation.report.tables import number, percent

if TYPE_CHECKING:
    from isac_torch.evaluation.report.tables import Row

_GRADES = (
    (0.97, "good", "nearly as good as the certified optimum"),
    (0.85, "fair", "good, but not near the certified optimum"),
)
"""Least strict mean ratio of a grade, its name in the style sheet, its words; anything below is `poor`."""
_POOR = ("poor", "not good yet")


@dataclass(frozen=True)
class Verdict:
    """What stands first on the page.

    Attributes:
        setting: which the words are about.
        headline: the answer in a line.
        sentences: what it means for UEs, for the radar and for the power bill.
        grade: good, fair or poor.
        tiles: values and what they are.
    """

    setting: str
    headline: str
    sentences: list[str]
    grade: str
    tiles: list[tuple[str, str]] = field(default_factory=list)


def judged(name: str, row: Row) -> tuple[str, str]:
    """Grade and headline of a policy by its strict mean: the mean ratio with 0 for every drop that violates a constraint."""
    strict = row.get("min_rate_ratio_valid_mean")
    strict = row["min_rate_ratio_mean"] if strict is None else strict
    grade, words = next(((grade, words) for least, grade, words in _GRADES if strict >= least), _POOR)
    return (
        grade,
        f"{name} is {words}: it reaches {row['min_rate_ratio_mean']:.1%} of the best possible smallest rate in the mean.",
    )


def sentences(row: Row, times: float | None, simple: str | None) -> list[str]:
    """What the powers of a policy do to constraints, to weak and strong UEs, to the radar and to the power bill.

    Args:
        row: numbers of the policy.
        times: its mean smallest rate over that of the simple rule, None where it is not known.
        simple: the simple rule.
    """
    tail, worst, strict = (number(row, f"min_rate_ratio_{key}") for key in ("p5", "worst", "valid_mean"))
    said = [
        f"Reliability: 5 % of the drops stay below a ratio of {tail}, the worst has {worst}; a constraint is violated in "
        f"{percent(row, 'valid_drop_share', missing=True)} of the drops. With 0 for each of those the mean ratio is {strict}."
    ]
    weak = f"the weakest UE gets {times:.2f} times what {simple} gives it" if times is not None and simple else ""
    mean = row.get("mean_rate_over_upc")
    if weak and mean is not None:
        cost = "the strong UEs pay for it" if mean < 1.0 else "nobody pays for it in the mean"
        said.append(f"UEs: {weak}; the mean rate is {mean:.2f} times that of uniform power: {cost}.")
    elif weak:
        said.append(f"UEs: {weak}.")
    said += _radar(row)
    watts = row.get("power_w_mean")
    said += [f"Power: all APs together send {watts:.1f} W in the mean."] if watts is not None else []
    return said


def _radar(row: Row) -> list[str]:
    """What the radar gains or loses against uniform power."""
    sicnr, miss = row.get("sicnr_minus_upc_db_mean"), row.get("miss_probability_minus_upc")
    if sicnr is None or miss is None:
        return [f"Radar: {percent(row, 'sir_violation_rate')} of the targets stay below the sensing SIR that is asked for."]
    worse = sicnr < -0.2 or miss > 0.01
    words = "the radar pays" if worse else "the radar loses next to nothing" if sicnr < 0.2 else "the radar gains"
    return [
        f"Radar: {words}. Against uniform power, the SICNR changes by {sicnr:+.2f} dB and the share of missed targets by "
        f"{100 * miss:+.1f} percentage points."
    ]
