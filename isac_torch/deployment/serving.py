"""The HTTP service of a deployed allocator: POST /allocate, GET /health, /card, /metrics, /docs. Needs the extra `serve`.

Whatever a client sends is answered: 200 with powers, or 4xx with one line that says what to mend. 503 and 504 say that the
server is busy or out of time. Limits come before work: bytes before parsing, the size of a network before its statistics.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.requests import ClientDisconnect

from isac_torch import __version__
from isac_torch.deployment.answers import answers_json, answers_npz
from isac_torch.deployment.batching import Batcher, Busy
from isac_torch.deployment.decoding import Decoders
from isac_torch.deployment.downlink_pilots.snapshot import RoadSnapshot
from isac_torch.deployment.limits import Kind, Limits, decode_body
from isac_torch.deployment.memory import memory_of
from isac_torch.deployment.metrics import make_metrics
from isac_torch.deployment.schema import allocate_docs
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import IsacError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from isac_torch.deployment.allocator import DeployedAllocator
    from isac_torch.deployment.downlink_pilots.allocator import RoadAllocator

JSON = "application/json"
NPZ = ("application/x-npz", "application/octet-stream")
_INLINE = 2**14
"""Bytes: smaller bodies are decoded where they arrive, in a few milliseconds; larger ones in a process of their own."""


_DEFAULT = Limits()


def create_app(
    allocator: DeployedAllocator | RoadAllocator,
    limits: Limits = _DEFAULT,
    network: type[Snapshot] | type[RoadSnapshot] = Snapshot,
) -> FastAPI:
    """The service as an ASGI application, for `isac-torch serve` or any ASGI server (one worker process each).

    `network`: kind of the networks that the allocator takes.
    """
    metrics = make_metrics()
    batcher = Batcher(
        allocator,
        window=limits.window,
        max_batch=limits.max_batch,
        max_cost=limits.max_memory,
        max_waiting=limits.max_waiting,
        on_batch=metrics.batch,
    )

    decoders = Decoders(limits, network=network)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()
        await decoders.stop()

    app = FastAPI(title="isac-torch", version=__version__, lifespan=lifespan, redoc_url=None)

    @app.post("/allocate", **allocate_docs(network))
    async def allocate(request: Request) -> Response:
        """Transmit powers, W, for one network or a list of networks."""
        begin, status = time.perf_counter(), 500
        try:
            answers = await _allocate(request, batcher, decoders, limits, network)
            metrics.answers(answers)
            npz = NPZ[0] in request.headers.get("accept", "")
            content = await asyncio.to_thread(answers_npz if npz else answers_json, answers)
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
        return {"status": "ok", "version": __version__, "computes_by": allocator.computes_by, "waiting": batcher.waiting}

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


async def _allocate(
    request: Request,
    batcher: Batcher,
    decoders: Decoders,
    limits: Limits,
    network: type[Snapshot] | type[RoadSnapshot],
) -> Sequence[Any]:
    """Powers for the networks in the body, or the HTTP error that says why not."""
    kind = _kind(request)
    try:
        body = await asyncio.wait_for(_body(request, limits.max_bytes), limits.seconds)
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {limits.seconds:g} s; send it faster") from None
    except ClientDisconnect:
        raise HTTPException(400, "the client has gone") from None
    try:
        async with asyncio.timeout(limits.seconds):
            small = len(body) < _INLINE
            snapshots: list[Any] = decode_body(kind, body, limits, network) if small else await decoders.decode(kind, body)
            return await batcher.allocate(snapshots, sum(map(memory_of, snapshots)))
    except IsacError as error:
        raise HTTPException(422, " ".join(str(error).split())) from None
    except Busy:
        raise HTTPException(503, "too many networks wait; try again", headers={"Retry-After": "1"}) from None
    except TimeoutError:
        raise HTTPException(504, f"no answer within {limits.seconds:g} s; ask for fewer or smaller networks") from None


def _kind(request: Request) -> Kind:
    """How to read the body, by its media type."""
    kind = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "packed bodies are not read; send the body as it is")
    if kind == JSON:
        return "json"
    if kind in NPZ:
        return "npz"
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
