"""Weights and their card in one npz file, which needs no torch: written whole, refused in one line where it is not."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from isac_torch.deployment.bounded_json import parse_json
from isac_torch.errors import BundleError, DropError, IsacError, NpzError
from isac_torch.files import write_whole
from isac_torch.npz import read_npz

if TYPE_CHECKING:
    from pathlib import Path

CARD = "card"
"""Name of the array that holds the card: the bytes of a JSON text."""
_MAX_BYTES = 64 * 2**20
"""Of a file of weights, as it lies on disk: hundreds of times what one needs."""


@dataclass(frozen=True)
class WeightsFile:
    """One kind of file.

    Attributes:
        word: what it is called, "policy".
        format, version, system: what its card says.
        command: of `isac-torch`, by which such a file is written.
    """

    word: str
    format: str
    version: int
    system: str
    command: str

    @property
    def remedy(self) -> str:
        """What to do about a file that cannot be used."""
        return f"write it again with `isac-torch {self.command}`"

    def write(self, path: Path, weights: dict[str, Float[ndarray, "..."]], facts: dict[str, Any]) -> None:
        """Write weights and their card as one file, atomically.

        Args:
            path: of the file, .npz.
            weights: named as torch names them.
            facts: JSON-able: the network's shape and how it was trained.
        """
        card = {"format": self.format, "format_version": self.version, "system": self.system, **facts}
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(card).encode(), dtype=np.uint8)
        np.savez_compressed(buffer, **{CARD: text, **weights})  # type: ignore[arg-type]  # arrays all
        write_whole(path, buffer.getvalue())

    def read(self, path: Path) -> tuple[dict[str, ndarray], dict[str, Any]]:
        """Arrays and card of such a file. BundleError in one line where it is none."""
        if path.suffix == ".pt":
            raise BundleError(
                f"{path}: weights of training; make a {self.word} of them with "
                f"`isac-torch {self.command} --checkpoint {path} --output {self.word}.npz`"
            )
        try:
            arrays = read_npz(path, _MAX_BYTES)
            card = parse_json(arrays.pop(CARD).tobytes())
        except FileNotFoundError:
            raise BundleError(
                f"{path}: there is no {self.word}; give the file that `isac-torch {self.command}` wrote"
            ) from None
        except (NpzError, DropError, KeyError) as error:
            said = str(error).split(";")[0] if isinstance(error, IsacError) else "there is no card in it"
            raise BundleError(f"{path}: not readable as a {self.word} ({said}); {self.remedy}") from None
        if not isinstance(card, dict) or card.get("format") != self.format:
            raise BundleError(f"{path}: not a {self.word} of isac-torch; {self.remedy}")
        if (card.get("format_version"), card.get("system")) != (self.version, self.system):
            said = f"version {card.get('format_version')!r} of {card.get('system')!r}"
            raise BundleError(f"{path}: {said}, this version reads version {self.version} of {self.system!r}; {self.remedy}")
        wrong = [name for name, value in arrays.items() if value.dtype != np.float32 or not np.isfinite(value).all()]
        if wrong:
            raise BundleError(f"{path}: {wrong[0]} is not finite numbers of single precision; {self.remedy}")
        return arrays, card
