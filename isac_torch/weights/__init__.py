"""Trained weights that come with the package, so that every command works without training first."""

from pathlib import Path

from isac_torch.errors import CheckpointError


def shipped_weights(system: str = "tracking") -> Path:
    """The file of the weights shipped for one system, to be read by `isac_torch.nn.checkpoint.load_network`.

    Args:
        system: which of the systems that this package describes.

    Raises:
        CheckpointError: if this installation has no weights of that system.
    """
    path = Path(__file__).with_name(f"{system}.pt")
    if not path.is_file():
        raise CheckpointError(f"no weights of the {system} system are installed with isac_torch; give a checkpoint of your own")
    return path
