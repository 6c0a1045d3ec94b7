"""What several training processes have to tell each other besides gradients."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def gathered(values: Tensor) -> Tensor:
    """`values` of all processes, joined along the first axis in the order of their ranks; `values` itself where there is one.

    The processes may have different numbers of values: the shares of a validation set need not be equal.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    count = torch.tensor([values.shape[0]], device=values.device)
    counts = [torch.empty_like(count) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, count)
    longest = int(torch.cat(counts).max())
    padded = values.new_zeros(longest, *values.shape[1:])
    padded[: values.shape[0]] = values
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, counts, strict=True)])
