"""What a simulated engine tells Prometheus: vLLM's names, labels and buckets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_LABELS = ("model_name", "engine")
_FIRST_TOKEN = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40,
    80, 160, 640, 2560,
)  # fmt: skip
_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20,
          40, 80)  # fmt: skip
_REQUEST = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920,
            7680)  # fmt: skip


class EngineMetrics:
    """The metrics of one engine, in a registry of their own."""

    def __init__(self, model: str) -> None:
        self._registry = CollectorRegistry()
        self._values = (model, "0")
        self.running = self._gauge("num_requests_running", "Requests being answered.")
        self.waiting = self._gauge("num_requests_waiting", "Requests waiting to be answered.")
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts.")
        self.generation_tokens = self._counter("generation_tokens", "Tokens generated.")
        self.first_token = self._histogram("time_to_first_token", _FIRST_TOKEN)
        self.between_tokens = self._histogram("inter_token_latency", _TOKEN)
        self.per_token = self._histogram("request_time_per_output_token", _TOKEN)
        self.request = self._histogram("e2e_request_latency", _REQUEST)
        self._finished = Counter(
            "vllm:request_success",
            "Requests that ended, by why.",
            (*_LABELS, "finished_reason"),
            registry=self._registry,
        )
        for reason in ("stop", "length", "abort", "error"):
            self._finished.labels(*self._values, reason)

    def finished(self, reason: str) -> None:
        """Count a request that ended: `stop`, `length`, `abort` or `error`."""
        self._finished.labels(*self._values, reason).inc()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        made = Gauge(f"vllm:{name}", text, _LABELS, registry=self._registry)
        return made.labels(*self._values)

    def _counter(self, name: str, text: str) -> Counter:
        made = Counter(f"vllm:{name}", text, _LABELS, registry=self._registry)
        return made.labels(*self._values)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        made = Histogram(
            f"vllm:{name}_seconds",
            f"{name.replace('_', ' ').capitalize()} in seconds.",
            _LABELS,
            buckets=buckets,
            registry=self._registry,
        )
        return made.labels(*self._values)
