"""The requests of `soak_server.py`: valid networks, faults, oversized bodies and noise, each with what its answer must be."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the inputs are those of the tests

from isac_torch.deployment.allocated import Allocated
from isac_torch.deployment.allocator import DeployedAllocator
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import Coefficients, coefficients
from tests import hostile_drops


@dataclass
class Tally:
    """What the clients saw.

    Attributes:
        statuses: answers by kind of request and HTTP status.
        problems: everything that must not happen.
        checked: networks whose powers were compared with the direct call.
        different: those of them whose smallest SINR is not that of the direct call to one per cent.
        worst_difference: largest difference of a power to that of the direct call, relative to the largest power.
        latency: seconds of each valid request.
        memory: resident set of the server, bytes, each second.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    checked: int = 0
    different: int = 0
    worst_difference: float = 0.0
    latency: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Known:
    """A valid request, its power problems and what the direct call answers."""

    body: bytes
    kind: str
    problems: list[Coefficients]
    answers: list[Allocated]


def known_requests(allocator: DeployedAllocator, count: int, seed: int) -> list[Known]:
    """Valid requests of all sizes, in both formats, with their right answers."""
    known = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        drops = [hostile_drops.plain(rng) for _ in range(1 if index % 4 else int(rng.integers(2, 6)))]
        if index % 2:
            drops = [hostile_drops.with_gains(rng, drop) for drop in drops]
        snapshots = [Snapshot.from_mapping(drop) for drop in drops]
        problems = [coefficients([snapshot]) for snapshot in snapshots]
        answers = [allocator(snapshot) for snapshot in snapshots]
        if len(drops) == 1 and index % 3 == 0:
            known.append(Known(hostile_drops.as_npz(drops[0]), "application/x-npz", problems, answers))
        else:
            bodies = [hostile_drops.as_json(drop).decode() for drop in drops]
            known.append(Known(f"[{','.join(bodies)}]".encode(), "application/json", problems, answers))
    return known


async def valid(client: httpx.AsyncClient, tally: Tally, known: Known, exact: bool) -> None:
    """Send a valid request and judge the answer."""
    begin = time.perf_counter()
    response = await client.post("/allocate", content=known.body, headers={"content-type": known.kind})
    tally.latency.append(time.perf_counter() - begin)
    tally.statuses[f"valid {response.status_code}"] += 1
    if response.status_code in (503, 504):  # it may be busy or late, but must say so
        return
    if response.status_code != 200:
        tally.problems.append(f"valid request got {response.status_code}: {response.text[:200]}")
        return
    for answer, problem, direct in zip(response.json()["drops"], known.problems, known.answers, strict=True):
        judge(tally, answer, problem, direct, exact and len(known.problems) == 1)


def judge(tally: Tally, answer: dict[str, Any], problem: Coefficients, direct: Allocated, exact: bool) -> None:
    """Hold one network's answer against its power problem and against the direct call."""
    tally.checked += 1
    power = np.array(answer["power"])
    if answer["ap"] != direct.link_ap.tolist() or not np.isfinite(power).all() or (power < 0.0).any():
        tally.problems.append("an answer has other links, or powers that are not finite or negative")
        return
    sinr, load = problem.sinr(power[None])[0], problem.ap_load(power[None])[0]
    if (load > problem.budget[0] * (1.0 + 1e-9)).any():
        tally.problems.append(f"a budget is exceeded by {(load / problem.budget[0]).max() - 1.0:.1e}")
    if not np.allclose(answer["sinr"], sinr, rtol=1e-6):
        tally.problems.append("the SINR of an answer is not that of its powers")
    difference = float(np.abs(power - direct.power).max() / direct.power.max())
    tally.worst_difference = max(tally.worst_difference, difference)
    tally.different += bool(abs(sinr.min() / direct.sinr.min() - 1.0) > 0.01)
    if exact and difference > 0.0:
        tally.problems.append(f"another answer than the direct call, by {difference:.1e}")


async def hostile(client: httpx.AsyncClient, tally: Tally, rng: np.random.Generator) -> None:
    """Send something that should be refused (a few are valid by chance)."""
    drop = hostile_drops.plain(rng)
    fault = str(rng.choice(list(hostile_drops.FAULTS)))
    way = rng.integers(10)
    headers = {"content-type": "application/json"}
    content = hostile_drops.as_json(hostile_drops.FAULTS[fault](rng, drop))
    if way == 0:
        content = hostile_drops.damage(rng, hostile_drops.as_json(drop))
    elif way == 1:
        headers, content = {"content-type": "application/x-npz"}, hostile_drops.damage(rng, hostile_drops.as_npz(drop))
    elif way == 2:
        content = b"[" * int(rng.integers(1, 10**5))
    elif way == 3:
        large = {"ue_position": np.ones((4000, 3)), "num_antennas": 256}
        content = hostile_drops.as_json(drop | large)
    elif way == 4:
        headers = {"content-type": str(rng.choice(["text/plain", "", "application/xml", "a" * 200]))}
    response = await client.post("/allocate", content=content, headers=headers)
    tally.statuses[f"hostile {response.status_code}"] += 1
    check_refusal(tally, response, f"hostile way {way} ({fault})")


def check_refusal(tally: Tally, response: httpx.Response, name: str) -> None:
    """A refusal is a 4xx with one line."""
    if response.status_code in (200, 503):
        return
    line = response.json().get("detail", "") if response.headers.get("content-type") == "application/json" else None
    if not 400 <= response.status_code < 500 or not line or "\n" in line:
        tally.problems.append(f"{name} got {response.status_code}: {response.text[:200]}")


async def oversized(client: httpx.AsyncClient, tally: Tally) -> None:
    """Sixteen MiB, twice: with its length declared, and without."""

    async def chunks() -> Any:
        for _ in range(256):
            yield b" " * 2**16

    for content in (b" " * 2**24, chunks()):
        try:
            response = await client.post("/allocate", content=content)
        except httpx.TransportError:  # refused while it was still sending
            tally.statuses["oversized cut off"] += 1
            continue
        tally.statuses[f"oversized {response.status_code}"] += 1
        check_refusal(tally, response, "oversized")


async def raw(port: int, tally: Tally, rng: np.random.Generator) -> None:
    """Noise, half requests and clients that leave, on the bare socket."""
    pieces = [
        rng.bytes(200),
        b"POST /allocate HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
        b"POST /allocate HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /allocate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /allocate HTTP/1.1\r\n" + b"X: y\r\n" * 5_000,
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(pieces[rng.integers(len(pieces))])
        await writer.drain()
        with_answer = await asyncio.wait_for(reader.read(100), 0.2)
        tally.statuses[f"raw {with_answer[9:12].decode('latin1') or 'closed'}"] += 1
    except (TimeoutError, OSError):
        tally.statuses["raw left"] += 1
    finally:
        writer.close()
