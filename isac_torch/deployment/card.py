"""The card of a bundle: what an exported allocator is, what it has seen, and whether its files are whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from isac_torch.deployment.bounded_json import parse_json
from isac_torch.deployment.card_schema import card_fault
from isac_torch.errors import BundleError, DropError
from isac_torch.tracking.balancing import Constants
from isac_torch.tracking.nodes import INPUTS
from isac_torch.tracking.share_inputs import SHARE_INPUTS, SHARE_OUTPUTS, SHARE_SYSTEM

if TYPE_CHECKING:
    from collections.abc import Collection

    from isac_torch.deployment.statistics import Coefficients

FORMAT, FORMAT_VERSION = "isac-torch-bundle", 3
_SECOND = {"floor_share": 0.01, "least_share": 1e-12, "least_own_gain": 1e-9}
"""Constants of the balancing layer that bundles of format 2 do not state: all of them were trained with these."""
CARD, ONNX, ARCHIVE, WEIGHTS = "card.json", "allocator.onnx", "allocator.pt2", "weights.npz"
NAMES = (
    "format", "format_version", "scenario", "network", "inputs", "input_units", "balance", "outputs", "ranges", "metrics",
    "training", "parity", "versions", "sha256",
)  # fmt: skip
"""Every name that a card may have."""
OUTPUTS = ["link", "owner_logit", "scale"]
"""Logits [drop, 1, link] and [drop, 1, node] of the balancing layer, and the nodes' powers that it starts from."""
MAX_CARD = 2**20
"""Bytes of a card that are read; a longer one is cut and refused."""
_REMEDY = "write it again with `isac-torch export`"
_SLACK = 1e-6
"""Of a range's width: rounding is no reason to call a network unlike those seen."""
_LEAST = 1e-30
"""Smallest number that is given in dB."""


@dataclass(frozen=True)
class Range:
    """Values of one quantity that training has seen.

    Attributes:
        least, most: smallest and largest.
        unit: of both.
    """

    least: float
    most: float
    unit: str


def read_card(folder: Path) -> dict[str, Any]:
    """The card of the bundle in `folder`. BundleError in one line where it is missing, damaged or of another version."""
    path = folder / CARD
    if folder.suffix == ".pt" and folder.is_file():
        remedy = f"make one of them with `isac-torch export --checkpoint {folder} --output BUNDLE`"
        raise BundleError(f"{folder}: weights, not a bundle; {remedy}")
    try:
        with path.open("rb") as file:
            card = parse_json(file.read(MAX_CARD))
    except OSError:
        raise BundleError(f"{path}: there is no bundle; give the folder that `isac-torch export` wrote") from None
    except DropError as error:
        raise BundleError(
            f"{path}: not readable, truncated or something else ({str(error).split(';')[0]}); {_REMEDY}"
        ) from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise BundleError(f"{path}: not the card of a bundle of isac-torch; {_REMEDY}")
    if card.get("format_version") == 2:
        stated = card.get("balance", {})
        card = {**card, "format_version": FORMAT_VERSION, "balance": _SECOND | stated if isinstance(stated, dict) else stated}
    if card.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{path}: format_version is {card.get('format_version')!r}, this version reads {FORMAT_VERSION}; {_REMEDY}"
        )
    shares = has_shares(card)
    fault = card_fault(
        card,
        names=NAMES,
        inputs=SHARE_INPUTS if shares else INPUTS,
        outputs=SHARE_OUTPUTS if shares else OUTPUTS,
        files=[ONNX],
        constants=[] if shares else [field.name for field in fields(Constants)],
        ranges=UNITS,
    )
    if fault:
        raise BundleError(f"{path}: {fault}; {_REMEDY}")
    return card


def has_shares(card: dict[str, Any]) -> bool:
    """Whether the bundle is of a network for requirements of every kind, which gives shares of the budgets."""
    network = card.get("network")
    return isinstance(network, dict) and network.get("system") == SHARE_SYSTEM


def ranges_of(card: dict[str, Any]) -> dict[str, Range]:
    """The ranges that the card lists."""
    return {name: Range(float(item["least"]), float(item["most"]), str(item["unit"])) for name, item in card["ranges"].items()}


def checked_bytes(folder: Path, name: str, card: dict[str, Any]) -> bytes:
    """The bytes of one file of the bundle. BundleError where they are missing or not those that were exported."""
    try:
        content = (folder / name).read_bytes()
    except OSError:
        raise BundleError(f"{folder / name}: missing; {_REMEDY}") from None
    if hashlib.sha256(content).hexdigest() != card["sha256"].get(name):
        raise BundleError(f"{folder / name}: the checksum is not the card's, the file is damaged or exchanged; {_REMEDY}")
    return content


UNITS = {
    "transmit_aps": "APs",
    "ues": "UEs",
    "targets": "targets",
    "links_per_ue": "links",
    "links_per_target": "links",
    "ues_per_ap": "UEs per AP",
    "pilot_contamination": "dB",
    "weakest_ue": "dB",
    "strongest_ue": "dB",
    "serving_spread": "dB",
    "budget_spread": "dB",
    "disturbance": "dB",
    "least_echo_ratio": "dB",
    "sir_min": "dB",
}
"""Quantities by which networks are told from those seen in training, and their units."""
REFINED = ("serving_spread", "budget_spread")
"""Those outside whose ranges the network falls far short of the optimum, so that its powers are improved by Newton steps."""


def quantities(problem: Coefficients) -> dict[str, np.ndarray]:
    """Each of `UNITS` for every drop; the last eight are gains times budgets over the noise, or ratios, in dB.

    weakest_ue, strongest_ue: the strongest serving link of a UE. serving_spread: of one UE, the strongest serving link over the
    weakest. budget_spread: the largest budget over the smallest, of APs with links. disturbance: all that reaches the most
    disturbed UE with every budget on each link. pilot_contamination: coherent interference in the same sense, 0 dB where no
    pilot is shared. least_echo_ratio: of the target with the worst best link, own echo over the other targets'. Without
    constraints on the SIR the last two do not exist and are left out.
    """
    return dict(zip(UNITS, _table(problem), strict=False))


def _table(problem: Coefficients) -> Float[np.ndarray, "quantity drop"]:
    """The quantities, one row each."""
    drops, ues, targets = problem.num_drops, problem.num_ues, problem.num_targets
    sensing = (problem.num_links - problem.num_comm_links) // max(targets, 1)
    sizes = (problem.num_aps, ues, targets, problem.serving, sensing, ues / problem.num_aps)
    limit = problem.link_budget
    serving = problem.serving_power(limit)
    reached = problem.signal * problem.signal * serving
    best = reached.max(-1)
    shared = np.zeros((drops, 1))
    if problem.has_pilot_reuse:
        shared = (np.vecdot(problem.coherent, np.sqrt(serving)[:, None]) ** 2).sum(-1)
    disturbance = (problem.leakage @ limit[..., None])[..., 0]
    spread = best / np.maximum(reached.min(-1), _LEAST)
    budgets = limit.max(-1) / limit.min(-1)
    linear = [1.0 + shared.max(-1), best.min(-1), best.max(-1), spread.max(-1), budgets, disturbance.max(-1)]
    if problem.num_constraints and not problem.asks_for_watts:
        ratio = np.maximum(problem.echo, _LEAST) / np.maximum(problem.cross_echo, _LEAST)
        linear += [ratio.max(-1).min(-1), problem.sir_min.max(-1)]
    table = np.empty((len(sizes) + len(linear), drops))
    table[: len(sizes)] = np.array(sizes)[:, None]
    table[len(sizes) :] = 10.0 * np.log10(np.maximum(linear, _LEAST))
    return table


class Seen:
    """The ranges of a card, ready to hold networks against."""

    def __init__(self, ranges: dict[str, Range]) -> None:
        """Quantities without a range are not judged."""
        self.ranges = ranges
        limits = [(ranges[name].least, ranges[name].most) if name in ranges else (-np.inf, np.inf) for name in UNITS]
        self._least, self._most = np.array(limits).T[..., None]
        slack = _SLACK * np.maximum(self._most - self._least, 1.0)
        self._least, self._most = self._least - slack, self._most + slack

    def unlike(self, problem: Coefficients) -> list[tuple[str, ...]]:
        """For each drop what lies outside the ranges, in words; empty where nothing does."""
        return self.outside(problem, UNITS)

    def outside(self, problem: Coefficients, names: Collection[str]) -> list[tuple[str, ...]]:
        """The same for some of the quantities."""
        return self.of_table(_table(problem), names)

    def of_table(self, value: Float[np.ndarray, "quantity drop"], names: Collection[str]) -> list[tuple[str, ...]]:
        """The same of the quantities themselves, one row each."""
        asked = np.array([name in names for name in UNITS])[: len(value), None]
        out = asked & ((value < self._least[: len(value)]) | (value > self._most[: len(value)]))
        strange: list[tuple[str, ...]] = [()] * value.shape[1]
        if out.any():
            every = list(UNITS)
            for row, drop in zip(*out.nonzero(), strict=True):
                seen, name = self.ranges[every[row]], every[row]
                words = f"{name} {value[row, drop]:.4g} {seen.unit}, seen {seen.least:.4g} to {seen.most:.4g}"
                strange[drop] = (*strange[drop], words)
        return strange
