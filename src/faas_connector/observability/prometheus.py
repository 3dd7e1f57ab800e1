"""Metrics as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from faas_connector._version import __version__
from faas_connector.errors import MissingExtraError
from faas_connector.metrics import BUCKETS, Histogram, Report
from faas_connector.observability.definitions import METRICS, Metric, Render, Type

try:
    from prometheus_client import (
        CONTENT_TYPE_LATEST,
        CollectorRegistry,
        PlatformCollector,
        ProcessCollector,
        generate_latest,
    )
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise MissingExtraError(
        "metrics need their library; install it with: pip install 'faas-connector[metrics]'"
    ) from missing

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily
_BOUNDS = [*(f"{bound:g}" for bound in BUCKETS), "+Inf"]


class _Reported(Collector):
    """Gives what the last report says."""

    def __init__(self) -> None:
        self.report: Report | None = None

    def collect(self) -> Iterator[Family]:
        if self.report is None:
            return
        build = InfoMetricFamily("faas_connector_build", "The version that runs.")
        build.add_metric([], {"version": __version__})
        yield build
        for metric in METRICS:
            yield _family(metric, self.report)


def _family(metric: Metric, report: Report) -> Family:
    if metric.type is Type.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in metric.samples(report):
            if isinstance(value, Histogram):
                histogram.add_metric(labels, _buckets(value), value.total)
        return histogram
    make = CounterMetricFamily if metric.type is Type.COUNTER else GaugeMetricFamily
    family = make(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.samples(report):
        if not isinstance(value, Histogram):
            family.add_metric(labels, float(value))
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    return list(zip(_BOUNDS, accumulate(histogram.counts, initial=None), strict=True))


def renderer() -> Render:
    """What makes the page of a report, with what the system says of the process."""
    registry = CollectorRegistry()
    reported = _Reported()
    registry.register(reported)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)

    def render(report: Report) -> tuple[str, bytes]:
        reported.report = report
        return CONTENT_TYPE_LATEST, generate_latest(registry)

    return render
