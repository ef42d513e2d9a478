"""Scraped metrics by host and slot, and the metrics that costs are made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from greenlight.cost.samples import Samples


class Metric(StrEnum):
    """Names in Prometheus: its own, the node exporter's, DCGM's, vLLM's, the gateway's."""

    UP = "up"
    CPU_SECONDS = "node_cpu_seconds_total"
    MEMORY_AVAILABLE = "node_memory_MemAvailable_bytes"
    MEMORY_TOTAL = "node_memory_MemTotal_bytes"
    ENGINE_ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
    GPU_UTILISATION = "DCGM_FI_DEV_GPU_UTIL"
    GPU_MEMORY_USED = "DCGM_FI_DEV_FB_USED"
    GPU_MEMORY_FREE = "DCGM_FI_DEV_FB_FREE"
    RUNNING = "vllm:num_requests_running"
    WAITING = "vllm:num_requests_waiting"
    KV_CACHE = "vllm:kv_cache_usage_perc"
    CACHE_CONFIG = "vllm:cache_config_info"
    REQUESTS = "vllm:request_success_total"
    INPUT_TOKENS = "vllm:prompt_tokens_total"
    OUTPUT_TOKENS = "vllm:generation_tokens_total"
    GATEWAY_TOKENS = "greenlight_gateway_tokens_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The samples of one set of labels."""

    labels: Mapping[str, str]
    samples: Samples


class Scrape:
    """What Prometheus has of an hour and a little before, found by host and slot."""

    def __init__(
        self, found: Mapping[Metric, Sequence[Series]], *, host: str = "host", slot: str = "colour"
    ) -> None:
        """Index it. `host`, `slot`: the labels that name them."""
        self._slot = slot
        self._by_host: dict[tuple[Metric, str], list[Series]] = defaultdict(list)
        self._all = found
        for metric, series in found.items():
            for one in series:
                self._by_host[metric, one.labels.get(host, "")].append(one)

    def everywhere(self, metric: Metric) -> Sequence[Series]:
        """Return all series of a metric."""
        return self._all.get(metric, ())

    def of_host(self, metric: Metric, host: str) -> Sequence[Series]:
        """Return a host's series."""
        return self._by_host.get((metric, host), ())

    def of_slot(self, metric: Metric, host: str, slot: str) -> Sequence[Series]:
        """Return the series of one engine."""
        return [s for s in self.of_host(metric, host) if s.labels.get(self._slot) == slot]


def by_label(series: Iterable[Series], *names: str) -> Mapping[tuple[str, ...], list[Series]]:
    """Return series grouped by the values of some labels; without a label it is empty text."""
    groups: dict[tuple[str, ...], list[Series]] = defaultdict(list)
    for one in series:
        groups[tuple(one.labels.get(name, "") for name in names)].append(one)
    return groups
