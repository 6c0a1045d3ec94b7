"""Charts of the report as HTML and SVG text that follow the page's colours and width."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 26
"""Margins of the plot inside its picture."""


def ratio_ranges(rows: Sequence[tuple[str, str, float, float, float]]) -> str:
    """One bar an allocator on an axis from 0 to 1: from the 5 % quantile to 1, with a dot at the mean and a tick at the worst.

    Args:
        rows: label, colour, mean, 5 % quantile and worst ratio of each.
    """
    lines = []
    grid = "".join(f'<i class="grid" style="left:{position}%"></i>' for position in (0, 25, 50, 75, 100))
    for label, colour, mean, tail, worst in rows:
        mean, tail, worst = (min(1.0, max(0.0, value)) for value in (mean, tail, worst))
        low, high = sorted((tail, mean))  # a few very bad drops can pull the mean below the quantile
        lines.append(
            f'<div class="range"><span class="range-name">{escape(label)}</span>'
            f'<span class="range-axis" style="--ink:{colour}">{grid}'
            f'<i class="bar" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></i>'
            f'<i class="worst" style="left:{100 * worst:.2f}%"></i><i class="mean" style="left:{100 * mean:.2f}%"></i></span>'
            f'<span class="range-value">{mean:.3f}</span></div>'
        )
    scale = "".join(f'<i style="left:{position}%">{position / 100:g}</i>' for position in (0, 25, 50, 75, 100))
    axis = f'<div class="range"><span class="range-name"></span><span class="range-scale">{scale}</span><span></span></div>'
    return f'<div class="ranges">{"".join(lines)}{axis}</div>'


def curve(points: Sequence[tuple[int, float]], label: str) -> str:
    """A line over training steps as SVG.

    Args:
        points: (step, value) pairs; those that are not finite are left out.
        label: what the line shows, for readers of the page's text.
    """
    finite = [(float(step), value) for step, value in points if math.isfinite(value)]
    if not finite:
        return '<p class="muted">no finite value was logged</p>'
    ticks_x = _ticks(0.0, max(step for step, _ in finite) or 1.0)
    ticks_y = _ticks(min(value for _, value in finite), max(value for _, value in finite))
    (left, right), (low, high) = (0.0, ticks_x[-1]), (ticks_y[0], ticks_y[-1])

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (step - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return x, y

    parts = []
    for tick in ticks_y:
        _, y = place(left, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in ticks_x:
        x, _ = place(tick, low)
        anchor = "end" if tick == right else "middle"
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{tick:g}</text>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(step, value) for step, value in finite))
    mark = place(*finite[-1])
    parts.append(f'<polyline points="{path}"/><circle cx="{mark[0]:.1f}" cy="{mark[1]:.1f}" r="3"/>')
    return f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers that enclose [low, high], at about so many steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span <= 1e-12 * max(abs(low), abs(high)) or span == 0.0:
        low, span = low - (abs(low) or 1.0) / 2, abs(low) or 1.0
        high = low + span
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]
