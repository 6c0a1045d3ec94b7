"""How pictures of a benchmark look: sizes, a colour and a dash for each allocator, distributions.

Colours are those of Okabe and Ito, with grey and wine, which stay apart under colour blindness; dashes repeat the distinction.
Figures are 5 x 4 inches, the size at which TensorBoard's image tab stays legible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

SIZE = (5.0, 4.0)
"""Width and height of a figure, inches."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F", "#882255")
DASHES = ("-", "--", "-.", ":")
BROKEN = "#D55E00"
"""Colour of what breaks a constraint."""

ALLOCATORS: dict[str, tuple[str, str]] = {
    "optimum": ("#000000", "-"),
    "opc_global": ("#000000", "-"),
    "opc_batched": ("#7F7F7F", "--"),
    "opc_paper": ("#882255", "-."),
    "opc_dominate": ("#7F7F7F", ":"),
    "opc_dominate_fair": ("#882255", ":"),
    "opc_dominate_roles": ("#000000", "-."),
    "opc_dominate_joint": ("#000000", ":"),
    "opc_dominate_scored_roles": ("#E69F00", "-."),
    "opc_sense_roles": ("#44AA99", ":"),
    "gnn_dominate": ("#332288", "-"),
    "gnn_dominate_one_shot": ("#332288", "--"),
    "gnn_dominate_roles": ("#332288", ":"),
    "gnn_dominate_scored_roles": ("#E69F00", ":"),
    "newton_dominate": ("#DDCC77", "-."),
    "upc": ("#56B4E9", ":"),
    "ppc": ("#999933", ":"),
    "fpc_0_1": ("#E69F00", "--"),
    "first_order": ("#009E73", "-."),
    "gnn": ("#0072B2", "-"),
    "gnn_repaired": ("#332288", "--"),
    "gnn_refined": ("#AA4499", "-."),
    "gnn_shipped": ("#44AA99", "--"),
}
"""Colour and dash of each allocator, the same in every picture, board and page."""


def new_axes() -> tuple[Figure, Axes]:
    """A figure of the common size with one pair of axes, bound to no window system."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3, linewidth=0.5)
    return figure, axes


def styles(count: int) -> Iterator[dict[str, Any]]:
    """Colour and dash of each of `count` lines, all different up to 36."""
    for i in range(count):
        yield {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[(i % len(COLOURS) + i // len(COLOURS)) % len(DASHES)]}


def allocator_styles(names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Colour and dash of each allocator; others than those of `ALLOCATORS` take pink and its dashes in turn."""
    others = 0
    for name in names:
        colour, dash = ALLOCATORS.get(name, ("#CC79A7", DASHES[others % len(DASHES)]))
        others += name not in ALLOCATORS
        yield {"color": colour, "linestyle": dash}


def finish(axes: Axes, title: str, place: str = "best") -> None:
    """Heading and, if anything has a name, a legend."""
    axes.set_title(title, fontsize=10)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, loc=place)


def distribution(curves: dict[str, tuple[str, Tensor]], quantity: str, title: str) -> Figure:
    """Empirical distribution functions of several samples in one picture.

    Args:
        curves: a label and a sample (any shape) by the allocator's name.
        quantity: what is on the horizontal axis, with its unit.
        title: heading.
    """
    figure, axes = new_axes()
    for (text, sample), style in zip(curves.values(), allocator_styles(curves), strict=True):
        if sample.numel():
            axes.ecdf(sample.flatten().numpy(), label=text, linewidth=1.5, **style)
    axes.set(xlabel=quantity, ylabel="share of samples at or below", ylim=(0.0, 1.0))
    finish(axes, title)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG without date or host, so that equal results give equal files; its layout is final then."""
    from isac_torch.files import written_whole

    with written_whole(path) as partial:
        figure.savefig(partial, metadata={"Software": None})
    figure.set_layout_engine("none")
