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
from pathlib import Path

import httpx
import numpy as np
import psutil
from soak_requests import Known, Tally, hostile, known_requests, oversized, raw, valid

from isac_torch.deployment.allocator import DeployedAllocator

WARM_UP = 0.1
"""Share of the time after which memory must be flat."""
GROWTH = 0.05
"""Largest relative growth of the resident set."""
CLIENTS = 8


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
