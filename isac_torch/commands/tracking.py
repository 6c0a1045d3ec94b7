"""Commands of the tracking system and those of both systems: one typed function each, whose signature is the options.

Everything heavy is imported inside, so that reading a command line costs nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isac_torch.downlink_pilots.scenario import DownlinkPilotScenario
from isac_torch.evaluation.studies.liao_reading import Reading as PilotReading
from isac_torch.evaluation.studies.liesegang_cases import Reading
from isac_torch.tracking.scenario import TrackingScenario

DEFAULT_READING = Reading()
DEFAULT_PILOT_READING = PilotReading()


def generate(
    scenario: TrackingScenario | DownlinkPilotScenario,
    num_drops: int,
    output: Path,
    seed: int = 0,
    shard_size: int = 250,
    workers: int = 0,
    scheduler: str | None = None,
    variants: list[dict[str, Any]] | None = None,
) -> None:
    """Write a data set of random drops with the powers of the certified optimum; resumes what an interrupted run left.

    Args:
        scenario: The network, of either system.
        num_drops: Drops in the data set, of each variant if there are any.
        output: Folder of the data set.
        seed: Shard i is drawn from seed + i; keep the ranges of several data sets apart.
        shard_size: Drops in each file.
        workers: Processes on this machine; 0 is one per core.
        scheduler: Address of a running Dask scheduler, such as tcp://host:8786, in place of local workers.
        variants: What to change in the network, one entry per size class: [{num_ues: 8}, {num_aps: 32, num_ues: 16}].
    """
    from isac_torch.datasets.generate import generate_dataset
    from isac_torch.variants import scenario_variants

    generate_dataset(scenario_variants(scenario, variants), num_drops, output, seed, shard_size, workers, scheduler)


def info(path: Path) -> None:
    """Print what a data set holds: sizes, seeds, statuses, certified gaps, units.

    Args:
        path: Folder of the data set, or one of its shards.
    """
    from isac_torch.datasets.inspect import info as dataset_info

    dataset_info(path)


def verify(path: Path) -> None:
    """Check checksums, fields and the feasibility of every label of a data set.

    Args:
        path: Folder of the data set, or one of its shards.
    """
    from isac_torch.datasets.inspect import verify as dataset_verify

    dataset_verify(path)


def pareto(
    scenario: TrackingScenario,
    allocators: list[str],
    num_drops: int,
    seed: int,
    output: Path,
    sir_min_db: list[float] | None = None,
    factors: list[float] | None = None,
    choose_roles: bool = False,
    checkpoint: Path | None = None,
) -> None:
    """Trace how much rate each allocator gives up for sensing: pareto.csv and pareto.png.

    Args:
        scenario: The network; its own SIR0, or its own factors, are not used.
        allocators: Names as of `evaluate`; opc_batched or opc_global give the certified front.
        num_drops: Drops, the same for every point.
        seed: Take one that no training set uses.
        output: Folder of the results.
        sir_min_db: Required SIRs, dB; default a range around the usual ones.
        factors: In place of SIRs: factors of the requirement dominate; 1 asks for the sensing of uniform power.
        choose_roles: With factors: also with the receive APs that a search finds best at each factor.
        checkpoint: Weights (model.pt) of the learned allocator.
    """
    from isac_torch.errors import ScenarioError
    from isac_torch.evaluation.tracking.pareto import DEFAULT_SIR_DB
    from isac_torch.evaluation.tracking.pareto import pareto as trace
    from isac_torch.evaluation.tracking.pareto_factors import pareto_factors
    from isac_torch.roles.search import Search

    if factors is None and choose_roles:
        raise ScenarioError(
            "choose_roles=true needs a requirement that knows noise; list factors too, such as '[0.8, 1.0, 1.2]'"
        )
    if factors is not None and sir_min_db is not None:
        raise ScenarioError("sir_min_db and factors are two kinds of requirements; give one of them")
    whole: dict[str, Any] = {
        "allocators": allocators,
        "num_drops": num_drops,
        "seed": seed,
        "output": output,
        "checkpoint": checkpoint,
    }
    if factors is None:
        trace(scenario, sir_min_db=DEFAULT_SIR_DB if sir_min_db is None else sir_min_db, **whole)
    else:
        pareto_factors(scenario, factors=factors, search=Search() if choose_roles else None, **whole)


def report(run: Path, output: Path | None = None) -> None:
    """Write the results of `evaluate`, of `train` or of both as one HTML page that needs no network.

    Args:
        run: Output folder of an evaluation, a training, or `make demo`.
        output: File to write; default report.html in that folder.
    """
    from isac_torch.evaluation.report.write import write_report

    write_report(run, output)


def reproduce_liao(
    output: Path,
    figure: str | None = None,
    quick: bool = False,
    num_drops: int | None = None,
    seed: int = 1,
    workers: int = 1,
    reading: PilotReading = DEFAULT_PILOT_READING,
) -> None:
    """Draw the figures of Liao et al. (PNG and CSV) and judge the paper's claims (claims.json).

    Args:
        output: Folder of the results; the powers of a run that was interrupted are read from it.
        figure: One figure, such as 4a, instead of all.
        quick: Few drops per point: minutes instead of hours.
        num_drops: Drops at every point, in place of either.
        seed: Of the drops.
        workers: Processes; the results do not depend on them.
        reading: How the paper is read (configs/downlink_pilots/reproduce_shadowed.yaml).
    """
    from isac_torch.evaluation.studies.liao import reproduce

    reproduce(
        output,
        figure=figure,
        quick=quick,
        num_drops=num_drops,
        seed=seed,
        workers=workers,
        reading=reading,
    )


def reproduce_liesegang(
    output: Path,
    figure: str | None = None,
    quick: bool = False,
    num_drops: int | None = None,
    num_blocks: int | None = None,
    seed: int = 1,
    checkpoint: Path | None = None,
    reading: Reading = DEFAULT_READING,
    pilot_table: bool = False,
) -> None:
    """Draw the figures of Liesegang et al. (PNG and CSV) and judge the paper's claims (claims.json).

    Args:
        output: Folder of the results.
        figure: One figure, 2 to 9 or roc, instead of all.
        quick: Few drops and blocks: minutes instead of hours.
        num_drops: Drops, in place of either.
        num_blocks: Blocks (fading realisations) of every drop, in place of either.
        seed: Of drops and blocks.
        checkpoint: Weights (model.pt) of the learned allocator, to draw it in figures 8 and 9.
        reading: How the paper is read: network, setup, what it leaves open, sweeps (configs/reproduce/liesegang_paper.yaml).
        pilot_table: Beside figure 9, tabulate all kinds of optimal power control at four pilot powers.
    """
    from isac_torch.evaluation.studies.liesegang import reproduce

    reproduce(
        output,
        figure=figure,
        quick=quick,
        num_drops=num_drops,
        num_blocks=num_blocks,
        seed=seed,
        checkpoint=checkpoint,
        reading=reading,
        pilot_table=pilot_table,
    )
