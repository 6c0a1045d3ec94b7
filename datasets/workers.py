"""Shards on this process, on local workers or on a running Dask cluster; a worker that dies costs one shard's work."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from isac_torch.errors import DatasetError
from isac_torch.interruption import without_interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isac_torch.datasets.labelling import Labeller, Made
    from isac_torch.datasets.recipe import ShardTask

_DEATHS_PER_TRY = 3  # workers that may die under one task before the scheduler gives it up
_TRIES = 4
_STARTS = 10  # of the local cluster, should workers die while they start
_SESSIONS = 20  # clusters in one run, should workers be lost for good
_QUEUE = 4  # tasks a worker has before it: enough to keep it busy, few enough to hold their results
_MOMENT = 5.0  # seconds between two looks at the workers
CONNECT_SECONDS = 20
PATIENCE_SECONDS = 60  # that a local cluster may be short of workers, which start within seconds
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "RAYON")}


def make_shards(
    tasks: Sequence[ShardTask], labeller: Labeller, workers: int, scheduler: str | None
) -> Iterator[tuple[ShardTask, Made]]:
    """Every task with its shard, in the order in which they are done.

    Args:
        tasks: shards to make.
        labeller: makes one.
        workers: local worker processes; 1 works in this process, 0 takes one per core.
        scheduler: address of a running Dask scheduler, such as ``tcp://10.0.0.1:8786``; its workers are used instead.

    Raises:
        DatasetError: no scheduler answers there, or a shard keeps failing.
    """
    if workers < 0:
        raise DatasetError(f"workers={workers} must be 0 (one per core) or more")
    count = min(workers or _cores(), len(tasks))
    if scheduler is None and count <= 1:
        return ((task, labeller(task)) for task in tasks)
    return _on_dask(tasks, labeller, count, scheduler)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_dask(
    tasks: Sequence[ShardTask], labeller: Labeller, count: int, scheduler: str | None
) -> Iterator[tuple[ShardTask, Made]]:
    """Sessions on clusters, a new one whenever local workers are lost for good, until every task is done."""
    left = {task.index: task for task in tasks}
    for _ in range(_SESSIONS):
        for task, made in _session(list(left.values()), labeller, count, scheduler):
            del left[task.index]
            yield task, made
        if not left:
            return
    raise DatasetError(f"workers={count} keep dying, {len(left)} shards are left; run again to resume, with fewer workers")


def _session(
    tasks: Sequence[ShardTask], labeller: Labeller, count: int, scheduler: str | None
) -> Iterator[tuple[ShardTask, Made]]:
    """Tasks done on one cluster. Ends early when a local one stays short of workers: Dask gives up those that die twice."""
    with ExitStack() as stack:
        client = _connect(stack, count, scheduler)
        queue, tries = deque(tasks), dict.fromkeys(tasks, 0)
        pending: dict[Any, ShardTask] = {}
        complete = time.monotonic()
        while queue or pending:
            workers = len(client.nthreads())
            complete = time.monotonic() if workers >= count or scheduler is not None else complete
            if time.monotonic() - complete > PATIENCE_SECONDS:
                return
            while queue and len(pending) < _QUEUE * max(count, workers):
                # The labeller travels with its task: data scattered beforehand is gone once its holders have died.
                task = queue.popleft()
                future = client.submit(_call, labeller, task, pure=False, retries=_DEATHS_PER_TRY, priority=-task.index)
                pending[future] = task
            for future, made in _settled(client, list(pending)):
                task = pending.pop(future)
                if made is not None:
                    yield task, made
                    continue
                tries[task] += 1
                error = future.exception() if future.status == "error" else None
                if tries[task] >= _TRIES or isinstance(error, DatasetError):
                    raise DatasetError(f"{task.name} failed {tries[task]} times ({error!r:.150}); run again to resume")
                queue.appendleft(task)


def _settled(client: Any, futures: Sequence[Any]) -> list[tuple[Any, Made | None]]:
    """Futures that are over, each with its shard or, if it failed, None; waits a moment for the first one."""
    from distributed import CancelledError, KilledWorker, wait

    with client.as_current(), suppress(TimeoutError, CancelledError):
        wait(futures, timeout=_MOMENT, return_when="FIRST_COMPLETED")
    settled: list[tuple[Any, Made | None]] = []
    for future in futures:
        if future.status == "finished":
            # A worker may die with the result that it had: then the task is pending again, or failed by the next look.
            with suppress(TimeoutError, CancelledError, KilledWorker, OSError):
                settled.append((future, future.result(timeout=PATIENCE_SECONDS)))
        elif future.status != "pending":
            settled.append((future, None))
    return settled


def _call(labeller: Labeller, task: ShardTask) -> Made:
    return labeller(task)


def _connect(stack: ExitStack, count: int, scheduler: str | None) -> Any:
    import dask
    from distributed import Client

    if scheduler is not None:
        try:
            return stack.enter_context(Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False))
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or ["?"])[0][:120]
            raise DatasetError(f"scheduler={scheduler!r} does not answer ({reason}); start it or check the address") from None
    settings = {"distributed.nanny.pre-spawn-environ": _ONE_THREAD, "distributed.scheduler.allowed-failures": _DEATHS_PER_TRY}
    stack.enter_context(dask.config.set(settings))
    cluster = without_interrupts(lambda: _local_cluster(count))
    return stack.enter_context(Client(stack.enter_context(cluster), set_as_default=False))


def _local_cluster(count: int, tries: int = _STARTS) -> Any:
    from distributed import LocalCluster

    try:
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:  # a worker died while it started
        if tries > 1:
            return _local_cluster(count, tries - 1)
        raise DatasetError(f"workers={count} do not start ({error}); try fewer, or workers=1") from None
