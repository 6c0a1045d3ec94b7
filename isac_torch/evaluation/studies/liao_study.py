"""Averages over random roads behind the figures of Liao et al.: schemes x operating points, in chunks that workers share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import Allocator, Status, allocate, equal_split
from isac_torch.allocators.downlink_pilots.classical import FullPower, MinMaxNmse, PaperSca, second_stage
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.communication import blind_nmse, downlink_rate, printed_nmse
from isac_torch.downlink_pilots.localisation import echo_snr
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop

CHUNK = 25
"""Drops that are drawn together: results depend on the seed and on this, not on the number of workers."""

QUANTITIES = ("nmse", "printed_nmse", "rate", "crb", "worst_crb", "power", "fallback", "infeasible", "met", "certified")
"""Columns of `Sample.values`: largest NMSE, the same by the printed formula, mean rate (bit/s), mean and largest localisation
bound (m2), power of all APs (W), 1 where the paper's algorithm fell back to full power, 1 where the localisation bounds are
proven out of reach, 1 where they are met, 1 where the NMSE is proven to lie within GAP of the least possible."""

GAP = 1e-3
CERTIFIED_UES = 2
"""Up to so many UEs `ours` is certified; with six contaminated ones the search seldom ends (docs/downlink_pilots.md)."""


def allocators(scenario: DownlinkPilotScenario) -> dict[str, Allocator[MinMaxNmseProblem]]:
    """Schemes that answer from scratch; `ours_slack_5` and `ours_as_full` save power from `ours`, others allocate nothing."""
    boxes = MinMaxNmse.max_boxes if scenario.num_ues <= CERTIFIED_UES else 0
    return {"full": FullPower(), "sca_paper": PaperSca(), "ours": MinMaxNmse(gap=GAP, max_boxes=boxes)}


@dataclass(frozen=True)
class Point:
    """One operating point of a study.

    Attributes:
        study: ratio, proportion, correlation_2 or correlation_6.
        x: what the figure's horizontal axis shows.
        scenario: the road.
    """

    study: str
    x: float
    scenario: DownlinkPilotScenario


@dataclass(frozen=True)
class Sample:
    """One point's drops under every scheme. Attributes: point; values of QUANTITIES by scheme, NaN where they mean nothing."""

    point: Point
    values: dict[str, Float[Tensor, "drop quantity"]]

    def mean(self, scheme: str, quantity: str) -> float:
        """Average over the drops."""
        return float(self.column(scheme, quantity).mean())

    def error(self, scheme: str, quantity: str) -> float:
        """Standard error of the average."""
        column = self.column(scheme, quantity)
        return float(column.std() / len(column) ** 0.5) if len(column) > 1 else 0.0

    @property
    def certified_share(self) -> float:
        """Share of the drops that can be located on which `ours` is proven optimal to GAP; 0 where there is none."""
        reachable = self.column("ours", "infeasible") == 0
        return float(self.column("ours", "certified")[reachable].mean()) if bool(reachable.any()) else 0.0

    def column(self, scheme: str, quantity: str) -> Float[Tensor, " drop"]:
        """One quantity of every drop."""
        return self.values[scheme][:, QUANTITIES.index(quantity)]


def points(study: str) -> list[Point]:
    """Operating points of a study: pilot ratios DL:UL 2:8 to 8:2, proportions 10 % to 50 %, correlations 0 to 1."""
    if study == "ratio":
        return [
            Point(study, dl / 20, DownlinkPilotScenario(downlink_symbols=dl, uplink_symbols=20 - dl)) for dl in range(4, 17, 2)
        ]
    if study == "proportion":
        # Half of the pilots go down, half up, rounded up.
        frame = DownlinkPilotScenario().frame_symbols
        halves = [(percent, -(-percent * frame // 200)) for percent in range(10, 51, 5)]
        return [
            Point(study, percent / 100, DownlinkPilotScenario(downlink_symbols=half, uplink_symbols=half))
            for percent, half in halves
        ]
    ues = int(study.removeprefix("correlation_"))
    base = DownlinkPilotScenario(num_ues=ues, receiver="projection")
    return [Point(study, tenth / 10, replace(base, downlink_correlation=tenth / 10)) for tenth in range(11)]


def run_points(
    chosen: Sequence[Point], num_drops: int, seed: int, workers: int, progress: Callable[[int, int], None] | None = None
) -> list[Sample]:
    """Every scheme on the same `num_drops` roads at every point; `progress` is told (chunks done, chunks)."""
    chunks = [(i, start) for i in range(len(chosen)) for start in range(0, num_drops, CHUNK)]
    tasks = [(chosen[i].scenario, min(CHUNK, num_drops - start), (seed, start // CHUNK)) for i, start in chunks]
    parts: list[list[dict[str, Tensor]]] = [[] for _ in chosen]
    for done, ((i, _), part) in enumerate(zip(chunks, _answers(tasks, workers), strict=True), 1):
        parts[i].append(part)
        if progress is not None:
            progress(done, len(chunks))
    return [
        Sample(point, {name: torch.cat([part[name] for part in own]) for name in own[0]})
        for point, own in zip(chosen, parts, strict=True)
    ]


def _answers(tasks: list[tuple[DownlinkPilotScenario, int, tuple[int, int]]], workers: int) -> Iterator[dict[str, Tensor]]:
    """Results of `run_chunk` in order, from this process or from several."""
    if workers <= 1:
        yield from (run_chunk(*task) for task in tasks)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.map(run_chunk, *zip(*tasks, strict=True))


def run_chunk(
    scenario: DownlinkPilotScenario, num_drops: int, seed: tuple[int, int]
) -> dict[str, Float[Tensor, "drop quantity"]]:
    """Every scheme on one chunk of drops. The same (seed, chunk) gives the same positions at every point of a study."""
    generator = torch.Generator().manual_seed(1_000_003 * seed[0] + seed[1])
    drop = scenario.sample(num_drops, generator=generator)
    problem = power_problem(drop, scenario)
    answers = {name: allocate(problem, allocator) for name, allocator in allocators(scenario).items()}
    ours = answers["ours"]
    flags = {"infeasible": ours.status == Status.INFEASIBLE, "certified": ours.status == Status.OPTIMAL}
    values = {name: _judge(problem, scenario, answer.power) for name, answer in answers.items()}
    values["ours"] = _judge(problem, scenario, ours.power, flags)
    fallback = (answers["sca_paper"].power == equal_split(problem)).all(-1)
    values["sca_paper"] = _judge(problem, scenario, answers["sca_paper"].power, {"fallback": fallback})
    for name, saved in (
        ("ours_slack_5", second_stage(problem, ours.power, slack=0.05)),
        ("ours_as_full", second_stage(problem, ours.power, keep="full")),
    ):
        values[name] = _judge(problem, scenario, saved, {"infeasible": flags["infeasible"]})
    values["existing"] = _existing(drop, scenario, problem, answers["sca_paper"].power)
    values["no_dl"] = _without_pilots(drop, scenario)
    return values


def _judge(
    problem: MinMaxNmseProblem,
    scenario: DownlinkPilotScenario,
    power: Float[Tensor, "drop link"],
    flags: dict[str, Tensor] | None = None,
) -> Float[Tensor, "drop quantity"]:
    """QUANTITIES of powers (W); those that the powers do not tell come as `flags`, 0 where left out."""
    nmse, crb = problem.nmse(power), problem.crb(power)
    none = torch.zeros(problem.num_drops, dtype=torch.bool)
    columns = dict.fromkeys(("fallback", "infeasible", "certified"), none) | (flags or {})
    columns |= {
        "nmse": nmse.amax(-1),
        "printed_nmse": printed_nmse(problem, power).amax(-1),
        "rate": downlink_rate(nmse, scenario).mean(-1),
        "crb": crb.mean(-1),
        "worst_crb": crb.amax(-1),
        "power": power.sum(-1),
        "met": problem.violations(power).worst <= 1e-6,
    }
    return torch.stack([columns[name].double() for name in QUANTITIES], dim=-1)


def _existing(
    drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario, problem: MinMaxNmseProblem, reference: Float[Tensor, "drop link"]
) -> Float[Tensor, "drop quantity"]:
    """Sensing symbols among the data instead of downlink pilots, at the radar SNR of `reference` (W), split equally.

    The SNR of all paths to a UE together is that of `reference`; its channel estimate is that without downlink pilots.
    """
    snr = echo_snr(drop, scenario).sum(-1)
    wanted = (snr * problem.per_ue(reference)).sum(-1)
    equal = equal_split(problem)
    scale = wanted / (snr * problem.per_ue(equal)).sum(-1)
    power = (problem.per_ue(equal) * scale.unsqueeze(-1)).flatten(1)
    values = _judge(problem, scenario, power)
    blind = _without_pilots(drop, scenario)
    for name in ("nmse", "printed_nmse", "rate"):
        values[:, QUANTITIES.index(name)] = blind[:, QUANTITIES.index(name)]
    return values


def _without_pilots(drop: DownlinkPilotDrop, scenario: DownlinkPilotScenario) -> Float[Tensor, "drop quantity"]:
    """The conventional system: all pilot symbols uplink, the UE knows the mean of its channel, nobody is located."""
    nmse = blind_nmse(drop, scenario)
    values = torch.full((drop.num_drops, len(QUANTITIES)), torch.nan, dtype=torch.float64)
    rate = downlink_rate(nmse, scenario).mean(-1)
    for name, column in (("nmse", nmse.amax(-1)), ("printed_nmse", nmse.amax(-1)), ("rate", rate)):
        values[:, QUANTITIES.index(name)] = column
    return values
