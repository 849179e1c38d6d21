"""The engine's counts in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from agenttune.serving.backends.base import Counts

_GAUGES = ("running", "waiting", "cache_bytes", "cached_prompts", "parity")
_TOLD = {
    "requests": "requests that were taken",
    "finished": "requests that ended by themselves",
    "cancelled": "requests whose client went away",
    "failed": "requests that ended with an error",
    "retried": "times that an upstream was asked again because its reply did not fit",
    "prompt_tokens": "tokens of all prompts",
    "prefilled_tokens": "tokens of prompts that had to be read",
    "written_tokens": "tokens that were written",
    "passes": "forward passes",
    "running": "requests in the batch",
    "waiting": "requests that wait for their place",
    "cache_bytes": "bytes of kept prefixes",
    "cached_prompts": "kept prefixes",
    "parity": "1 where prompts are the tokens that were trained, 0 where an upstream's template lays them out",
}


class _Collector:
    def __init__(self, counts: Mapping[str, Counts]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for name, text in _TOLD.items():
            made = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
            family = made(f"agenttune_{name}", text, labels=["model"])
            for model, counts in self._counts.items():
                family.add_metric([model], getattr(counts, name))
            yield family


def metrics_text(counts: Mapping[str, Counts]) -> str:
    """``agenttune_requests_total{model="desk"} 12.0`` and so on, a line a number of each model."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(counts))
    return generate_latest(registry).decode()
