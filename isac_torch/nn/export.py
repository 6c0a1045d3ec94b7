"""From trained weights to a bundle: ONNX and torch.export archives of the network, and a card. Needs torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from isac_torch import __version__
from isac_torch.deployment.bundle import is_bundle
from isac_torch.deployment.card import ARCHIVE, CARD, FORMAT, FORMAT_VERSION, ONNX, OUTPUTS, REFINED, UNITS, WEIGHTS, quantities
from isac_torch.deployment.statistics import Coefficients
from isac_torch.errors import BundleError, CheckpointError, IsacError
from isac_torch.files import replaced_folder
from isac_torch.nn.checkpoint import load_network, stored_system
from isac_torch.nn.export_shares import ShareArchive, share_facts, share_parity, write_share_graphs
from isac_torch.nn.graphs import OPSET, write_graphs
from isac_torch.nn.tracking.dense import DenseProblem
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.tensors import map_tensors
from isac_torch.tracking.balancing import CONSTANTS
from isac_torch.tracking.build import power_problem
from isac_torch.tracking.nodes import INPUTS, NodeProblem
from isac_torch.tracking.problem import MaxMinSinrProblem
from isac_torch.tracking.scenario import TrackingScenario

PARITY_SIZES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("2x1x1", {}),
    ("2x1x0", {}),
    ("3x2x2", {}),
    ("8x6x0", {}),
    ("16x16x1", {}),
    ("16x16x4", {}),
    ("16x16x4", {"pilot_length": 8}),
    ("12x20x3", {"serving_aps": 2, "sensing_aps": 3}),
    ("64x64x8", {}),
    ("400x400x8", {"pilot_length": 100}),
)
"""Sizes at which the exported graphs must answer as the network does."""
PARITY = 5e-3
"""Largest difference of a logit for most drops: single precision, amplified by prices that are nearly degenerate."""
_SEED = 70_000_000
INPUT_UNITS = {
    "signal": "1/sqrt(W)",
    "heard": "1/W at UEs, 1 at targets",
    "required": "0 at UEs, 1 at targets",
    "coherent": "1/sqrt(W)",
    "budget": "W",
    "sent": "0 or 1",
    "owner": "0 or 1",
    "is_ue": "0 or 1",
}


class Archive(nn.Module):
    """The network as a function of plain arrays, for exporters: inputs are `nodes.INPUTS`, outputs `card.OUTPUTS`."""

    def __init__(self, network: OneShotNetwork) -> None:
        """Around a trained network."""
        super().__init__()
        self.network = network

    def forward(
        self,
        signal: Float[Tensor, "drop 1 link"],
        heard: Float[Tensor, "drop node link"],
        required: Float[Tensor, "drop node link"],
        coherent: Float[Tensor, "drop node link"],
        budget: Float[Tensor, "drop 1 ap"],
        sent: Float[Tensor, "drop ap link"],
        owner: Float[Tensor, "node link"],
        is_ue: Float[Tensor, "1 node"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of links and of nodes and a start for balancing, [drop, 1, n]."""
        problem = DenseProblem(signal, heard, required, coherent, budget, sent, owner, is_ue)
        found = self.network.directions(problem)
        return found.link, found.owner, found.scale


class Parity(NamedTuple):
    """Largest differences to the network at one size, ONNX and archive, and drops compared."""

    size: str
    onnx: float
    archive: float
    drops: int


def export_bundle(checkpoint: Path, output: Path) -> dict[str, Any]:
    """Write a bundle to the folder `output` and return its card.

    Args:
        checkpoint: model.pt of a one-shot network, or of one for shares (requirements of every kind).
        output: folder; an older bundle there is replaced, anything else is refused.

    Raises:
        CheckpointError: the weights cannot be used, or do not say what they were trained on.
        OutputError: the folder holds something else, or cannot be written.
        BundleError: an exported graph does not answer as the network does.
    """
    network: OneShotNetwork | ShareNetwork
    if stored_system(Path(checkpoint)) == ShareNetwork.SYSTEM:
        network, training = load_network(Path(checkpoint), ShareNetwork)
    else:
        network, training = load_network(Path(checkpoint), OneShotNetwork)
    seen = trained_on(Path(checkpoint), training)
    with replaced_folder(Path(output), is_bundle, "a bundle") as folder:
        if isinstance(network, ShareNetwork):
            shares = ShareArchive(network).eval()
            write_share_graphs(shares, folder)
            own = share_facts(share_parity(shares, folder))
        else:
            _write_graphs(Archive(network).eval(), folder)
            np.savez(folder / WEIGHTS, **native_weights(network))
            own = _facts(check_parity(network, folder))
        card = _card(network, training, ranges(seen)) | own
        files = [name for name in (ONNX, ARCHIVE, WEIGHTS) if (folder / name).exists()]
        card["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
        (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def _write_graphs(archive: Archive, folder: Path) -> None:
    """ONNX and .pt2, every size open."""
    from torch.export import Dim

    example = DenseProblem.of(_problem("16x14x5", 6, serving_aps=3))
    drop, owner, ap, link = (Dim(name, min=2) for name in ("drops", "owners", "aps", "links"))
    axes = dict.fromkeys(INPUTS, (drop, owner, link)) | {
        "signal": (drop, None, link),
        "budget": (drop, None, ap),
        "sent": (drop, ap, link),
        "owner": (owner, link),
        "is_ue": (None, owner),
    }
    write_graphs(archive, {name: getattr(example, name) for name in INPUTS}, axes, OUTPUTS, folder)


def native_weights(network: OneShotNetwork) -> dict[str, Any]:
    """The weights as the compiled core reads them: matrices [input, output], the scaling of the links' features folded in."""
    state = {name: value.detach().double() for name, value in network.named_parameters()}
    mean, spread = network.log_scale.double()
    scaled = state["encode_link.weight"] / spread
    state |= {"encode_link.weight": scaled, "encode_link.bias": state["encode_link.bias"] - scaled @ mean}
    turned = {name: (value.mT if value.ndim == 2 else value).numpy() for name, value in state.items()}
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in turned.items()}


def check_parity(network: OneShotNetwork, folder: Path) -> list[Parity]:
    """Differences of the graphs in `folder` to `network`. BundleError where the median drop of a size exceeds `PARITY`."""
    from onnxruntime import InferenceSession

    session = InferenceSession(folder / ONNX, providers=["CPUExecutionProvider"])
    archive = torch.export.load(folder / ARCHIVE).module(check_guards=False)  # they would refuse sizes of one
    found = []
    for size, changes in PARITY_SIZES:
        problem = _problem(size, 1 if size.startswith("400") else 3, **changes)
        answers = []
        for inputs in NodeProblem.of(_arrays(problem)).network_inputs():
            with torch.no_grad():
                tensors = [torch.tensor(inputs[name]) for name in INPUTS]
                both = [torch.cat(graph(*tensors), 2).numpy() for graph in (Archive(network), archive)]
            answers.append([*both, np.concatenate(session.run(OUTPUTS, inputs), 2)])
        wanted, stored, got = (np.concatenate(part) for part in zip(*answers, strict=True))
        apart = [np.abs(answer - wanted).max((1, 2)) for answer in (got, stored)]
        row = Parity(size, float(apart[0].max()), float(apart[1].max()), len(wanted))
        if not all(float(np.median(value)) <= PARITY for value in apart):
            raise BundleError(
                f"at {size} the exported graphs differ from the network by {row.onnx:.1e} (ONNX) and {row.archive:.1e} (.pt2), "
                f"more than {PARITY:g}; use the versions of constraints.txt"
            )
        found.append(row)
    return found


@dataclass(frozen=True)
class TrainedOn:
    """What a network has seen in training.

    Attributes:
        scenarios: of its drops, each once.
        sir_min_db: least and largest required SIR, dB.
    """

    scenarios: tuple[TrackingScenario, ...]
    sir_min_db: tuple[float, float]


def trained_on(path: Path, training: dict[str, Any]) -> TrainedOn:
    """What the facts stored in the `model.pt` at `path` say. CheckpointError in one line where they do not say it."""
    try:
        data = training["hyperparameters"]["data"]
        scenarios = tuple(TrackingScenario.from_mapping(item) for item in data["scenarios"])
        drawn = data["requirements"]
        own = [scenario.sir_min_db for scenario in scenarios]
        sir = (float(drawn["low_db"]), float(drawn["high_db"])) if drawn and "low_db" in drawn else (min(own), max(own))
    except (KeyError, TypeError, ValueError, AttributeError, IsacError):
        raise CheckpointError(
            f"{path}: does not say what the network was trained on, so that its card could not either; "
            "train it again with `isac-torch train`"
        ) from None
    return TrainedOn(scenarios, sir)


def ranges(seen: TrainedOn, num_drops: int = 100) -> dict[str, dict[str, Any]]:
    """Least and most of every quantity of the card over `num_drops` drops of each scenario, SIR0 as trained.

    What drops without sensing constraints do not have is 0 to 0, if no scenario has any.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in UNITS}
    for index, scenario in enumerate(seen.scenarios):
        generator = torch.Generator().manual_seed(_SEED + 1 + index)
        problem = power_problem(scenario.sample(num_drops, generator=generator), scenario)
        for name, value in quantities(_arrays(problem)).items():
            found[name].append(value)
    limits = {name: np.concatenate(values or [np.zeros(1)]) for name, values in found.items()}
    limits["sir_min"] = np.array(seen.sir_min_db)
    for name in REFINED:
        limits[name] = np.append(limits[name], 0.0)  # equal budgets and gains are no harder than those seen
    return {
        name: {"least": float(values.min()), "most": float(values.max()), "unit": UNITS[name]}
        for name, values in limits.items()
    }


def _arrays(problem: MaxMinSinrProblem) -> Coefficients:
    return cast("Coefficients", map_tensors(problem, lambda t: cast("Any", t.numpy())))


def _problem(size: str, num_drops: int, **changes: Any) -> MaxMinSinrProblem:
    scenario = TrackingScenario.of_size(size, **changes)
    generator = torch.Generator().manual_seed(_SEED)
    return power_problem(scenario.sample(num_drops, generator=generator), scenario).cast(torch.float32)


def _card(network: OneShotNetwork | ShareNetwork, training: dict[str, Any], seen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the cards of all networks hold."""
    import onnxruntime

    versions = {"isac-torch": __version__, "torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "opset": OPSET}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "network": {"system": network.SYSTEM, "feature_version": network.FEATURE_VERSION, **network.shape},
        "ranges": seen,
        "metrics": training.get("metrics", {}),
        "training": {key: value for key, value in training.items() if key != "metrics"},
        "versions": versions,
    }


def _facts(parity: list[Parity]) -> dict[str, Any]:
    """What only the card of a one-shot network holds."""
    return {
        "scenario": "tracking system: max-min SINR, per-AP budgets, sensing constraints on the SIR",
        "inputs": dict.fromkeys(INPUTS, "float32"),
        "input_units": INPUT_UNITS,
        "balance": asdict(CONSTANTS),
        "outputs": dict(
            zip(OUTPUTS, ("logits of the shares", "logits of excesses and floors", "start of the scales"), strict=True)
        ),
        "parity": [row._asdict() for row in parity],
    }
