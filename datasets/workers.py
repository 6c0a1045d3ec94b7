"""Shards on this process, on local workers or on a running Dask cluster; a worker that dies costs one shard's work."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from isac_torch.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isac_torch.datasets.labelling import Labeller, Made
    from isac_torch.datasets.recipe import ShardTask

_DEATHS_PER_TRY = 3  # workers that may die under one task before the scheduler gives it up
_TRIES = 4
_STARTS = 10  # of the local cluster, should workers die while they start
CONNECT_SECONDS = 20
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
    from distributed import as_completed

    with ExitStack() as stack:
        client = _connect(stack, count, scheduler)
        tries = dict.fromkeys(tasks, 1)

        def submit(task: ShardTask) -> Any:
            # The labeller travels with its task: data scattered beforehand is gone for good once its holders have died.
            future = client.submit(_call, labeller, task, pure=False, retries=_DEATHS_PER_TRY, priority=-task.index)
            pending[future.key] = task
            return future

        pending: dict[str, ShardTask] = {}
        done = as_completed([submit(task) for task in tasks], loop=client.loop, with_results=True, raise_errors=False)
        for future, result in done:
            task = pending.pop(future.key)
            if future.status == "finished":
                yield task, result
            elif tries[task] < _TRIES and not isinstance(_error(future), DatasetError):
                tries[task] += 1
                done.add(submit(task))
            else:
                raise DatasetError(f"{task.name} failed {tries[task]} times ({_error(future)!r:.150}); run again to resume")


def _call(labeller: Labeller, task: ShardTask) -> Made:
    return labeller(task)


def _error(future: Any) -> BaseException | None:
    return future.exception(timeout=10) if future.status == "error" else None


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
    return stack.enter_context(Client(stack.enter_context(_local_cluster(count)), set_as_default=False))


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
