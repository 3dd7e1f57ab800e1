"""The gateway's metrics: plain counters, written as text when somebody asks (section 7)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from faas_connector.local.registry import Function

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MAX_SERIES = 10_000  # names come from the URL, and absent functions are counted too


class _Series:
    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * len(BUCKETS)


class Metrics:
    """How often each function was called, what it answered, and how long it took."""

    def __init__(self) -> None:
        self._done: dict[tuple[str, int], _Series] = {}
        self._started: dict[str, int] = {}

    def start(self, name: str) -> None:
        """A call of `NAME.NAMESPACE` begins."""
        if name in self._started or len(self._started) < _MAX_SERIES:
            self._started[name] = self._started.get(name, 0) + 1

    def finish(self, name: str, status: int, seconds: float) -> None:
        """A call has ended with this status."""
        series = self._done.get((name, status))
        if series is None:
            if len(self._done) >= _MAX_SERIES:
                return
            series = self._done[name, status] = _Series()
        series.count += 1
        series.seconds += seconds
        at = bisect_left(BUCKETS, seconds)
        if at < len(BUCKETS):
            series.buckets[at] += 1

    def invocations(self) -> dict[str, int]:
        """Ended calls per `NAME.NAMESPACE`."""
        counts: dict[str, int] = {}
        for (name, _), series in self._done.items():
            counts[name] = counts.get(name, 0) + series.count
        return counts

    def text(self, functions: Iterable[Function]) -> bytes:
        """Everything in Prometheus' text format."""
        lines = [*self._counters(), *self._histogram(), *_replicas(functions)]
        return ("\n".join(lines) + "\n").encode()

    def _counters(self) -> Iterator[str]:
        yield from _header(
            "gateway_function_invocation_total", "counter", "Function metrics: calls that ended"
        )
        for (name, code), series in sorted(self._done.items()):
            labels = f'code="{code}",function_name="{name}"'
            yield f"gateway_function_invocation_total{{{labels}}} {series.count}"
        yield from _header(
            "gateway_function_invocation_started", "counter", "Function metrics: calls that began"
        )
        for name, count in sorted(self._started.items()):
            yield f'gateway_function_invocation_started{{function_name="{name}"}} {count}'

    def _histogram(self) -> Iterator[str]:
        metric = "gateway_functions_seconds"
        yield from _header(metric, "histogram", "Function time taken, in seconds")
        for (name, code), series in sorted(self._done.items()):
            labels = f'code="{code}",function_name="{name}"'
            total = 0
            for bound, count in zip(BUCKETS, series.buckets, strict=True):
                total += count
                yield f'{metric}_bucket{{{labels},le="{bound:g}"}} {total}'
            yield f'{metric}_bucket{{{labels},le="+Inf"}} {series.count}'
            yield f"{metric}_sum{{{labels}}} {series.seconds:.9g}"
            yield f"{metric}_count{{{labels}}} {series.count}"


def _replicas(functions: Iterable[Function]) -> Iterator[str]:
    yield from _header("gateway_service_count", "gauge", "Current count of replicas")
    for function in sorted(functions, key=lambda item: item.name):
        yield f'gateway_service_count{{function_name="{function.name}"}} {function.replicas}'


def _header(metric: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {metric} {text}."
    yield f"# TYPE {metric} {kind}"
