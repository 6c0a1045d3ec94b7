"""Trained networks on disk: plain tensors and JSON-able metadata, readable without running code from the file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from isac_torch.errors import CheckpointError
from isac_torch.fields import FORMER_NAMES
from isac_torch.files import write_whole
from isac_torch.nn.downlink_pilots.network import DownlinkPilotNetwork
from isac_torch.nn.tracking.local_network import DistributedNetwork
from isac_torch.nn.tracking.network import AllocationNetwork
from isac_torch.nn.tracking.one_shot import OneShotNetwork
from isac_torch.nn.tracking.own import OwnNetwork, class_path
from isac_torch.nn.tracking.set_scorer import SetScorer
from isac_torch.nn.tracking.share_network import ShareNetwork
from isac_torch.nn.tracking.unfolded import UnfoldedPrices

FORMAT = "isac-torch-network"
FORMAT_VERSION = 1
NetworkT = TypeVar(
    "NetworkT",
    AllocationNetwork,
    OneShotNetwork,
    ShareNetwork,
    DistributedNetwork,
    UnfoldedPrices,
    DownlinkPilotNetwork,
    SetScorer,
)
Network: TypeAlias = (
    AllocationNetwork | OneShotNetwork | ShareNetwork | DistributedNetwork | UnfoldedPrices | DownlinkPilotNetwork | SetScorer
)
KINDS: tuple[type[Network], ...] = get_args(Network)
_REMEDY = "train it again"
_USES = {
    AllocationNetwork.SYSTEM: "an allocation network, which `isac-torch evaluate` takes",
    ShareNetwork.SYSTEM: "a network for requirements of every kind, which `isac-torch export` makes a bundle of",
    OneShotNetwork.SYSTEM: "a one-shot network, which `isac-torch export` makes a bundle of for `isac-torch allocate`",
    OwnNetwork.SYSTEM: "a network of one's own, which `isac-torch evaluate` takes as package.module:Name",
    DistributedNetwork.SYSTEM: "a distributed network, which `isac-torch evaluate` takes as distributed_r<rounds>",
    UnfoldedPrices.SYSTEM: "unfolded price steps, which `isac-torch evaluate` takes as unfolded_r<rounds>",
    SetScorer.SYSTEM: "a scorer of receive APs, which `isac_torch.roles.scored` takes",
    DownlinkPilotNetwork.SYSTEM: "a downlink-pilot network, which `isac-torch downlink-pilots` evaluates and exports",
}
"""What each network is, and the command that takes its weights."""


def save_network(path: Path, network: Network | OwnNetwork, training: dict[str, Any]) -> None:
    """Write weights with their system, feature version and shape, atomically.

    Args:
        path: file to write.
        network: the trained network; its weights are stored on the CPU.
        training: JSON-able facts of the training run, for people.
    """
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "system": network.SYSTEM,
        "feature_version": network.FEATURE_VERSION,
        "network": dict(network.shape),
        "training": json.loads(json.dumps(training)),
        "weights": {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()},
    }
    buffer = io.BytesIO()  # torch's own writer of files ends the process where the disk is full
    torch.save(content, buffer)
    write_whole(path, buffer.getvalue())


def load_network(path: Path, kind: type[NetworkT]) -> tuple[NetworkT, dict[str, Any]]:
    """The network of class `kind` stored at `path`, ready to answer, and the facts of its training.

    Raises:
        CheckpointError: the file is missing, corrupt, of another system or feature version, or holds a value that is not
            finite.
    """
    content = _content(path, kind)
    if not _weights_fit(content.get("weights"), content.get("network"), kind):
        raise CheckpointError(f"{path}: weights do not fit the network that the file describes; {_REMEDY}")
    network = kind(**content["network"])
    network.load_state_dict(content["weights"])
    _check_finite(path, network)
    training = content.get("training", {})
    return network.eval(), training if isinstance(training, dict) else {}


def load_own_network(path: Path, module: type[nn.Module]) -> OwnNetwork:
    """The network around the user's class `module` stored at `path`, ready to answer.

    The file says with which arguments the class was made; which class that is, the caller says and not the file.

    Raises:
        CheckpointError: as `load_network`; or the weights are of another class, or the class does not take them.
    """
    content = _content(path, OwnNetwork)
    shape = content.get("network")
    shape = shape if isinstance(shape, dict) else {}
    if shape.get("class_path") != class_path(module):
        raise CheckpointError(f"{path}: weights of {shape.get('class_path')!s:.80}; name this class, not {class_path(module)}")
    try:
        network = OwnNetwork(module(**shape["init_args"]), shape["init_args"])
        network.load_state_dict(content["weights"])
    except (TypeError, KeyError, AttributeError, RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise CheckpointError(f"{path}: {class_path(module)} does not take these weights ({words:.120}); {_REMEDY}") from error
    _check_finite(path, network)
    return network.eval()


def _content(path: Path, kind: type[Network | OwnNetwork]) -> dict[str, Any]:
    """What the file at `path` holds, which is a network of class `kind`."""
    content = _read(path)
    content["system"] = FORMER_NAMES.get(str(content.get("system")), content.get("system"))
    expected = {"format_version": FORMAT_VERSION, "system": kind.SYSTEM, "feature_version": kind.FEATURE_VERSION}
    if content["system"] != kind.SYSTEM and content["system"] in _USES:
        raise CheckpointError(
            f"{path}: weights of {_USES[content['system']]}; give those of {_USES[kind.SYSTEM].split(',')[0]}"
        )
    for key, value in expected.items():
        if content.get(key) != value:
            raise CheckpointError(f"{path}: {key} is {content.get(key)!r}, but this version reads {value!r}; {_REMEDY}")
    return content


def _check_finite(path: Path, network: nn.Module) -> None:
    for name, value in network.state_dict().items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(f"{path}: weight {name} is not finite; {_REMEDY}")


class _Undrawn(TorchFunctionMode):
    """No start weights are drawn: without memory that would load torch's compilers, more than a second of each process."""

    def __torch_function__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        named = named or {}
        if function.__name__.endswith(("normal_", "uniform_")):
            return given[0] if given else named["tensor"]
        return function(*given, **named)


def _weights_fit(weights: Any, shape: Any, kind: type[NetworkT]) -> bool:
    """Whether the weights are those of a network of this shape: names, sizes, real numbers, all of them in the file.

    The network is built without memory to compare with, and not even so where it states sizes that no weight has.
    """
    if not isinstance(shape, dict) or not isinstance(weights, dict) or not weights:
        return False
    for value in weights.values():
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or not value.is_contiguous():
            return False
    most = max(len(weights), *(max(value.shape, default=1) for value in weights.values()))
    if any(isinstance(size, int) and not 0 <= size <= most for size in shape.values()):
        return False
    try:
        with torch.device("meta"), _Undrawn():
            wanted = kind(**shape).state_dict()
    except (TypeError, AttributeError, RuntimeError, ValueError):
        return False
    return wanted.keys() == weights.keys() and all(weights[name].shape == value.shape for name, value in wanted.items())


def stored_kind(path: Path) -> type[Network]:
    """Class of the network stored at `path`. CheckpointError where the file is no network of this version."""
    system = stored_system(path)
    for kind in KINDS:
        if system == kind.SYSTEM:
            return kind
    raise CheckpointError(f"{path}: system is {system!r}, which this version does not know; {_REMEDY}")


def stored_system(path: Path) -> str:
    """System of the network stored at `path`, such as "tracking". CheckpointError where the file is no network."""
    name = str(_read(path).get("system"))
    return FORMER_NAMES.get(name, name)


def stored_facts(path: Path) -> dict[str, Any]:
    """What a file of weights says of itself: number of parameters, feature version, shape and facts of the training.

    Raises:
        CheckpointError: as `load_network`. A network of one's own is not made for this: its class is not known here.
    """
    if stored_system(path) != OwnNetwork.SYSTEM:
        network, training = load_network(path, stored_kind(path))  # type: ignore[type-var]
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return _facts(parameters, network.FEATURE_VERSION, dict(network.shape), training)
    content = _content(path, OwnNetwork)
    entries = [content.get(name) for name in ("weights", "network", "training")]
    weights, shape, training = (entry if isinstance(entry, dict) else {} for entry in entries)
    parameters = sum(value.numel() for value in weights.values() if isinstance(value, torch.Tensor))
    return _facts(parameters, OwnNetwork.FEATURE_VERSION, shape, training)


def _facts(parameters: int, feature_version: int, shape: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": parameters, "feature_version": feature_version, "network": shape, "training": training}


def _read(path: Path) -> dict[str, Any]:
    if (path / "card.json").is_file():
        raise CheckpointError(f"{path}: a bundle, which `isac-torch allocate --model` takes; give the model.pt of a training")
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint; {_REMEDY}, which writes model.pt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - the unpickler fails on garbage in every way there is
        raise CheckpointError(f"{path}: not a readable network, truncated or something else; {_REMEDY}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a network of isac-torch (a Lightning checkpoint is not one); give model.pt")
    return content
