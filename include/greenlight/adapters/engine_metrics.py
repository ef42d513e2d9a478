"""Read the histograms that engines keep for Prometheus, under vLLM's names."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from greenlight.adapters.event_loop import loop_factory
from greenlight.deploy.counters import FirstTokens, Unread

FIRST_TOKEN = "vllm:time_to_first_token_seconds"  # noqa: S105 - a metric's name
TIMEOUT_S = 1.0
HTTP_OK = 200


class HttpEngineMetrics:
    """`deploy.ports.EngineMetrics` over `GET /metrics`, all engines at the same time."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    def first_tokens(self, urls: Sequence[str]) -> Mapping[str, FirstTokens | Unread]:
        """Return every engine's histogram. May be called where no event loop runs."""
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            found = runner.run(self._read_all(urls))
        return dict(zip(urls, found, strict=True))

    async def _read_all(self, urls: Sequence[str]) -> list[FirstTokens | Unread]:
        # Proxies of the environment are not for engines.
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout_s), trust_env=False
        ) as session:
            return await asyncio.gather(*(self._read(session, url) for url in urls))

    async def _read(self, session: aiohttp.ClientSession, url: str) -> FirstTokens | Unread:
        address = f"{url}/metrics"
        try:
            async with session.get(address) as response:
                if response.status != HTTP_OK:
                    return Unread(reason=f"{address} answered HTTP {response.status}")
                text = await response.text(encoding="utf-8")
            found = first_tokens_of(text)
        except TimeoutError:
            return Unread(reason=f"{address} did not answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Unread(reason=f"{address}: {type(error).__name__}: {error}")
        except ValueError as error:  # UnicodeDecodeError is one
            return Unread(reason=f"{address} is not in Prometheus' text format: {error}")
        return found or Unread(reason=f"{address} has no {FIRST_TOKEN}")


def first_tokens_of(text: str) -> FirstTokens | None:
    """Return the histogram in an engine's metrics, over all its labels; `None`: it has none.

    An engine that serves with several copies of itself has a histogram of each.

    Raises:
        ValueError: its lines can't be read.
    """
    mine = "\n".join(line for line in text.splitlines() if FIRST_TOKEN in line)
    within: Counter[float] = Counter()
    for family in text_string_to_metric_families(f"{mine}\n"):
        for sample in family.samples:
            if sample.name == f"{FIRST_TOKEN}_bucket":
                within[float(sample.labels["le"])] += int(sample.value)
    if math.inf not in within:
        return None
    bounds = tuple(sorted(within))
    return FirstTokens(bounds=bounds, within=tuple(within[bound] for bound in bounds))
