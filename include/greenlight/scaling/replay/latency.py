"""How long an engine takes, fitted to what a real one was measured to take, with its error.

Two straight lines. Reading prompts takes a time of its own and one for each token. Then all running
requests get a token a step, and a step takes a time of its own and one for each request. That is
how batches are made by engines such as vLLM; a prompt being read holds the others up. Three levels
of concurrency at least are needed: two would fit any line exactly and say nothing of the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from greenlight.core.errors import InputError
from greenlight.scaling.capacity import Unknown
from greenlight.scaling.demand_series import Floats

FEWEST_LEVELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLevel:
    """A closed loop's medians: so many requests in flight, all of the same lengths."""

    concurrency: int
    prompt_tokens: float
    new_tokens: int
    ttft_s: float
    gap_s: float
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitError:
    """Largest differences between fitted and measured, as shares of the measured.

    `speed`: of tokens a second, which nothing was fitted to; `None`: it wasn't measured.
    """

    ttft: float
    gap: float
    speed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """Seconds: of reading prompts, and of a step that gives every running request a token."""

    prefill_s: float
    prefill_token_s: float
    step_s: float
    step_request_s: float
    error: FitError
    source: str

    def reading(self, prompt_tokens: float) -> float:
        """Return the time to read prompts, up to their first tokens."""
        return self.prefill_s + self.prefill_token_s * prompt_tokens

    def step(self, running: int) -> float:
        """Return the time of one token for each running request."""
        return self.step_s + self.step_request_s * running

    def speed(self, level: MeasuredLevel) -> float:
        """Return tokens a second of a closed loop whose requests start and end together."""
        first = self.reading(level.concurrency * level.prompt_tokens)
        rest = (level.new_tokens - 1) * self.step(level.concurrency)
        return level.concurrency * level.new_tokens / (first + rest)


def fit_latency(levels: Sequence[MeasuredLevel], *, source: str) -> LatencyModel | Unknown:
    """Fit a model to the levels of one benchmark; relative errors count the same at each.

    Raises:
        InputError: a measured time isn't above 0.
    """
    if len({level.concurrency for level in levels}) < FEWEST_LEVELS:
        return Unknown(
            why=f"{len(levels)} levels of concurrency in {source}, {FEWEST_LEVELS} are needed",
            measure="run the serving benchmark at more levels",
        )
    if min(min(level.ttft_s, level.gap_s) for level in levels) <= 0:
        raise InputError(f"{source}: measured times must be above 0")
    read = np.array([level.concurrency * level.prompt_tokens for level in levels])
    running = np.array([float(level.concurrency) for level in levels])
    first, each_token = _line(read, np.array([level.ttft_s for level in levels]))
    step, each_request = _line(running, np.array([level.gap_s for level in levels]))
    fitted = LatencyModel(
        prefill_s=first,
        prefill_token_s=each_token,
        step_s=step,
        step_request_s=each_request,
        error=FitError(ttft=0.0, gap=0.0, speed=None),
        source=source,
    )
    return replace(fitted, error=_error(fitted, levels))


def _error(fitted: LatencyModel, levels: Sequence[MeasuredLevel]) -> FitError:
    ttft = [
        (fitted.reading(level.concurrency * level.prompt_tokens), level.ttft_s) for level in levels
    ]
    gap = [(fitted.step(level.concurrency), level.gap_s) for level in levels]
    speed = [
        (fitted.speed(level), level.tokens_per_second)
        for level in levels
        if level.tokens_per_second is not None
    ]
    return FitError(ttft=_worst(ttft), gap=_worst(gap), speed=_worst(speed) if speed else None)


def _worst(pairs: Sequence[tuple[float, float]]) -> float:
    return max(abs(guess / real - 1) for guess, real in pairs)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return offset and slope, neither below 0, with the least squares of relative errors."""
    weighted = np.stack([1 / y, x / y], axis=1)
    (offset, slope), *_ = np.linalg.lstsq(weighted, np.ones(y.size), rcond=None)
    if slope < 0:
        return float(np.sum(1 / y) / np.sum(1 / y**2)), 0.0
    if offset < 0:
        return 0.0, float(np.sum(x / y) / np.sum((x / y) ** 2))
    return float(offset), float(slope)
