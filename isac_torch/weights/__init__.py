"""Trained weights that come with the package, so that every command works without training first."""

from pathlib import Path

from isac_torch.errors import BundleError, CheckpointError


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


def shipped_bundle() -> Path:
    """The folder of the bundle shipped for the tracking system, to be read without torch. BundleError if there is none."""
    folder = Path(__file__).with_name("one_shot")
    if not folder.is_dir():
        raise BundleError("this installation comes without a bundle; give a folder of `isac-torch export`")
    return folder


def shipped_policy() -> Path:
    """The file of the distributed policy, to be read without torch. BundleError if there is none."""
    path = Path(__file__).with_name("distributed.npz")
    if not path.is_file():
        raise BundleError("this installation comes without a policy; give a file of `isac-torch distributed export`")
    return path


def shipped_roads() -> Path:
    """The file of the downlink-pilot system's network, to be read without torch. BundleError if there is none."""
    path = Path(__file__).with_name("downlink_pilots.npz")
    if not path.is_file():
        raise BundleError("this installation comes without it; give a file of `isac-torch downlink-pilots export`")
    return path


def shipped_frames() -> Path:
    """The file of the network that chooses pilot lengths of the downlink-pilot system. CheckpointError if there is none."""
    path = Path(__file__).with_name("downlink_pilots_frames.npz")
    if not path.is_file():
        raise CheckpointError("this installation has no network for pilot lengths; make one by benchmarks/frame_policy.py")
    return path
