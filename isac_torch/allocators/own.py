"""Allocators and networks that a user wrote outside the package, named `package.module:Name`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from isac_torch.allocation import Proposal
from isac_torch.errors import AllocationError


@dataclass(frozen=True)
class PowerFunction:
    """A function from a batch of problems to powers as an allocator; it certifies nothing.

    Attributes:
        name: short name for tables.
        function: gives the power of every link, [drop, link], W.
        gap: no certificate is offered.
    """

    name: str
    function: Callable[[Any], Tensor]
    gap: float = 0.0

    def propose(self, problem: Any) -> Proposal:
        """Powers (W) of every link."""
        return Proposal(self.function(problem))


def own_allocator(place: str, checkpoint: str | Path | None = None, system: str = "tracking") -> Any:
    """The allocator at `place`, such as `package.module:Name`. Importing it runs the code of its author.

    Args:
        place: a class that needs no arguments or an object, either with `propose(problem) -> Proposal`; a function from the
            problem to powers in W, [drop, link]; or the class of a network (`nn.Module`) that `isac-torch train` has trained.
        checkpoint: weights of such a network.
        system: whose allocator is wanted; networks of one's own are those of the tracking system.

    Raises:
        AllocationError: nothing can be imported from there, or what is there is no allocator.
        CheckpointError: the weights are not those of this network.
    """
    module, _, name = place.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, ValueError) as error:
        raise AllocationError(
            f"allocator {place!r}: {error}; put the folder of {module or 'the module'} on PYTHONPATH"
        ) from error
    except AttributeError:
        raise AllocationError(f"allocator {place!r}: {module} has no {name!r}; write package.module:Name") from None
    if inspect.isclass(found) and issubclass(found, nn.Module) and not hasattr(found, "propose"):
        if system != "tracking":
            raise AllocationError(f"allocator {place!r} is a network, which only the tracking system takes; give an allocator")
        if checkpoint is None:
            raise AllocationError(
                f"allocator {place!r} is a network; give its weights, the model.pt of a training, as checkpoint"
            )
        from isac_torch.allocators.tracking.learned import OwnLearned
        from isac_torch.nn.checkpoint import load_own_network

        return OwnLearned(place, load_own_network(Path(checkpoint), found))
    if inspect.isclass(found):
        try:
            found = found()
        except TypeError as error:
            raise AllocationError(f"allocator {place!r}: {error}; give every argument of the class a default") from error
    if callable(getattr(found, "propose", None)):
        return found
    if callable(found):
        return PowerFunction(place, found)
    raise AllocationError(
        f"allocator {place!r} has no propose(problem) and is no function of a problem; see isac_torch.Allocator"
    )
