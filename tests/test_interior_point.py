"""The driver of the interior-point method on a matrix game, whose Newton system is a few lines, with both array libraries."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from isac_torch.interior_point import Iterate, Rule, solve
from isac_torch.tensors import namespace

PAYOFF = np.random.default_rng(4).uniform(0.1, 2.0, (5, 4, 6))


@dataclass(frozen=True)
class Game:
    """maximise t subject to payoff x >= t in every row, sum x <= 1, x >= 0."""

    payoff: Any

    def select(self, index: Any) -> "Game":
        return Game(self.payoff[index])

    def newton(self, point: Iterate[Any]) -> "GameNewton":
        return GameNewton(self.payoff, point)


@dataclass(frozen=True)
class GameNewton:
    payoff: Any
    point: Iterate[Any]

    @property
    def product(self) -> Any:
        return self.point.lead * self.point.partner

    @property
    def value(self) -> Any:
        xp, x = namespace(self.payoff), self.point.lead[:, 5:]
        rows = (self.payoff @ x[..., None])[..., 0] - self.point.epigraph[:, None]
        return xp.concat([rows, 1.0 - x.sum(-1)[:, None]], axis=1)

    @property
    def residual(self) -> Any:
        return (self.point.lead[:, :5] * abs(self.value - self.point.partner[:, :5])).sum(-1)

    def select(self, index: Any) -> "GameNewton":
        return GameNewton(self.payoff[index], self.point.select(index))

    def direction(self, wanted: Any) -> tuple[Any, Any]:
        """The whole system at once: unknown are dx, dt, dy; ds and dz are eliminated."""
        xp, drops = namespace(self.payoff), len(self.payoff)
        y, x, s, z = self.point.lead[:, :5], self.point.lead[:, 5:], self.point.partner[:, :5], self.point.partner[:, 5:]
        goal = 0.0 * self.product if wanted is None else wanted * self.product
        jacobian = xp.zeros((drops, 5, 7), dtype=self.payoff.dtype)
        jacobian[:, :4, :6], jacobian[:, :4, 6], jacobian[:, 4, :6] = self.payoff, -1.0, -1.0
        matrix = xp.zeros((drops, 12, 12), dtype=self.payoff.dtype)
        matrix[:, :7, 7:], matrix[:, 7:, :7] = -jacobian.swapaxes(1, 2), jacobian
        for e in range(6):
            matrix[:, e, e] = z[:, e] / x[:, e]
        for i in range(5):
            matrix[:, 7 + i, 7 + i] = s[:, i] / y[:, i]
        slope = (jacobian.swapaxes(1, 2) @ y[..., None])[..., 0]
        right = xp.zeros((drops, 12), dtype=self.payoff.dtype)
        right[:, :6] = slope[:, :6] + goal[:, 5:] / x
        right[:, 6] = 1.0 + slope[:, 6]
        right[:, 7:] = goal[:, :5] / y - self.value
        step = xp.linalg.solve(matrix, right[..., None])[..., 0]
        return xp.concat([step[:, 7:] / y, step[:, :6] / x], axis=1), step[:, 6]


def played(payoff: Any, rule: Rule) -> tuple[Iterate[Any], list[int]]:
    xp, drops = namespace(payoff), len(payoff)
    ones = xp.ones((drops, 11), dtype=payoff.dtype)
    last = [0] * drops

    def leaves(alive: Any, step: int, game: Any, point: Iterate[Any], newton: Any) -> Any:
        done = (newton.product.sum(-1) < 1e-9) & (newton.residual < 1e-9)
        for one in alive[done].tolist():
            last[one] = step
        return done

    return solve(Game(payoff), Iterate(0.2 * ones, ones + 0.0, 0.0 * ones[:, 0]), 60, leaves, rule), last


@pytest.mark.parametrize("rule", [Rule(), Rule(most=0.5, cuts=0), Rule(0.8, residual=0.1)], ids=["default", "free", "short"])
def test_games_are_solved_with_both_libraries(rule: Rule) -> None:
    found, steps = played(PAYOFF, rule)
    other, other_steps = played(torch.from_numpy(PAYOFF), rule)
    assert steps == other_steps
    assert max(steps) < 40
    np.testing.assert_allclose(found.lead, other.lead.numpy(), rtol=1e-6, atol=1e-12)
    for payoff, epigraph in zip(PAYOFF, found.epigraph, strict=True):
        rows = np.hstack([-payoff, np.ones((4, 1))])
        best = linprog([0] * 6 + [-1], A_ub=rows, b_ub=np.zeros(4), A_eq=[[1] * 6 + [0]], b_eq=[1], bounds=[(0, None)] * 7)
        assert best.fun is not None
        assert epigraph == pytest.approx(-best.fun, rel=1e-7)


def test_drops_leave_by_themselves() -> None:
    together, steps = played(PAYOFF, Rule())
    alone = [played(PAYOFF[one : one + 1], Rule()) for one in range(5)]
    assert steps == [part[1][0] for part in alone]
    assert len(set(steps)) > 1
    np.testing.assert_allclose(together.epigraph, np.concatenate([part[0].epigraph for part in alone]), rtol=1e-9)


def test_the_last_step_counts_where_nobody_leaves() -> None:
    ones = np.ones((2, 11))
    start = Iterate(0.2 * ones, ones + 0.0, 0.0 * ones[:, 0])
    seen: list[int] = []

    def leaves(alive: Any, step: int, game: Any, point: Iterate[Any], newton: Any) -> Any:
        seen.append(step)
        return np.zeros(len(alive), dtype=bool)

    found = solve(Game(PAYOFF[:2]), start, 3, leaves, Rule())
    assert seen == [0, 1, 2, 3]
    assert bool((found.epigraph != 0.0).all())
    assert bool((start.epigraph == 0.0).all())  # the start is not written to
