"""Large bodies become networks in processes of their own, which a deadline can end.

Python's parsers hold the interpreter's lock from the first byte to the last: in a thread they would stop the event loop, and
nothing can end them. A few processes, started when the first large body comes, wait for bodies on their standard input and
answer on their standard output; one that takes too long is killed, and the next body starts another.

Frames: one byte of kind, eight of length (little-endian), then the content.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import struct
import sys
from typing import Any, BinaryIO

from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.limits import Kind, Limits, decode_body
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import IsacError, RequestError

_HEAD = struct.Struct("<BQ")
_KINDS: tuple[Kind, ...] = ("json", "npz")
_NETWORKS, _REFUSAL = 0, 1
_PIPE = 2**20
"""Bytes that wait in a pipe's buffer on this side."""


class Decoders:
    """At most `count` processes that decode bodies for one event loop.

    Args:
        limits: of requests.
        count: bodies that are decoded at the same time; further ones wait.
        network: kind of network.
    """

    def __init__(self, limits: Limits, count: int = 2, network: type[Snapshot] | type[RoadSnapshot] = Snapshot) -> None:
        self._limits, self._network = limits, network
        self._free: asyncio.Queue[asyncio.subprocess.Process | None] = asyncio.Queue()
        for _ in range(count):
            self._free.put_nowait(None)
        self._busy: set[asyncio.subprocess.Process] = set()

    async def decode(self, kind: Kind, body: bytes) -> list[Any]:
        """The networks of a body. Cancelling it, as a time limit does, ends the work.

        Raises:
            IsacError: in one line: what `decode_body` raises.
        """
        process = await self._free.get()
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            self._busy.add(process)
            answer, content = await _ask(process, kind, body)
        except BaseException:  # cancelled or broken: whatever the process does now, nobody will read it
            self._free.put_nowait(None)
            if process is not None:
                self._busy.discard(process)
                _kill(process)
            raise
        self._busy.discard(process)
        self._free.put_nowait(process)
        if answer == _REFUSAL:
            raise RequestError(content.decode())
        snapshots: list[Any] = pickle.loads(content)  # noqa: S301 - from a process of ours, never a client's bytes
        return snapshots

    async def _start(self) -> asyncio.subprocess.Process:
        code = "from isac_torch.deployment.decoding import work; work()"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is for the server, which ends what it started
        )
        await _send(process, 0, pickle.dumps((self._limits, self._network)))
        return process

    async def stop(self) -> None:
        """End every process."""
        while not self._free.empty():
            process = self._free.get_nowait()
            if process is not None:
                self._busy.add(process)
        for process in self._busy:
            _kill(process)
            await process.wait()


async def _ask(process: asyncio.subprocess.Process, kind: Kind, body: bytes) -> tuple[int, bytes]:
    assert process.stdout is not None  # noqa: S101 - opened above
    try:
        await _send(process, _KINDS.index(kind), body)
        answer, length = _HEAD.unpack(await process.stdout.readexactly(_HEAD.size))
        return answer, await process.stdout.readexactly(length)
    except (asyncio.IncompleteReadError, BrokenPipeError, ConnectionResetError):
        raise RequestError("the body could not be decoded; send fewer networks at once") from None


async def _send(process: asyncio.subprocess.Process, kind: int, content: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - opened above
    process.stdin.write(_HEAD.pack(kind, len(content)))
    process.stdin.write(content)
    await process.stdin.drain()


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def work() -> None:
    """What a decoding process does: limits first, then bodies, until its standard input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    first = _receive(source)
    if first is None:
        return
    limits, network = pickle.loads(first[1])  # noqa: S301 - from the server that started this process
    while (frame := _receive(source)) is not None:
        try:
            kind, content = _NETWORKS, pickle.dumps(decode_body(_KINDS[frame[0]], frame[1], limits, network), protocol=5)
        except IsacError as error:
            kind, content = _REFUSAL, str(error).encode(errors="backslashreplace")
        sink.write(_HEAD.pack(kind, len(content)))
        sink.write(content)
        sink.flush()


def _receive(source: BinaryIO) -> tuple[int, bytes] | None:
    """Kind and content of the next frame; None at the end."""
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack(head)
    content = source.read(length)
    return (kind, content) if len(content) == length else None
