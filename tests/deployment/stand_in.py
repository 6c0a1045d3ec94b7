"""A service over a stand-in allocator, and requests to it."""

import asyncio
import io
import threading
from dataclasses import dataclass, field

import httpx
import numpy as np

from isac_torch.deployment.limits import Limits
from isac_torch.deployment.schema import EXAMPLE
from isac_torch.deployment.serving import create_app
from isac_torch.deployment.snapshot import Snapshot
from isac_torch.errors import DropError
from tests.paths import ROOT

FILE = ROOT / "examples" / "drop.json"
BODY = FILE.read_bytes()
DEFAULT = Limits()


@dataclass
class Answer:
    """What the server reads of an allocation."""

    power: np.ndarray
    link_ap: np.ndarray
    owner_kind: tuple[str, ...]
    owner_index: np.ndarray
    sinr: np.ndarray
    sir: np.ndarray
    path: str = "network"
    reason: str = ""
    out_of_distribution: tuple[str, ...] = ()
    milliseconds: float = 0.1
    receive_ap: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    sicnr: np.ndarray = field(default_factory=lambda: np.zeros(0))
    position_error: np.ndarray = field(default_factory=lambda: np.zeros(0))
    quality: float = np.inf


class StandIn:
    """One link a UE, whose power (W) tells which network it belongs to. Holds its batches until `gate` opens."""

    def __init__(self) -> None:
        self.card = {"name": "stand-in"}
        self.computes_by = "numpy"
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def many(self, snapshots: list[Snapshot]) -> list[Answer]:
        self.gate.wait(10.0)
        self.batches.append(len(snapshots))
        if any(snapshot.sir_min_db == 13.0 for snapshot in snapshots):
            raise DropError("sir_min_db=13 brings bad luck;\nchoose another")
        if any(snapshot.sir_min_db == 14.0 for snapshot in snapshots):
            raise ZeroDivisionError
        return [self.one(snapshot) for snapshot in snapshots]

    @staticmethod
    def one(snapshot: Snapshot) -> Answer:
        ues = snapshot.num_ues
        power = np.full(ues, float(np.sum(snapshot.ue_position)))
        rows = np.ones(snapshot.num_targets)
        return Answer(power, np.zeros(ues, int), ("ue",) * ues, np.arange(ues), power, rows)


def drop(shift: float = 0.0, **changes: object) -> dict[str, object]:
    return EXAMPLE | {"ue_position": [[120 + shift, 60, 1.65], [260, 210, 1.65]]} | changes


def run(body, limits: Limits = DEFAULT, allocator: StandIn | None = None):
    """Run `body(client, allocator)` against the service inside its life span."""
    allocator = allocator or StandIn()

    async def inside():
        app = create_app(allocator, limits)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await body(client, allocator)

    return asyncio.run(inside())


def post(content: bytes, kind: str = "application/json", limits: Limits = DEFAULT, **headers: str) -> httpx.Response:
    async def body(client, _):
        return await client.post("/allocate", content=content, headers={"content-type": kind} | headers)

    return run(body, limits)


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def assert_refused(response: httpx.Response, status: int, says: str) -> None:
    assert response.status_code == status, response.text
    (key,) = response.json()
    line = response.json()[key]
    assert says in line
    assert "\n" not in line
    assert len(line) < 400
