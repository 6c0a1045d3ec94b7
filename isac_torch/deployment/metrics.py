"""Counters of a server in the text format of Prometheus; without the package prometheus-client nothing is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence


_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@runtime_checkable
class Metrics(Protocol):
    """What a server reports of itself."""

    def request(self, status: int, seconds: float) -> None:
        """A request to /allocate was answered with `status` after `seconds`."""
        ...

    def batch(self, size: int) -> None:
        """A batch of `size` networks went to the allocator."""
        ...

    def answers(self, answers: Sequence[Any]) -> None:
        """Networks got their powers."""
        ...

    def text(self) -> bytes | None:
        """Everything counted, in Prometheus' text format; None where nothing is."""
        ...


class NoMetrics:
    """Counts nothing."""

    def request(self, status: int, seconds: float) -> None:
        """Not counted."""

    def batch(self, size: int) -> None:
        """Not counted."""

    def answers(self, answers: Sequence[Any]) -> None:
        """Not counted."""

    def text(self) -> bytes | None:
        """None."""
        return None


class PrometheusMetrics:
    """Counts in a registry of its own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self._registry = CollectorRegistry()
        self._requests = Counter("isac_requests", "Requests to /allocate by HTTP status", ["status"], registry=self._registry)
        self._seconds = Histogram(
            "isac_request_seconds", "Time to answer a request to /allocate, s", registry=self._registry, buckets=_SECONDS
        )
        self._batches = Histogram("isac_batch_networks", "Networks in a batch", registry=self._registry, buckets=_SIZES)
        self._paths = Counter("isac_networks", "Networks allocated by the path taken", ["path"], registry=self._registry)
        self._strange = Counter(
            "isac_networks_out_of_distribution", "Networks unlike those seen in training", registry=self._registry
        )

    def request(self, status: int, seconds: float) -> None:
        """Count a request by its status, and its time."""
        self._requests.labels(status).inc()
        self._seconds.observe(seconds)

    def batch(self, size: int) -> None:
        """Count a batch."""
        self._batches.observe(size)

    def answers(self, answers: Sequence[Any]) -> None:
        """Count networks by the path taken, and those out of distribution."""
        for answer in answers:
            self._paths.labels(answer.path).inc()
            if answer.out_of_distribution:
                self._strange.inc()

    def text(self) -> bytes:
        """Everything counted."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


def make_metrics() -> Metrics:
    """Counters of Prometheus where prometheus-client is installed, else none."""
    try:
        return PrometheusMetrics()
    except ImportError:
        return NoMetrics()
