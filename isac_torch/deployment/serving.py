"""The HTTP service of a deployed allocator: POST /allocate, GET /health, /card, /metrics, /docs. Needs the extra `serve`.

Whatever a client sends is answered: 200 with powers, or 4xx with one line that says what to mend. 503 and 504 say that the
server is busy or out of time. Limits come before work: bytes before parsing, the size of a network before its statistics.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from isac_torch import __version__
from isac_torch.deployment.answers import answers_json, answers_npz
from isac_torch.deployment.batching import Batcher, Busy
from isac_torch.deployment.files import decode_json, decode_npz
from isac_torch.deployment.metrics import make_metrics
from isac_torch.deployment.schema import allocate_docs
from isac_torch.errors import IsacError, RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from isac_torch.deployment.allocator import Allocated, DeployedAllocator
    from isac_torch.deployment.snapshot import Snapshot

JSON = "application/json"
NPZ = ("application/x-npz", "application/octet-stream")
_INLINE = 2**16  # bytes: smaller bodies are parsed where they arrive, since a thread would take longer than the parser


@dataclass(frozen=True)
class Limits:
    """What a request may ask of the server.

    Attributes:
        max_bytes: of a request's body, and of the arrays an npz body unpacks to.
        max_drops: networks in a request.
        max_antennas: of an AP; statistics keep tables for every number of antennas they have seen.
        max_memory: bytes that the channel statistics of a request's networks may take, by `memory_of`.
        seconds: for the body to arrive, and again for the answer.
        max_waiting: networks that may wait for their turn.
        window: seconds that the first request of a batch waits for company.
        max_batch: networks in a batch.
    """

    max_bytes: int = 8 * 2**20
    max_drops: int = 256
    max_antennas: int = 32
    max_memory: float = 2.0**29
    seconds: float = 10.0
    max_waiting: int = 1024
    window: float = 1e-3
    max_batch: int = 64

    def __post_init__(self) -> None:
        """Refuse limits that let nothing through."""
        for name, value in vars(self).items():
            if not (value > 0 or (name == "window" and value == 0)):
                raise RequestError(f"{name}={value} must be positive")


def memory_of(snapshot: Snapshot) -> float:
    """Bytes that the statistics of one network take at most, by orders of magnitude: matrices per UE, AP and link."""
    serving = min(snapshot.serving_aps, snapshot.num_aps) if snapshot.serving_ap is None else snapshot.serving_ap.shape[1]
    sensing = min(snapshot.sensing_aps, snapshot.num_aps) if snapshot.sensing_ap is None else snapshot.sensing_ap.shape[1]
    ues, targets, antennas = snapshot.num_ues, snapshot.num_targets, snapshot.num_antennas
    links = ues * serving + targets * sensing
    echoes = targets * (len(snapshot.rx_position) * snapshot.num_aps + targets * links)
    return 16.0 * ((ues * (snapshot.num_aps + links) + targets * sensing) * antennas**2 + echoes)


def create_app(allocator: DeployedAllocator, limits: Limits = Limits()) -> FastAPI:
    """The service as an ASGI application, for `isac-torch serve` or any ASGI server (one worker process each)."""
    metrics = make_metrics()
    batcher = Batcher(
        allocator,
        window=limits.window,
        max_batch=limits.max_batch,
        max_cost=limits.max_memory,
        max_waiting=limits.max_waiting,
        on_batch=metrics.batch,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()

    app = FastAPI(title="isac-torch", version=__version__, lifespan=lifespan, redoc_url=None)

    @app.post("/allocate", **allocate_docs())
    async def allocate(request: Request) -> Response:
        """Transmit powers, W, for one network or a list of networks."""
        begin, status = time.perf_counter(), 500
        try:
            answers = await _allocate(request, batcher, limits)
            metrics.answers(answers)
            npz = NPZ[0] in request.headers.get("accept", "")
            content = answers_npz(answers) if npz else answers_json(answers)
            status = 200
            return Response(content, media_type=NPZ[0] if npz else JSON)
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            metrics.request(status, time.perf_counter() - begin)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether requests are answered, and how many networks wait."""
        if not batcher.running:
            raise HTTPException(503, "the allocator's thread has ended; restart the server")
        return {"status": "ok", "version": __version__, "waiting": batcher.waiting}

    @app.get("/card")
    async def card() -> Response:
        """The bundle's card: scenario class, features, units, ranges seen in training, versions, metrics."""
        return Response(json.dumps(allocator.card), media_type=JSON)

    @app.get("/metrics")
    async def prometheus() -> Response:
        """Counters in the text format of Prometheus."""
        text = metrics.text()
        if text is None:
            raise HTTPException(404, "no metrics: prometheus-client is not installed on the server")
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


async def _allocate(request: Request, batcher: Batcher, limits: Limits) -> list[Allocated]:
    """Powers for the networks in the body, or the HTTP error that says why not."""
    decode = _decoder(request)
    try:
        body = await asyncio.wait_for(_body(request, limits.max_bytes), limits.seconds)
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {limits.seconds:g} s; send it faster") from None
    except ClientDisconnect:
        raise HTTPException(400, "the client has gone") from None
    small = len(body) < _INLINE
    try:
        snapshots = decode(body, limits) if small else await asyncio.to_thread(decode, body, limits)
        return await asyncio.wait_for(batcher.allocate(snapshots, sum(map(memory_of, snapshots))), limits.seconds)
    except IsacError as error:
        raise HTTPException(422, " ".join(str(error).split())) from None
    except Busy:
        raise HTTPException(503, "too many networks wait; try again", headers={"Retry-After": "1"}) from None
    except TimeoutError:
        raise HTTPException(504, f"no answer within {limits.seconds:g} s; ask for fewer or smaller networks") from None


def _decoder(request: Request) -> Any:
    """What reads the body, by its media type."""
    kind = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "packed bodies are not read; send the body as it is")
    if kind == JSON:
        return _decode_json
    if kind in NPZ:
        return _decode_npz
    raise HTTPException(415, f"content-type {kind[:60]!r} is not read; send {JSON} or {NPZ[0]}")


async def _body(request: Request, max_bytes: int) -> bytes:
    """The body, refused as soon as it is known to be too large."""
    refusal = HTTPException(413, f"the body exceeds {max_bytes} bytes; send fewer networks at once")
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 15 or int(declared) > max_bytes:
        raise refusal
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise refusal
    return bytes(body)


def _decode_json(body: bytes, limits: Limits) -> list[Snapshot]:
    return _checked(decode_json(body, limits.max_drops), limits)


def _decode_npz(body: bytes, limits: Limits) -> list[Snapshot]:
    return _checked(decode_npz(body, limits.max_bytes, limits.max_drops), limits)


def _checked(snapshots: list[Snapshot], limits: Limits) -> list[Snapshot]:
    """Refuse networks too large, and values out of range, before they share a batch with others."""
    memory = sum(map(memory_of, snapshots))
    if memory > limits.max_memory:
        raise RequestError(
            f"the statistics need about {memory / 2**20:.0f} MiB, this server allows {limits.max_memory / 2**20:.0f}; "
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
