"""How answers of the power-control system are judged and shown: by SINR, sensing SIR, true echoes and the certified optimum."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from isac_torch.allocation import Allocation, Status, allocate
from isac_torch.allocators.tracking.heuristics import Fractional
from isac_torch.evaluation.benchmark import Benchmark, Case, Part
from isac_torch.evaluation.measure import draw
from isac_torch.evaluation.results import CERTIFIED_GAP
from isac_torch.evaluation.tables import decibel, drop_kinds, numeric, text_table
from isac_torch.evaluation.tracking import figures, policy_figures
from isac_torch.evaluation.tracking.board import write_curves
from isac_torch.evaluation.tracking.columns import BLOCKS, COLUMNS, CSV_FIELDS, SENSING_COLUMNS
from isac_torch.evaluation.tracking.metrics import Outcome, Sensed, rate_ratio, summarise
from isac_torch.evaluation.tracking.policies import DOMINATE, KEPT_ROLES, POLICIES, vary
from isac_torch.evaluation.view import View
from isac_torch.sensing.glrt import Glrt
from isac_torch.sensing.quality import assess, mutual_information
from isac_torch.solvers.tracking.feasibility import largest_sir
from isac_torch.systems import TRACKING
from isac_torch.tensors import cat_tensors
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.communication import rate
from isac_torch.tracking.drop import TrackingDrop
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.requirements import require
from isac_torch.tracking.scenario import TrackingScenario
from isac_torch.units import db_to_linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

TrackingBenchmark: TypeAlias = Benchmark[TrackingScenario, TrackingDrop, MaxMinSinrProblem, Outcome]
_LEARNED = ("gnn_dominate", "gnn", "first_order")
_CHUNK = 64


def fresh_problem(
    scenario: TrackingScenario, num_drops: int, seed: int, *, progress: bool = True
) -> tuple[TrackingDrop, MaxMinSinrProblem]:
    """The drops of `seed` and their power problem."""
    return draw(TRACKING, scenario, num_drops, seed, progress=progress)


def demanding(problem: MaxMinSinrProblem, below_db: float) -> MaxMinSinrProblem:
    """The same drops, each with an SIR0 that lies `below_db` dB below the largest that any powers reach there."""
    best = largest_sir(problem).best_sir
    return replace(problem, sir_min=(best * db_to_linear(-below_db)).unsqueeze(-1).expand_as(problem.sir_min).clone())


def sir_ceiling(drop: TrackingDrop) -> Tensor | None:
    """Largest SIR that the worst target can reach whatever the powers, linear, per drop; None with fewer than two targets.

    n targets whose echoes the same receive APs process share all echoes, and one of them has at most an n-th of their sum: its
    SIR is at most 1/(n-1). inf where every target has receive APs of its own.
    """
    if drop.target_position.shape[1] < 2:
        return None
    receivers = drop.listening_ap.sort(dim=-1).values
    alike = (receivers.unsqueeze(1) == receivers.unsqueeze(2)).all(-1).sum(-1).amax(-1)
    return 1.0 / (alike.to(drop.ue_gain.dtype) - 1.0)


def sensed(drop: TrackingDrop, problem: MaxMinSinrProblem, case: Case[TrackingScenario], power: Tensor) -> Sensed | None:
    """Judge powers (W) by true echoes on the first `case.sensed_drops` drops.

    None without drops or targets, or where the scenario has a channel model of its own.

    Args:
        drop: networks.
        problem: theirs under a requirement of kind `sir`.
        case: how many drops and blocks.
        power: of all links, W.
    """
    scenario = case.scenario
    if scenario.num_targets == 0 or case.sensed_drops == 0 or scenario.has_own_channel:
        return None
    first = torch.arange(min(case.sensed_drops, power.shape[0]))
    chosen, sent = drop.select(first), power[first]
    report = assess(
        chosen,
        scenario,
        scenario.sensing,
        sent,
        Glrt("paper"),
        num_blocks=case.sensed_blocks,
        seed=case.seed,
        with_miss=True,
    )
    own = problem.select(first)
    miss = report.miss if report.miss is not None else torch.ones_like(report.quality.ratio)
    information = mutual_information(own.sir(sent), scenario, scenario.sensing)
    return Sensed(report.quality.ratio.mean(1), miss.mean(1), information, position_error(own, chosen, scenario, sent))


def position_error(problem: MaxMinSinrProblem, drop: TrackingDrop, scenario: TrackingScenario, power: Tensor) -> Tensor:
    """Error bound (m) of every target's horizontal position after one look with these powers (W) on the air, eq. (67)."""
    asked = replace(scenario, requirement=replace(scenario.requirement, kind="position"))
    position = require(problem, drop, asked, reference=power).position
    if position is None:  # without targets
        return power[:, :0]
    return position.error(power)


def uniform_power(found: TrackingBenchmark) -> Outcome:
    """What uniform power does on the setting's drops, whether it is in the list of allocators or not."""
    listed = next((outcome for outcome in found.comparable if outcome.name == "upc"), None)
    if listed is not None and listed.num_drops == found.case.num_drops:
        return listed
    allocation = allocate(found.problem, Fractional(0.0, 0.0))
    return _judged("upc", allocation, found.plain, found.case)


def _judged(
    name: str, allocation: Allocation, part: Part[TrackingDrop, MaxMinSinrProblem], case: Case[TrackingScenario]
) -> Outcome:
    """What an allocation to the first drops of a part means, with what true echoes make of it."""
    scenario, first = case.scenario, torch.arange(allocation.power.shape[0])
    own, drop = part.problem.select(first), part.drop.select(first)
    power = allocation.power
    # The SIR is shown under any requirement; the largest quality that solvers report is an SIR only where an SIR is required.
    asked = own.echo_noise is None and own.num_constraints > 0
    sir = own if asked else _sir_problem(drop, scenario)
    unknown = torch.full_like(part.optimum.best_quality, torch.nan)
    optimum = part.optimum if asked else replace(part.optimum, best_quality=unknown)
    return Outcome(
        name=name,
        power=power,
        rate=rate(own.sinr(power), scenario),
        sinr_min=allocation.value,
        sir=sir.sir(power),
        sir_min=sir.sir_min,
        budget_violation=own.violations(power).budget,
        violation=allocation.violation,
        status=allocation.status,
        seconds=allocation.seconds,
        sensed=sensed(drop, sir, case, power),
        optimum=optimum,
    )


def _sir_problem(drop: TrackingDrop, scenario: TrackingScenario) -> MaxMinSinrProblem:
    pieces = torch.arange(drop.num_drops).split(_CHUNK)
    asked = replace(scenario, requirement=replace(scenario.requirement, kind="sir"))
    return cat_tensors([power_problem(drop.select(piece), asked) for piece in pieces])


def _prepare(problem: MaxMinSinrProblem, case: Case[TrackingScenario]) -> MaxMinSinrProblem:
    return problem if case.sir_below_best_db is None else demanding(problem, case.sir_below_best_db)


def _outcome(found: TrackingBenchmark, name: str) -> Outcome:
    return _judged(name, found.answers[name].allocation, found.part(name), found.case)


def _summarise(found: TrackingBenchmark) -> dict[str, Any]:
    return summarise(found.outcomes, found.optimum, uniform_power(found))


def _csv_lines(found: TrackingBenchmark) -> Iterator[dict[str, object]]:
    """One line per drop and allocator."""
    ceiling = sir_ceiling(found.drop)
    for outcome in found.outcomes:
        optimum = found.part(outcome.name).optimum.first(outcome.num_drops)
        ratio, kinds, counted = rate_ratio(outcome.sinr_min, optimum.value), drop_kinds(optimum), optimum.counted.tolist()
        worst_sir = outcome.sir.amin(-1) if outcome.sir.shape[1] else None
        for i in range(outcome.num_drops):
            yield {
                "drop": i,
                "kind": kinds[i],
                "allocator": outcome.name,
                "status": Status(int(outcome.status[i])).name.lower(),
                "min_rate_ratio": numeric(ratio[i]) if counted[i] else "",
                "min_rate_mbps": numeric(outcome.rate[i].amin() / 1e6),
                "mean_rate_mbps": numeric(outcome.rate[i].mean() / 1e6),
                "min_sinr_db": decibel(outcome.sinr_min[i]),
                "worst_sir_db": "" if worst_sir is None else decibel(worst_sir[i]),
                "violation": numeric(outcome.violation[i]),
                "budget_violation": numeric(outcome.budget_violation[i]),
                "total_power_w": numeric(outcome.power[i].sum()),
                "optimal_min_sinr_db": decibel(optimum.value[i]),
                "bound_min_sinr_db": decibel(optimum.upper_bound[i]),
                "best_sir_db": decibel(optimum.best_quality[i]),
                "sir_ceiling_db": "" if ceiling is None else decibel(ceiling[i]),
            }


def _pictures(settings: Sequence[TrackingBenchmark]) -> dict[str, Figure]:
    """Every figure of one setting by its name."""
    (found,) = settings
    outcomes, optimum, problem = found.comparable or (uniform_power(found),), found.optimum, found.problem
    shown = _shown(outcomes)
    counted = optimum.first(shown.num_drops).counted
    typical = int(counted.nonzero()[0]) if bool(counted.any()) else 0
    pictures = {
        "cdf_rate": figures.rate_distribution(outcomes, optimum),
        "cdf_min_rate": figures.min_rate_distribution(outcomes, optimum),
        "learned_v_optimal": figures.learned_v_optimal(shown, optimum, rate(optimum.value, found.scenario)),
        "network_map": figures.network_map(found.drop, problem, shown, typical, found.scenario.side),
    }
    if problem.num_constraints:
        pictures["cdf_sir"] = figures.sir_distribution(outcomes, optimum)
    return pictures | policy_figures.policy_pictures(found, outcomes, shown)


def _words(summaries: Mapping[str, Any], contexts: Mapping[str, Any]) -> list[str]:
    """What the terminal shows of one setting: the table, what was left out, warnings."""
    (summary,), (context,) = summaries.values(), contexts.values()
    lines = [
        f"{summary['num_drops']} fresh drops of {context['setting']} (seed {context['seed']}): "
        f"{summary['infeasible']} proven infeasible, {summary['outage']} in outage, both left out of ratios and rates",
        "",
        text_table(COLUMNS, summaries),
        "",
        text_table(SENSING_COLUMNS, summaries),
        "",
        "ratio: minimum rate over the certified optimum's, capped at 1 where a constraint is broken; 'valid ratio' has 0 there",
        f"optimum: by {' and '.join(context['optimum_from'])}; certified to {CERTIFIED_GAP:g} in SINR on "
        f"{_text(context['certified_share'], '.1%')} of the drops, largest gap {_text(context['optimum_gap_max'], '.1e')}",
        "x UPC: mean smallest rate over uniform power's; dB, missed and m 'v UPC': less those of uniform power, by true echoes",
        f"ms/drop: allocate() on the whole set, {context['threads']} torch thread(s), after a warm-up, without statistics",
    ]
    if context["from_store"]:
        lines.append(f"answers and times of {', '.join(context['from_store'])} are those that an earlier run left in optima")
    if context["unresolved"]:
        lines.append(f"WARNING: {context['unresolved']} drops have neither an optimum nor a proof of infeasibility; left out")
    wrong = {name: count for name, count in context["contradictions"].items() if count}
    if wrong:
        lines.append(f"WARNING: valid powers that beat the certificate, a bug somewhere: {wrong}")
    return lines


def _shown(outcomes: Sequence[Outcome]) -> Outcome:
    """The allocator drawn against the optimum: the network, else first_order, else the last one that is not the optimum."""
    others = [o for o in outcomes if o.name not in figures.CERTIFIED] or list(outcomes)
    return next((o for name in _LEARNED for o in others if o.name == name), others[-1])


def _text(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


VIEW: View[TrackingScenario, TrackingDrop, MaxMinSinrProblem, Outcome] = View(
    system=TRACKING,
    columns=(*COLUMNS, *SENSING_COLUMNS),
    blocks=BLOCKS,
    csv_fields=CSV_FIELDS,
    prepare=_prepare,
    local=lambda problem: problem.has_pilot_reuse,
    outcome=_outcome,
    summarise=_summarise,
    csv_lines=_csv_lines,
    pictures=_pictures,
    words=_words,
    curves=write_curves,
    policies=POLICIES,
    vary=vary,
    asked=lambda case: KEPT_ROLES if case.scenario.requirement.kind == DOMINATE else (),
)
"""The power-control system's view."""
