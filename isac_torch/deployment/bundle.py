"""A bundle on disk: is a folder one, and does its graph answer. Whatever cannot be relied on is refused when it is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from isac_torch.deployment.bounded_json import parse_json
from isac_torch.deployment.card import (
    ARCHIVE,
    CARD,
    FORMAT,
    MAX_CARD,
    ONNX,
    OUTPUTS,
    WEIGHTS,
    checked_bytes,
    has_shares,
    read_card,
)
from isac_torch.errors import BundleError, IsacError, NpzError
from isac_torch.npz import npz_arrays
from isac_torch.tracking.nodes import INPUTS
from isac_torch.tracking.share_inputs import SHARE_INPUTS, SHARE_OUTPUTS

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_RANK = dict.fromkeys(INPUTS, 3) | {"owner": 2, "is_ue": 2}
_SHARE_RANK = dict.fromkeys(SHARE_INPUTS, 3) | dict.fromkeys(("energy", "cross", "spread", "arrival", "departure"), 4)
"""Axes of the graphs' inputs."""
_MAX_WEIGHTS = 2**26
"""Bytes of weights that are read."""
_REMEDY = "write it again with `isac-torch export`"


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds what `isac-torch export` wrote and nothing else: a card that says so, graphs, weights, no more."""
    try:
        names = {path.name for path in folder.iterdir()}
        if not {CARD} <= names <= {CARD, ONNX, ARCHIVE, WEIGHTS} or not all(path.is_file() for path in folder.iterdir()):
            return False
        with (folder / CARD).open("rb") as file:
            card = parse_json(file.read(MAX_CARD))
        return isinstance(card, dict) and card.get("format") == FORMAT
    except (OSError, IsacError):
        return False


def load_bundle(folder: Path, threads: int = 1) -> tuple[InferenceSession, dict[str, Any]]:
    """The open graph and the card of a bundle.

    Args:
        folder: of the bundle.
        threads: of one call of the network.

    Raises:
        BundleError: in one line: it is missing, damaged or of another version, or onnxruntime is not installed.
    """
    card = read_card(folder)
    content = checked_bytes(folder, ONNX, card)
    try:
        import onnxruntime
    except ImportError:
        raise BundleError("onnxruntime is missing; install it: pip install 'isac-torch[runtime]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own for whatever it cannot read
        text = " ".join(str(error).split())[:200]
        raise BundleError(f"{folder / ONNX}: onnxruntime cannot open it ({text}); export the bundle again") from None
    found = {item.name: (item.type, len(item.shape)) for item in session.get_inputs()}
    rank, outputs = (_SHARE_RANK, SHARE_OUTPUTS) if has_shares(card) else (_RANK, OUTPUTS)
    if found != {name: ("tensor(float)", axes) for name, axes in rank.items()}:
        raise BundleError(f"{folder / ONNX}: its inputs are not those of an allocator ({_listed(found)}); {_REMEDY}")
    answers = {item.name: item.type for item in session.get_outputs()}
    if answers != dict.fromkeys(outputs, "tensor(float)"):
        raise BundleError(f"{folder / ONNX}: its outputs are not those of an allocator ({_listed(answers)}); {_REMEDY}")
    return session, card


def load_weights(folder: Path, card: dict[str, Any]) -> dict[str, ndarray] | None:
    """The network's weights by their names, for the compiled core; None where the bundle has none, as those written before it.

    Raises:
        BundleError: in one line: the file is missing or damaged.
    """
    if WEIGHTS not in card["sha256"]:
        return None
    content = checked_bytes(folder, WEIGHTS, card)
    try:
        weights = npz_arrays(content, _MAX_WEIGHTS)
    except NpzError as error:
        raise BundleError(f"{folder / WEIGHTS}: {error}") from None
    if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.values()):
        raise BundleError(f"{folder / WEIGHTS}: holds what is no finite float32 number; {_REMEDY}")
    return weights


def _listed(found: dict[str, Any]) -> str:
    return ", ".join(map(str, found))[:120] or "none"
