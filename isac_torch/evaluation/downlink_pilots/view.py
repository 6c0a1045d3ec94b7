"""How answers of the downlink-pilot system are judged and shown: largest NMSE, localisation bounds, the certified optimum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isac_torch.allocation import Status
from isac_torch.downlink_pilots.drop import DownlinkPilotDrop
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.errors import IsacError
from isac_torch.evaluation.benchmark import Case
from isac_torch.evaluation.downlink_pilots import figures
from isac_torch.evaluation.downlink_pilots.metrics import TIGHT, Outcome, PilotBenchmark, outcome, reference, summarise
from isac_torch.evaluation.tables import drop_kinds, text_table
from isac_torch.evaluation.view import View
from isac_torch.systems import DOWNLINK_PILOTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from isac_torch.evaluation.optimum import Optimum
    from isac_torch.evaluation.tables import Lead

COLUMNS = (
    ("nmse_ratio_mean", "ratio", "{:.4f}"),
    ("nmse_ratio_p95", "p95", "{:.4f}"),
    ("nmse_ratio_max", "max", "{:.4f}"),
    ("crb_violation_rate", "CRB missed", "{:.2%}"),
    ("mean_crb_violation_rate", "mean missed", "{:.2%}"),
    ("power_share_mean", "power", "{:.1%}"),
    ("cpu_ms_per_drop", "CPU ms/drop", "{:.3f}"),
    ("ms_per_drop", "ms/drop", "{:.3f}"),
    ("cpu_ms_single_call", "CPU ms/call", "{:.2f}"),
)
"""Key in summary.json, heading and format of each column."""

CSV_FIELDS = (
    "setting", "drop", "kind", "allocator", "status", "largest_nmse", "least_nmse", "bound_nmse", "largest_crb_m2", "power_w",
)  # fmt: skip

LEADS: tuple[Lead, ...] = (
    ("infeasible", lambda setting: f"{setting['infeasible'] / setting['num_drops']:.1%}"),
    ("active", lambda setting: f"{setting['crb_active_share']:.1%}"),
)
"""Heading and content of the columns between the names of setting and allocator."""


def _check(case: Case[DownlinkPilotScenario], optimum: Optimum) -> None:
    if bool(optimum.infeasible.all()):
        name, limit = case.scenario.name, case.scenario.crb_max
        raise IsacError(f"none of {case.num_drops} drops of {name} can be located to {limit} m2; raise crb_max")


def _csv_lines(found: PilotBenchmark) -> Iterator[dict[str, object]]:
    """One line per allocator and drop."""
    best, kinds = reference(found), drop_kinds(found.optimum)
    for one in found.outcomes:
        columns = (one.value.reciprocal(), best.value.reciprocal(), best.upper_bound.reciprocal(), one.crb, one.power.sum(-1))
        for index, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            status = Status(int(one.status[index])).name.lower()
            cells = (found.name, index, kinds[index], one.name, status, *(f"{value:.9g}" for value in row))
            yield dict(zip(CSV_FIELDS, cells, strict=True))


def _words(summaries: Mapping[str, Any], _: Mapping[str, Any]) -> list[str]:
    """What the terminal shows: the table with its legend."""
    counts = {setting["num_drops"] for setting in summaries.values()}
    certified = min(setting["certified_share"] for setting in summaries.values())
    return [
        text_table(COLUMNS, summaries, LEADS),
        "",
        f"{' or '.join(map(str, sorted(counts)))} fresh drops per setting",
        "ratio: largest NMSE over the optimum's, on feasible drops; CRB missed: share of these with a bound above 1.01 Gamma",
        "mean missed: the same of the bound's mean over the fading",
        "CPU ms/call: processor time of a call for one drop, median of the first 20",
        f"active: feasible drops with a localisation bound within {TIGHT:g} of Gamma at the optimum",
        f"optimum certified to 1e-3 on at least {certified:.1%} of the feasible drops of each setting",
    ]


VIEW: View[DownlinkPilotScenario, DownlinkPilotDrop, MinMaxNmseProblem, Outcome] = View(
    system=DOWNLINK_PILOTS,
    columns=COLUMNS,
    blocks=(),
    csv_fields=CSV_FIELDS,
    check=_check,
    outcome=outcome,
    summarise=summarise,
    csv_lines=_csv_lines,
    pictures=lambda settings: {
        "nmse_ratio": figures.ratio_distributions(settings),
        "learned_v_optimal": figures.learned_v_optimal(settings),
    },
    words=_words,
    facts=lambda scenario: {"crb_max_m2": scenario.crb_max},
    single_calls=20,
    leads=LEADS,
)
"""The downlink-pilot system's view."""
