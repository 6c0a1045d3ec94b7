"""Networks as graphs that need no torch: ONNX, and the archive of torch.export, with every size left open."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isac_torch.deployment.card import ARCHIVE, ONNX

OPSET = 20


def write_graphs(
    archive: nn.Module, inputs: Mapping[str, Tensor], axes: Mapping[str, Sequence[Any]], outputs: list[str], folder: Path
) -> None:
    """ONNX and .pt2.

    Args:
        archive: a function of arrays, its arguments in the order of `inputs`.
        inputs: an example, by name; every open axis has two entries at least.
        axes: of each input: a `torch.export.Dim`, or None where the length is fixed.
        outputs: names of what it returns.
        folder: where `allocator.onnx` and `allocator.pt2` go.
    """
    from torch.export import export, save

    names = list(inputs)
    sizes = tuple(dict(enumerate(axes[name])) for name in names)
    with warnings.catch_warnings(), _without_log(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = export(archive, tuple(inputs.values()), dynamic_shapes=sizes)
        buffer = io.BytesIO()  # its own writer to a file ends the process on a full disk
        save(program, buffer)
        (folder / ARCHIVE).write_bytes(buffer.getvalue())
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=names, output_names=outputs, verbose=False
        )
        assert exported is not None  # noqa: S101 - only with dynamo=False
        exported.save(folder / ONNX)


@contextmanager
def _without_log() -> Iterator[None]:
    """Nothing below an error is logged: torch tells what its exporters think of their own steps."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
