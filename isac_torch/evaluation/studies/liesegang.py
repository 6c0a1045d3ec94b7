"""Figures 2-9 of Liesegang et al. as PNG and CSV, and its claims judged: `isac-torch reproduce liesegang`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isac_torch.errors import IsacError
from isac_torch.evaluation.studies.claims import judge_claims
from isac_torch.evaluation.studies.liesegang_claims import CLAIMS
from isac_torch.evaluation.studies.liesegang_figures import draw, figure_curves, tabulate
from isac_torch.evaluation.studies.liesegang_readings import tabulate_readings
from isac_torch.evaluation.studies.liesegang_study import Study
from isac_torch.evaluation.studies.liesegang_verdicts import favourable_study, standard_error
from isac_torch.evaluation.tables import write_json
from isac_torch.files import writable_folder

if TYPE_CHECKING:
    from pathlib import Path

    from isac_torch.evaluation.studies.liesegang_cases import Reading

QUICK = (48, 6)
"""Drops and blocks of a quick run: minutes on two cores."""
FULL = (100, 1000)
"""Drops and blocks of the paper's averages."""

TITLES = {
    "2": "miss probability",
    "3": "SCNR against cross-section and clutter",
    "4": "SCNR against load and samples",
    "5": "associations",
    "6": "fractional power control, detection",
    "7": "SICNR against cross-section and clutter",
    "8": "fractional power control, tracking",
    "9": "optimal power control, tracking",
    "roc": "detection against false alarms (ours)",
}


def reproduce(
    output: str | Path,
    figure: str | None = None,
    quick: bool = False,
    num_drops: int | None = None,
    num_blocks: int | None = None,
    seed: int = 1,
    checkpoint: str | Path | None = None,
    reading: Reading | None = None,
    pilot_table: bool = False,
) -> list[dict[str, Any]]:
    """Write figures (PNG, CSV) and claims.json of Liesegang et al. to a folder; an interrupted run goes on where it stopped.

    Args:
        output: Folder; made if need be.
        figure: One figure, 2 to 9 or roc, instead of all.
        quick: A few drops and blocks instead of the paper's 100 x 1000.
        num_drops: Drops, in place of either.
        num_blocks: Blocks (fading realisations) of every drop, in place of either.
        seed: Of drops and blocks.
        checkpoint: Weights of the learned allocator, to draw it in figures 8 and 9.
        reading: Network, setup, what the paper leaves open, and sweeps; default the baseline of docs/reproduction.md.
        pilot_table: Beside figure 9, tabulate all kinds of optimal power control at four pilot powers (figure_9_pilots.csv).

    Returns:
        The rows of claims.json.

    Raises:
        IsacError: one line, before any work, on an unknown figure or counts out of range.
    """
    from tqdm import tqdm

    if figure is not None and figure not in TITLES:
        raise IsacError(f"figure={figure!r} is not one of {', '.join(TITLES)}; leave it out for all")
    drops, blocks = (given or usual for given, usual in zip((num_drops, num_blocks), QUICK if quick else FULL, strict=True))
    for name, count in (("num_drops", drops), ("num_blocks", blocks)):
        if count < 1:
            raise IsacError(f"{name}={count} must be at least 1")
    folder = writable_folder(output)
    study = Study(drops, blocks, seed, checkpoint, folder / "results", reading)
    chosen = tuple(TITLES) if figure is None else (figure,)
    makers = figure_curves(study)
    for name in tqdm(chosen, unit="figure", disable=None):
        curves = makers[name]()
        title = f"Liesegang et al., Fig. {name}: {TITLES[name]}; {drops} drops x {blocks} blocks"
        draw(folder / f"figure_{name}.png", title, curves)
        tabulate(folder / f"figure_{name}.csv", curves)
    if pilot_table and "9" in chosen:
        tabulate_readings(folder / "figure_9_pilots.csv", study)
    facts = {"num_drops": drops, "num_blocks": blocks, "seed": seed}
    claims = judge_claims(CLAIMS, dict.fromkeys(chosen, study), lambda _: facts, favourable_study, standard_error)
    write_json(folder / "claims.json", claims)
    return claims
