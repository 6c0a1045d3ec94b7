"""One self-contained HTML page from the results of an evaluation, a training or both: what `isac-torch report` does."""

from __future__ import annotations

from pathlib import Path

from isac_torch.evaluation.report.page import page
from isac_torch.evaluation.report.source import read_run
from isac_torch.files import writable_file, write_whole


def write_report(run: str | Path, output: str | Path | None = None) -> Path:
    """Read the results in the folder `run` and write the page.

    Args:
        run: output folder of an evaluation or of a training, or one with trainings up to two folders below.
        output: file to write; default report.html in `run`.

    Returns:
        The file.

    Raises:
        IsacError: one line, if there is nothing to report, a file is damaged or `output` cannot be written.
    """
    from tqdm import tqdm

    folder = Path(run)
    target = folder / "report.html" if output is None else Path(output)
    writable_file(target)
    source = read_run(folder)
    content = page(source, f"isac-torch: {folder.resolve().name}")
    write_whole(target, content)
    size = target.stat().st_size / 1e6
    tqdm.write(f"{target}: {len(source.settings)} setting(s), {len(source.trainings)} training run(s), {size:.1f} MB")
    return target
