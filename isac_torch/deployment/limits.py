"""What a request may ask of the server, and the networks of a body that asks for no more. Needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from isac_torch.deployment.bounded_json import JsonLimits
from isac_torch.deployment.files import NetworkT, decode_json, decode_npz
from isac_torch.deployment.memory import memory_of
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import IsacError, RequestError

Kind = Literal["json", "npz"]
_FIELDS = 80
"""Names of one network and what wraps it, at most."""


@dataclass(frozen=True)
class Limits:
    """What a request may ask of the server.

    Attributes:
        max_bytes: of a request's body, and of the arrays an npz body unpacks to.
        max_drops: networks in a request.
        max_antennas: of an AP; statistics keep tables for every number of antennas they have seen.
        max_memory: bytes that a request's networks may take while they are allocated, by `memory_of`.
        seconds: for the body to arrive, and again to read and to answer it.
        max_waiting: networks that may wait for their turn.
        window: seconds that the first request of a batch waits for company.
        max_batch: networks in a batch.
        max_values: numbers, texts, lists and objects of a JSON body.
    """

    max_bytes: int = 8 * 2**20
    max_drops: int = 256
    max_antennas: int = 32
    max_memory: float = 2.0**29
    seconds: float = 10.0
    max_waiting: int = 1024
    window: float = 1e-3
    max_batch: int = 64
    max_values: int = 1_000_000

    def __post_init__(self) -> None:
        """Refuse limits that let nothing through."""
        for name, value in vars(self).items():
            if not (value > 0 or (name == "window" and value == 0)):
                raise RequestError(f"{name}={value} must be positive")


def decode_body(
    kind: Kind,
    body: bytes,
    limits: Limits,
    network: type[NetworkT] = Snapshot,  # type: ignore[assignment]  # a default for a variable type
) -> list[NetworkT]:
    """The networks of a request's body, checked one by one before they share a batch with others.

    Raises:
        IsacError: in one line: no networks, values out of range, or more than `limits` allow.
    """
    if kind == "npz":
        snapshots = decode_npz(body, limits.max_bytes, limits.max_drops, network)
    else:
        names = _FIELDS * (limits.max_drops + 1)
        snapshots = decode_json(body, limits.max_drops, JsonLimits(names=names, values=limits.max_values), network)
    memory = sum(map(memory_of, snapshots))
    if memory > limits.max_memory:
        raise RequestError(
            f"the networks need about {memory / 2**20:.0f} MiB, this server allows {limits.max_memory / 2**20:.0f}; "
            "ask for fewer or smaller networks, or use `isac-torch allocate`"
        )
    for index, snapshot in enumerate(snapshots):
        try:
            snapshot.check()
            if snapshot.num_antennas > limits.max_antennas:
                raise RequestError(
                    f"num_antennas={snapshot.num_antennas}, this server allows {limits.max_antennas}; use `isac-torch allocate`"
                )
        except IsacError as error:
            raise RequestError(f"drop {index}: {error}" if len(snapshots) > 1 else str(error)) from None
    return snapshots
