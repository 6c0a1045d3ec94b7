"""Concurrent requests answered together: what arrives within about a millisecond goes to the allocator as one batch."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from isac_torch.deployment.patience import Abandoned, while_wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@runtime_checkable
class Allocates(Protocol):
    """What the server needs of an allocator."""

    def many(self, snapshots: Sequence[Any]) -> Sequence[Any]:
        """Powers for networks of any sizes, in their order."""
        ...


class Busy(Exception):  # noqa: N818 - a state, not a mistake
    """As many networks wait as may; ask again later."""


@dataclass(eq=False)
class _Job:
    """One request: its networks, what they cost, and where its answer goes."""

    snapshots: list[Any]
    cost: float
    answer: asyncio.Future[Sequence[Any]]


class Batcher:
    """Collects requests of one event loop and runs them, a batch at a time, on one thread.

    Args:
        allocator: answers the batches.
        window: seconds to wait for company after the first request of a batch.
        max_batch: networks in a batch; a request with more makes a batch of its own.
        max_cost: of a batch, in the unit of the requests' costs.
        max_waiting: networks that may wait; further requests raise Busy.
        on_batch: told the number of networks of every batch.
    """

    def __init__(
        self,
        allocator: Allocates,
        *,
        window: float = 1e-3,
        max_batch: int = 256,
        max_cost: float = float("inf"),
        max_waiting: int = 4096,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._allocator = allocator
        self._window = window
        self._max_batch = max_batch
        self._max_cost = max_cost
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._jobs: deque[_Job] = deque()
        self._arrival = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="allocate")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Networks that wait for a batch."""
        return sum(len(job.snapshots) for job in self._jobs)

    @property
    def running(self) -> bool:
        """Whether requests are being answered."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to answer; call it inside the event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Answer what waits, then end."""
        while self._jobs and self.running:
            await asyncio.sleep(self._window)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def allocate(self, snapshots: list[Any], cost: float = 0.0) -> Sequence[Any]:
        """Powers for the networks of one request; Busy where too many wait, IsacError where a network is refused."""
        if self.waiting + len(snapshots) > self._max_waiting:
            raise Busy
        job = _Job(snapshots, cost, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._arrival.set()
        return await job.answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrival.wait()
            if self.waiting < self._max_batch:
                await asyncio.sleep(self._window)
            batch = self._take()
            if not self._jobs:
                self._arrival.clear()
            if batch:
                self._on_batch(sum(len(job.snapshots) for job in batch))
                # Shielded, so that stopping waits for the batch instead of losing its answers.
                await asyncio.shield(loop.run_in_executor(self._thread, self._answer, loop, batch))

    def _take(self) -> list[_Job]:
        """The next batch, without the requests whose clients have gone."""
        batch: list[_Job] = []
        count, cost = 0, 0.0
        while self._jobs:
            job = self._jobs[0]
            if job.answer.done():
                self._jobs.popleft()
                continue
            count, cost = count + len(job.snapshots), cost + job.cost
            if batch and (count > self._max_batch or cost > self._max_cost):
                break
            batch.append(self._jobs.popleft())
        return batch

    def _answer(self, loop: asyncio.AbstractEventLoop, batch: list[_Job]) -> None:
        """On the worker thread: one call for all; where it fails, one a request, so that only the guilty one hears of it.

        The call ends early where no client of the batch waits any longer, gone or out of time.
        """
        try:
            with while_wanted(lambda: not all(job.answer.done() for job in batch)):
                answers = self._allocator.many([snapshot for job in batch for snapshot in job.snapshots])
        except Abandoned:
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to one request and must not end the server
            if len(batch) == 1:
                loop.call_soon_threadsafe(_settle, batch[0].answer, error)
            else:
                for job in batch:
                    self._answer(loop, [job])
            return
        first = 0
        for job in batch:
            loop.call_soon_threadsafe(_settle, job.answer, answers[first : first + len(job.snapshots)])
            first += len(job.snapshots)


def _settle(future: asyncio.Future[Sequence[Any]], result: Sequence[Any] | Exception) -> None:
    if future.done():  # its client has gone
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
