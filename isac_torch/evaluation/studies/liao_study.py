"""Averages over random roads behind the figures of Liao et al.: schemes x operating points, in chunks that workers share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isac_torch.allocation import equal_split
from isac_torch.downlink_pilots.build import power_problem
from isac_torch.downlink_pilots.communication import blind_nmse, downlink_rate, printed_nmse
from isac_torch.downlink_pilots.localisation import echo_snr
from isac_torch.downlink_pilots.problem import MinMaxNmseProblem
from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.evaluation.studies.liao_powers import CHUNK, Chunk
from isac_torch.evaluation.studies.liao_reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from isac_torch.downlink_pilots.drop import DownlinkPilotDrop

QUANTITIES = ("nmse", "printed_nmse", "rate", "crb", "worst_crb", "power", "fallback", "infeasible", "met", "certified")
"""Columns of `Sample.values`: largest NMSE, the same by the printed formula, mean rate (bit/s), mean and largest localisation
bound (m2), power of all APs (W), 1 where the paper's algorithm fell back to full power, 1 where the localisation bounds are
proven out of reach, 1 where they are met, 1 where the NMSE is proven to lie within GAP of the least possible."""


@dataclass(frozen=True)
class Point:
    """One operating point of a study.

    Attributes:
        study: ratio, ratio_to_the_end, proportion, correlation_2 or correlation_6.
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
    """Operating points of a study: pilot ratios DL:UL 2:8 to 8:2 (or on to 19:1), proportions 10 % to 50 %, correlations 0
    to 1.
    """
    if study in ("ratio", "ratio_to_the_end"):
        downlink = range(4, 17, 2) if study == "ratio" else range(16, 20)
        return [Point(study, dl / 20, DownlinkPilotScenario(downlink_symbols=dl, uplink_symbols=20 - dl)) for dl in downlink]
    if study == "proportion":
        # Half of the pilots go down, half up, rounded up.
        frame = DownlinkPilotScenario().frame_symbols
        halves = [(percent, -(-percent * frame // 200)) for percent in range(10, 51, 5)]
        return [
            Point(study, percent / 100, DownlinkPilotScenario(downlink_symbols=half, uplink_symbols=half))
            for percent, half in halves
        ]
    ues = int(study.removeprefix("correlation_"))
    base = DownlinkPilotScenario(num_ues=ues)
    return [Point(study, tenth / 10, replace(base, downlink_correlation=tenth / 10)) for tenth in range(11)]


def run_points(
    chosen: Sequence[Point],
    num_drops: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
    *,
    reading: Reading | None = None,
    ours: bool = True,
    folder: Path | None = None,
) -> list[Sample]:
    """Every scheme on the same `num_drops` roads at every point.

    Args:
        chosen: operating points.
        num_drops: of every point.
        seed: of the drops.
        workers: processes.
        progress: is told (chunks done, chunks).
        reading: of the paper; the printed one if left out.
        ours: whether our own schemes are run, too.
        folder: keeps the powers of every chunk.
    """
    reading = reading or Reading()
    # All points of a chunk, then the next chunk: an interrupted run has the same drops at every point.
    order = [(i, start) for start in range(0, num_drops, CHUNK) for i in range(len(chosen))]
    tasks = [
        (Chunk(reading.of(chosen[i].scenario), min(CHUNK, num_drops - start), (seed, start // CHUNK), folder), reading, ours)
        for i, start in order
    ]
    parts: list[list[dict[str, Tensor]]] = [[] for _ in chosen]
    for done, ((i, _), part) in enumerate(zip(order, _answers(tasks, workers), strict=True), 1):
        parts[i].append(part)
        if progress is not None:
            progress(done, len(order))
    return [
        Sample(point, {name: torch.cat([part[name] for part in own]) for name in own[0]})
        for point, own in zip(chosen, parts, strict=True)
    ]


def _answers(tasks: list[tuple[Chunk, Reading, bool]], workers: int) -> Iterator[dict[str, Tensor]]:
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


def run_chunk(chunk: Chunk, reading: Reading, ours: bool) -> dict[str, Float[Tensor, "drop quantity"]]:
    """Every scheme on one chunk of drops, without our own where `ours` is false."""
    drop, scenario = chunk.drops(), chunk.scenario
    problem = power_problem(drop, scenario)
    powers = {"full": equal_split(problem), "sca_paper": chunk.sca(problem, reading.eps)}
    flags = {"sca_paper": {"fallback": (powers["sca_paper"] == powers["full"]).all(-1)}}
    if ours:
        found = chunk.ours(problem)
        powers["ours"] = found["power"]
        flags["ours"] = {name: found[name] for name in ("infeasible", "certified")}
        if scenario.downlink_correlation == 0.0:  # the figures of power have orthogonal pilots
            saved = chunk.saving(problem, found["power"])
            powers |= saved
            flags |= {name: {"infeasible": found["infeasible"]} for name in saved}
    values = {name: _judge(problem, scenario, power, reading.receiver, flags.get(name)) for name, power in powers.items()}
    reference = powers["full" if reading.existing == "full" else "sca_paper"]
    values["existing"] = _existing(drop, scenario, problem, reference)
    values["no_dl"] = _without_pilots(drop, scenario)
    return values


def _judge(
    problem: MinMaxNmseProblem,
    scenario: DownlinkPilotScenario,
    power: Float[Tensor, "drop link"],
    receiver: Literal["projection", "ignorant"],
    flags: dict[str, Tensor] | None = None,
) -> Float[Tensor, "drop quantity"]:
    """QUANTITIES of powers (W); those that the powers do not tell come as `flags`, 0 where left out."""
    nmse = replace(problem, receiver=receiver).nmse(power)
    crb = problem.crb(power)
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
    values = _judge(problem, scenario, power, "projection")
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
