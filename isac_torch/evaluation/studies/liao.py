"""Every figure of Liao et al. as PNG and CSV, and its claims judged: `isac-torch reproduce liao`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from isac_torch.errors import IsacError
from isac_torch.evaluation.studies.claims import judge_claims
from isac_torch.evaluation.studies.liao_claims import CLAIMS, POWER_MAP, STATIONARY
from isac_torch.evaluation.studies.liao_figures import PLOTS, convergence, plot_averages, power_map, road_map
from isac_torch.evaluation.studies.liao_reading import Reading
from isac_torch.evaluation.studies.liao_study import points, run_points
from isac_torch.evaluation.studies.liao_traces import final_residuals, weaker_share
from isac_torch.evaluation.tables import write_json
from isac_torch.files import writable_folder

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.evaluation.studies.claims import Claim
    from isac_torch.evaluation.studies.liao_study import Sample

QUICK_DROPS = {"ratio": 100, "proportion": 100, "correlation_2": 50, "correlation_6": 25}
FULL_DROPS = dict.fromkeys(QUICK_DROPS, 1000)
FIGURES = ("2", "3", *PLOTS, "convergence")
"""Names for `--figure`; "convergence" is ours."""


def reproduce(
    output: str | Path,
    figure: str | None = None,
    quick: bool = False,
    num_drops: int | None = None,
    seed: int = 1,
    workers: int = 1,
    reading: Reading | None = None,
) -> list[dict[str, Any]]:
    """Write figures (PNG, CSV) and claims.json of Liao et al. to a folder; an interrupted run goes on where it stopped.

    Args:
        output: Folder; made if need be. Powers are kept in its folder `powers`.
        figure: One figure (2, 3, 4a, 4b, 5, 6, 7a, 7b, 8, 9, 10a, 10b, convergence) instead of all.
        quick: 25 to 100 drops per point instead of 1000.
        num_drops: Drops at every point, in place of either.
        seed: Of the drops.
        workers: Processes; results do not depend on them.
        reading: What the paper leaves open; default the reading of docs/downlink_pilots.md.

    Returns:
        The rows of claims.json: each claim's verdict under this reading (`default`) and under the reading of the paper
        that is most favourable to it (`favourable`).
    """
    if figure is not None and figure not in FIGURES:
        raise IsacError(f"figure={figure!r} is not one of {', '.join(FIGURES)}; leave it out for all")
    if num_drops is not None and num_drops < 2:
        raise IsacError(f"num_drops={num_drops} must be at least 2")
    reading = Reading() if reading is None else reading
    folder = writable_folder(output)
    kept = writable_folder(folder / "powers")
    counts = dict.fromkeys(FULL_DROPS, num_drops) if num_drops else QUICK_DROPS if quick else FULL_DROPS

    @cache
    def samples(study: str, chosen: Reading, ours: bool) -> list[Sample]:
        count = counts.get(study) or counts["ratio"]
        return _run(study, count, seed, workers, chosen, ours, kept)

    studies: dict[str, list[Sample]] = {}
    claims: list[dict[str, Any]] = []
    for name in FIGURES if figure is None else (figure,):
        if name == "2":
            power_map(folder, reading.eps)
            share = weaker_share(counts["ratio"], seed, reading.eps, kept)
            claims.append(POWER_MAP.line(share, {"num_drops": counts["ratio"], "seed": seed}, lambda _, known: known))
        elif name == "3":
            road_map(folder, seed)
        elif name == "convergence":
            convergence(folder, seed)
            found = final_residuals(counts["ratio"], seed, reading.eps, kept)
            claims.append(STATIONARY.line(found, {"num_drops": counts["ratio"], "seed": seed}, lambda _, known: known))
        else:
            study = PLOTS[name].study
            studies[study] = samples(study, reading, True)
            plot_averages(folder, name, studies[study])

    def elsewhere(claim: Claim[list[Sample]], _default: list[Sample]) -> list[Sample]:
        study, other = claim.study, None
        if claim.favourable is not None:
            study, other = claim.favourable.study or study, claim.favourable.reading
        if other is None and study in studies:
            return studies[study]
        return samples(study, other or Reading(), False)

    claims += judge_claims(CLAIMS, studies, lambda known: {"num_drops": len(known[0].values["full"]), "seed": seed}, elsewhere)
    write_json(folder / "claims.json", claims)
    return claims


def _run(study: str, num_drops: int, seed: int, workers: int, reading: Reading, ours: bool, folder: Path) -> list[Sample]:
    """One study, with a progress bar that says how long it takes."""
    from tqdm import tqdm

    with tqdm(desc=f"{study}, {num_drops} drops per point", unit="chunk", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return run_points(points(study), num_drops, seed, workers, progress, reading=reading, ours=ours, folder=folder)
