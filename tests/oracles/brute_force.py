"""Random search with local polish for small max-min SINR problems. NumPy and SciPy only: never imports isac_torch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from tests.oracles.geometry import Array


@dataclass(frozen=True)
class Game:
    """One drop: a[k, s], N[k, e], c[k, j, s] over the noise; S[l, e], I[l, e], n[l], SIR0[l]; P[m]; AP of each link."""

    signal: Array
    leakage: Array
    coherent: Array
    echo: Array
    cross_echo: Array
    sir_min: Array
    budget: Array
    link_ap: Array
    constraint_noise: Array


def smallest_sinr(game: Game, power: Array) -> float:
    """min_k (a_k^T sqrt p)^2 / (N_k^T p + sum_j (c_kj^T sqrt p_j)^2 + 1), `power` in W."""
    ues, serving = game.signal.shape
    worst = np.inf
    for k in range(ues):
        wanted = sum(game.signal[k, s] * np.sqrt(power[k * serving + s]) for s in range(serving)) ** 2
        interference = 1.0 + sum(game.leakage[k, e] * power[e] for e in range(len(power)))
        for j in range(ues):
            shared = sum(game.coherent[k, j, s] * np.sqrt(power[j * serving + s]) for s in range(serving))
            interference += shared**2
        worst = min(worst, wanted / interference)
    return float(worst)


def worst_shortfall(game: Game, power: Array) -> float:
    """max_l 1 - SIR_l / SIR0_l; below 0 where every row is met with room."""
    own, other = game.echo @ power, game.cross_echo @ power + game.constraint_noise
    return float(np.max(1.0 - own / (game.sir_min * other), initial=-np.inf))


def random_search(game: Game, samples: int, polished: int, seed: int) -> float:
    """Best smallest SINR from the `polished` best of `samples` random powers, climbed by SLSQP; least short first."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        power = _random_power(game, rng)
        found.append((max(worst_shortfall(game, power), 0.0), -smallest_sinr(game, power), power))
    found.sort(key=lambda sample: sample[:2])
    return max(_climb(game, power, -value if short == 0.0 else 0.0) for short, value, power in found[:polished])


def _random_power(game: Game, rng: np.random.Generator) -> Array:
    """Shares log-uniform over three decades, each AP at a random part of its budget."""
    power = 10.0 ** rng.uniform(-3.0, 0.0, len(game.link_ap))
    for m, budget in enumerate(game.budget):
        own = game.link_ap == m
        if own.any():
            power[own] *= budget * rng.uniform(0.2, 1.0) / power[own].sum()
    return power


def _climb(game: Game, power: Array, value: float) -> float:
    """SLSQP on log SINR from `power`; the value reached if the end point is feasible, else `value`."""
    limit = game.budget[game.link_ap]
    aps = [m for m in range(len(game.budget)) if (game.link_ap == m).any()]

    def sinr_margin(x: Array) -> Array:
        p, ues, serving = x[:-1] ** 2 * limit, *game.signal.shape
        root = np.sqrt(p[: ues * serving]).reshape(ues, serving)
        shared = np.einsum("kjs,js->kj", game.coherent, root)
        sinr = (game.signal * root).sum(1) ** 2 / (game.leakage @ p + (shared**2).sum(1) + 1.0)
        return np.asarray(np.log(np.maximum(sinr, 1e-300)) - x[-1])

    def budget_margin(x: Array) -> Array:
        return np.array([1.0 - (x[:-1][game.link_ap == m] ** 2).sum() for m in aps])

    def sensing_margin(x: Array) -> Array:
        p = x[:-1] ** 2 * limit
        return np.asarray((game.echo @ p) / (game.sir_min * (game.cross_echo @ p + game.constraint_noise)) - 1.0)

    rules = [{"type": "ineq", "fun": rule} for rule in (sinr_margin, budget_margin, sensing_margin)]
    start = np.append(np.sqrt(power / limit), np.log(max(value, 1e-12)))
    bounds = [(1e-6, 1.0)] * len(power) + [(None, None)]
    search: Any = minimize  # its stubs know no mixed bounds
    end = search(lambda x: -float(x[-1]), start, bounds=bounds, constraints=rules, method="SLSQP", options={"maxiter": 200})
    reached = end.x[:-1] ** 2 * limit
    feasible = worst_shortfall(game, reached) <= 1e-6 and budget_margin(end.x).min() >= -1e-6
    return max(value, smallest_sinr(game, reached)) if feasible else value
