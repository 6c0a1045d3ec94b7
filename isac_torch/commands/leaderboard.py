"""Commands of the leaderboard."""

from __future__ import annotations

from pathlib import Path


def submit(run: Path, author: str, board: Path = Path("leaderboard.jsonl")) -> None:
    """Check a run on the public test drops and add a row for each of its allocators.

    Args:
        run: Output folder of `isac-torch evaluate --config evaluate/public`.
        author: Who submits it.
        board: File of the rows, JSON lines.
    """
    from isac_torch.evaluation.leaderboard import submit as add

    print(add(run, board, author))  # noqa: T201 - the result


def show(board: Path = Path("leaderboard.jsonl")) -> None:
    """Print the rows as a Markdown table, the best first.

    Args:
        board: File of the rows, JSON lines.
    """
    from isac_torch.evaluation.leaderboard import shown

    print(shown(board))  # noqa: T201 - the result
