"""Weights of an earlier training, from which another goes on with other drops or another loss."""

from __future__ import annotations

from pathlib import Path

from isac_torch.errors import CheckpointError
from isac_torch.nn.checkpoint import Network, load_network


def take_weights(network: Network, path: Path | str) -> None:
    """Give `network` the weights stored at `path` (model.pt).

    Raises:
        CheckpointError: one line, where they are of another kind or of other sizes.
    """
    before, _ = load_network(Path(path), type(network))  # type: ignore[type-var]  # one of them
    if before.shape != network.shape:
        raise CheckpointError(f"{path}: a network of {before.shape}, where {network.shape} is trained; give those sizes")
    network.load_state_dict(before.state_dict())
