"""Mixed valid and hostile load on `isac-torch serve`: no wrong answer, no 500, flat memory, graceful end.

    python benchmarks/soak_server.py --model BUNDLE --minutes 10 --json soak.json              # from the root of the project

Starts the server as its own process on a free port of this machine. Clients send valid networks (JSON and npz, single and in
lists, several connections at once), networks with one fault, damaged bytes, oversized bodies, odd pages and raw noise on the
socket. Every valid answer must keep the budgets and report the SINR that its powers have, and is compared with the allocator
called directly: to the last bit where --max_batch 1 leaves a network alone, else the networks whose smallest SINR differs are
counted, since the network's rounding depends on the batch. Every refusal must be a 4xx with one line. Memory is the server's
resident set, each second; after a tenth of the time it must stay within 5 % of what it is then. Exit code 1 if anything fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the inputs are those of the tests

from isac_torch.deployment.allocator import Allocated, DeployedAllocator
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.deployment.statistics import Coefficients, coefficients
from tests import hostile_drops

WARM_UP = 0.1
"""Share of the time after which memory must be flat."""
GROWTH = 0.05
"""Largest relative growth of the resident set."""
CLIENTS = 8


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
    _check_refusal(tally, response, f"hostile way {way} ({fault})")


def _check_refusal(tally: Tally, response: httpx.Response, name: str) -> None:
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
        _check_refusal(tally, response, "oversized")


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


async def client_loop(index: int, port: int, tally: Tally, known: list[Known], end: float, options: argparse.Namespace) -> None:
    """One client: mostly valid requests, a third hostile, now and then something worse."""
    rng = np.random.default_rng([900_800, index])
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as client:
        while time.monotonic() < end:
            dice = rng.random()
            if dice < 0.64:
                burst = rng.choice(len(known), 3)
                await asyncio.gather(*(valid(client, tally, known[one], options.max_batch == 1) for one in burst))
            elif dice < 0.95:
                await hostile(client, tally, rng)
            elif dice < 0.98:
                await raw(port, tally, rng)
            elif dice < 0.985:
                await oversized(client, tally)
            else:
                response = await client.get(str(rng.choice(["/health", "/card", "/metrics", "/openapi.json", "/none"])))
                tally.statuses[f"page {response.status_code}"] += 1
            await asyncio.sleep(options.pause * rng.exponential())


async def watch(process: psutil.Process, tally: Tally, end: float) -> None:
    """Note the server's memory each second."""
    while time.monotonic() < end:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            tally.problems.append("the server has ended")
            return
        tally.memory.append(process.memory_info().rss)
        await asyncio.sleep(1.0)


async def soak(port: int, process: psutil.Process, known: list[Known], options: argparse.Namespace) -> Tally:
    """Load the server for some time."""
    tally, end = Tally(), time.monotonic() + 60.0 * options.minutes
    clients = [client_loop(index, port, tally, known, end, options) for index in range(CLIENTS)]
    for result in await asyncio.gather(watch(process, tally, end), *clients, return_exceptions=True):
        if isinstance(result, BaseException):
            tally.problems.append(f"a client failed: {type(result).__name__}: {result}")
    return tally


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start_server(model: Path, port: int, max_batch: int) -> psutil.Popen:
    """The server as a process of its own, once it answers."""
    argv = [sys.executable, "-c", "import sys; from isac_torch.cli import main; sys.exit(main())"]
    process = psutil.Popen([*argv, "serve", str(model), "--port", str(port), "--max_batch", str(max_batch)])
    for _ in range(300):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=1.0).status_code == 200:
                return process
        except httpx.TransportError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit("the server does not answer")


def main() -> None:
    """Soak with the options and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="bundle that `isac-torch export` wrote")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pause", type=float, default=0.2, help="mean seconds between the requests of each of eight clients")
    parser.add_argument("--max_batch", type=int, default=64, help="of the server; 1 compares answers to the last bit")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    known = known_requests(DeployedAllocator.load(options.model), 200, seed=900_900)
    process = start_server(options.model, port := free_port(), options.max_batch)
    begin = time.perf_counter()
    try:
        tally = asyncio.run(soak(port, process, known, options))
        seconds, times = time.perf_counter() - begin, process.cpu_times()
        process.send_signal(signal.SIGTERM)
        code = process.wait(30.0)
    finally:
        if process.is_running():
            process.kill()
    settled = tally.memory[int(WARM_UP * len(tally.memory)) :]
    growth = max(settled) / float(np.median(settled[: len(settled) // 10 + 1])) - 1.0
    if growth > GROWTH:
        tally.problems.append(f"memory grew by {growth:.1%}")
    if code not in (0, -signal.SIGTERM):
        tally.problems.append(f"the server ended with code {code}")
    result = {
        "minutes": seconds / 60.0,
        "requests": sum(tally.statuses.values()),
        "networks_checked": tally.checked,
        "networks_different": tally.different,
        "worst_difference": tally.worst_difference,
        "problems": tally.problems,
        "memory_mib": [round(value / 2**20, 1) for value in (settled[0], max(settled), settled[-1])],
        "memory_growth": growth,
        "latency_ms": {name: 1e3 * float(np.quantile(tally.latency, q)) for name, q in (("p50", 0.5), ("p99", 0.99))},
        "server_core_share": (times.user + times.system) / seconds,
        "exit_code": code,
        "statuses": dict(sorted(tally.statuses.items())),
    }
    text = json.dumps(result, indent=2) + "\n"
    if options.json is not None:
        options.json.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(bool(tally.problems))


if __name__ == "__main__":
    main()
