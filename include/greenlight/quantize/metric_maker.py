"""Make metrics from raw numbers: every kind of number with the interval that suits it."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from greenlight.quantize.measurements import Metric
from greenlight.quantize.proportions import Flips, paired_difference, paired_ratio, proportion
from greenlight.quantize.statistics import (
    CONFIDENCE,
    Estimate,
    Numbers,
    block_sums,
    bootstrap_quantile,
    bootstrap_ratio,
)

_MOST_NATS = 600.0
"""A wrecked model's perplexity must still be written down as JSON, which has no infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricMaker:
    """Makes metrics with one seed, one name for the parent and one confidence.

    Also for numbers that are measured elsewhere, such as answers from a serving engine, so that
    their intervals are made the same way.
    """

    seed: int
    baseline: str
    confidence: float = CONFIDENCE

    def count(self, name: str, value: int, *, n: int) -> Metric:
        """Return an exact count among `n` things."""
        return Metric(name=name, value=value, unit="count", n=n, confidence=self.confidence)

    def mean(self, name: str, values: Numbers, block: Numbers, *, unit: str) -> Metric:
        """Return the mean over tokens, against the parent, by block bootstrap."""
        return self._metric(name, self._block_mean(name, values, block), unit=unit, relative=True)

    def exponential_mean(
        self, name: str, values: Numbers, block: Numbers, *, relative: bool = False
    ) -> Metric:
        """Return exp of a mean in nats per token: a perplexity, or the ratio of two."""
        nats = self._block_mean(name, values, block)
        value = _exp(nats.value)
        estimate = Estimate(
            value=value,
            low=None if nats.low is None else _exp(nats.low),
            high=None if nats.high is None else _exp(nats.high),
            n=nats.n,
            confidence=nats.confidence,
            method=nats.method,
            deviation=None if nats.deviation is None else nats.deviation * value,
        )
        unit = "ratio" if relative else "perplexity"
        return self._metric(name, estimate, unit=unit, relative=relative)

    def quantile(
        self, name: str, values: Numbers, block: Numbers, *, q: float, unit: str
    ) -> Metric:
        """Return an upper quantile over tokens, against the parent, by block bootstrap."""
        found = bootstrap_quantile(
            values, block, q=q, rng=self._stream(name), confidence=self.confidence
        )
        return self._metric(name, found, unit=unit, relative=True)

    def ratio(self, name: str, candidate: Numbers, parent: Numbers) -> Metric:
        """Return the ratio of two sums of paired numbers, such as lengths."""
        found = bootstrap_ratio(
            candidate.astype(np.float64),
            parent.astype(np.float64),
            rng=self._stream(name),
            confidence=self.confidence,
        )
        return self._metric(name, found, unit="ratio", relative=True)

    def share(self, name: str, successes: int, *, n: int, relative: bool = False) -> Metric:
        """Return a proportion with its exact bounds."""
        found = proportion(successes, n, confidence=self.confidence)
        return self._metric(name, found, unit="share", relative=relative)

    def change(self, name: str, flips: Flips) -> Metric:
        """Return the difference of two paired proportions, in points (0.05 is five points)."""
        found = paired_difference(flips, confidence=self.confidence)
        return self._metric(name, found, unit="points", relative=True)

    def recovery(self, name: str, flips: Flips) -> Metric | None:
        """Return the ratio of two paired proportions; `None` if the parent was never right."""
        found = paired_ratio(flips, confidence=self.confidence)
        return None if found is None else self._metric(name, found, unit="ratio", relative=True)

    def _block_mean(self, name: str, values: Numbers, block: Numbers) -> Estimate:
        sums, counts = block_sums(values, block)
        return bootstrap_ratio(sums, counts, rng=self._stream(name), confidence=self.confidence)

    def _stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def _metric(self, name: str, estimate: Estimate, *, unit: str, relative: bool) -> Metric:
        return Metric(
            name=name,
            value=estimate.value,
            unit=unit,
            n=estimate.n,
            low=estimate.low,
            high=estimate.high,
            confidence=estimate.confidence,
            method=estimate.method,
            baseline=self.baseline if relative else None,
            deviation=estimate.deviation,
        )


def _exp(nats: float) -> float:
    return math.exp(min(nats, _MOST_NATS))
