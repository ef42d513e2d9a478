"""What a serving benchmark measured, request by request, and the metrics it comes to.

Parent and candidate answer the same prompts on the same machine in the same run, so a ratio is
paired by prompt. Times of single requests are kept: a median without its n says little. Requests
of one level share batches, so their intervals are somewhat narrower than the truth.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field

from greenlight.core.errors import InputError
from greenlight.core.types import Value
from greenlight.quantize.items import Answer
from greenlight.quantize.measurements import Metric
from greenlight.quantize.proportions import count_flips, paired_difference, proportion
from greenlight.quantize.statistics import (
    Estimate,
    Floats,
    Numbers,
    bootstrap_quantile,
    bootstrap_ratio,
)

PARENT = "parent_"
P90 = 0.9
RESAMPLES = 2_000
Count = Annotated[int, Field(ge=1)]


class Level(Value):
    """How many requests are in flight at once, and how many are sent, per engine, in all."""

    concurrency: Count
    requests: Count


class ServingPlan(Value):
    """How much is measured. The defaults take about three minutes on two idle cores.

    `new_tokens`: of every timed request, the end of text ignored, so that speeds compare. `rounds`:
    a level's requests are sent in so many parts, the engines taking turns, so that a slow minute of
    the machine meets both. `answer_tokens`: most tokens of an answer. `answer_concurrency`: answers
    are asked as users ask, side by side; `repeat_answers` of them once more, twice, one at a time,
    because a batch changes the order of sums and with it, rarely, a token. A level sends a dozen
    requests at least: a studentized bootstrap of four bounds nothing. `golden_prompts`: questions
    whose answers, of `golden_tokens` at most, are recorded for the deploy; it needs 29 to prove
    that no more than 15 % have changed, and not all are kept (`golden_answers`).
    """

    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (
        Level(concurrency=1, requests=12),
        Level(concurrency=4, requests=12),
        Level(concurrency=8, requests=16),
    )
    rounds: Count = 2
    new_tokens: Count = 64
    warm_up: Count = 4
    max_answers: Count = 100
    answer_tokens: Count = 32
    answer_concurrency: Count = 16
    repeat_answers: Annotated[int, Field(ge=0)] = 8
    golden_prompts: Annotated[int, Field(ge=0)] = 40
    golden_tokens: Count = 32


class GoldenAnswer(Value):
    """A prompt, and what the served model answered it, twice the same. A deploy asks it again.

    `max_tokens`: of the answer; greedy decoding, once alone and once beside others.
    """

    id: str
    prompt: str
    max_tokens: Count
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One streamed request. `prompt` numbers it within its level; seconds from sending it.

    `gaps_s`: between one piece of text and the next; engines send a piece a token. `tokens`: as the
    engine counts them.
    """

    prompt: int
    ttft_s: float
    gaps_s: tuple[float, ...]
    total_s: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The requests of one level sent in one round, in the order of their prompts.

    `cpu_s`: processor time the engine took; unlike the wall, it hardly depends on what else the
    machine does.
    """

    concurrency: int
    wall_s: float
    cpu_s: float
    timings: tuple[Timing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Everything measured on one engine. `rss_bytes`: of all its processes, after the load."""

    ready_s: float
    rss_bytes: int
    parts: tuple[Part, ...]
    answers: tuple[Answer, ...]
    golden: tuple[GoldenAnswer, ...] = ()

    def level(self, concurrency: int) -> tuple[Part, ...]:
        """Return the parts of one level, in the order of their rounds."""
        return tuple(part for part in self.parts if part.concurrency == concurrency)


class ServingReport(Value):
    """The outcome of one benchmark. `together`: both engines were up at once and took turns."""

    engine: str
    dtype: str
    together: bool
    plan: ServingPlan
    metrics: tuple[Metric, ...]
    golden: tuple[GoldenAnswer, ...] = ()
    """Of the candidate."""
    seconds: float


def golden_answers(
    alone: Sequence[GoldenAnswer], together: Sequence[str]
) -> tuple[GoldenAnswer, ...]:
    """Keep the answers given alone that came `together`, in a batch, just the same.

    A text that depends on what it shares a batch with says nothing about a version, nor does an
    empty one.
    """
    return tuple(
        answer
        for answer, text in zip(alone, together, strict=True)
        if answer.text == text and text.strip()
    )


def shares(requests: int, rounds: int) -> tuple[range, ...]:
    """Return the prompt numbers of each round, as even as can be; empty rounds are left out."""
    edges = [requests * n // rounds for n in range(rounds + 1)]
    return tuple(range(a, b) for a, b in pairwise(edges) if b > a)


def serving_metrics(
    parent: Served, candidate: Served, *, seed: int, baseline: str
) -> tuple[Metric, ...]:
    """Return every serving metric; the parent's own carry the prefix `parent_`.

    `baseline` names the parent, with its dtype.

    Raises:
        InputError: the two were not asked the same prompts.
    """
    _refuse_different_prompts(parent, candidate)
    metrics: list[Metric] = []
    for prefix, served in (("", candidate), (PARENT, parent)):
        metrics += [
            Metric(name=f"{prefix}served_ready_seconds", value=served.ready_s, unit="s", n=1),
            Metric(name=f"{prefix}served_rss_bytes", value=served.rss_bytes, unit="bytes", n=1),
        ]
        for concurrency in _levels(served):
            metrics += _level_metrics(
                served.level(concurrency), name=f"{concurrency}", prefix=prefix, seed=seed
            )
    for level in _levels(candidate):
        metrics += [
            _speed_ratio(parent, candidate, concurrency=level, seed=seed, baseline=baseline),
            _effort_ratio(parent, candidate, concurrency=level, baseline=baseline),
        ]
    if candidate.answers:
        metrics += _answer_metrics(parent.answers, candidate.answers, seed=seed, baseline=baseline)
    return tuple(metrics)


def _levels(served: Served) -> list[int]:
    return sorted({part.concurrency for part in served.parts})


def _level_metrics(parts: Sequence[Part], *, name: str, prefix: str, seed: int) -> list[Metric]:
    timings = [timing for part in parts for timing in part.timings]
    first = np.array([timing.ttft_s for timing in timings])
    gaps = np.concatenate([np.array(timing.gaps_s) for timing in timings])
    owner = np.repeat(np.arange(len(timings)), [len(timing.gaps_s) for timing in timings])
    metrics = [
        _quantile(kind, first, np.arange(len(first)), q=q, prefix=prefix, level=name, seed=seed)
        for kind, q in (("served_ttft_seconds", 0.5), ("served_ttft_seconds_p90", P90))
    ]
    if gaps.size:
        metrics += [
            _quantile(kind, gaps, owner, q=q, prefix=prefix, level=name, seed=seed)
            for kind, q in (
                ("served_inter_token_seconds", 0.5),
                ("served_inter_token_seconds_p90", P90),
            )
        ]
    tokens = np.array([sum(t.tokens for t in part.timings) for part in parts], dtype=np.float64)
    walls = np.array([part.wall_s for part in parts])
    speed = Metric(
        name=f"{prefix}served_tokens_per_second.{name}",
        value=float(tokens.sum() / walls.sum()),
        unit="tokens/s",
        n=len(timings),
        method="new tokens over wall time, not bounded",
    )
    effort = Metric(
        name=f"{prefix}served_cpu_seconds_per_token.{name}",
        value=_cpu_per_token(parts),
        unit="s/token",
        n=len(timings),
        method="processor time over new tokens, not bounded",
    )
    return [*metrics, speed, effort]


def _quantile(
    kind: str,
    values: Floats,
    owner: Numbers,
    *,
    q: float,
    prefix: str,
    level: str,
    seed: int,
) -> Metric:
    name = f"{prefix}{kind}.{level}"
    estimate = bootstrap_quantile(values, owner, q=q, rng=_stream(seed, name), resamples=RESAMPLES)
    return _metric(estimate, name=name, unit="s")


def _speed_ratio(
    parent: Served, candidate: Served, *, concurrency: int, seed: int, baseline: str
) -> Metric:
    """Compare seconds per token of the same prompts: above 1 the candidate is the faster."""
    name = f"served_tokens_per_second_ratio.{concurrency}"
    before = _seconds_per_token(parent.level(concurrency))
    after = _seconds_per_token(candidate.level(concurrency))
    estimate = bootstrap_ratio(before, after, rng=_stream(seed, name))
    return _metric(estimate, name=name, unit="ratio", baseline=baseline)


def _effort_ratio(parent: Served, candidate: Served, *, concurrency: int, baseline: str) -> Metric:
    """Compare processor time per token: above 1 the candidate costs more."""
    parts = candidate.level(concurrency)
    return Metric(
        name=f"served_cpu_seconds_per_token_ratio.{concurrency}",
        value=_cpu_per_token(parts) / _cpu_per_token(parent.level(concurrency)),
        unit="ratio",
        n=sum(len(part.timings) for part in parts),
        method="processor time over new tokens, not bounded",
        baseline=baseline,
    )


def _cpu_per_token(parts: Sequence[Part]) -> float:
    tokens = sum(timing.tokens for part in parts for timing in part.timings)
    return sum(part.cpu_s for part in parts) / tokens


def _seconds_per_token(parts: Sequence[Part]) -> Floats:
    return np.array([t.total_s / t.tokens for part in parts for t in part.timings])


def _answer_metrics(
    before: Sequence[Answer], after: Sequence[Answer], *, seed: int, baseline: str
) -> list[Metric]:
    right = count_flips(np.array([a.correct for a in before]), np.array([a.correct for a in after]))
    stopped = count_flips(
        np.array([a.finish == "stop" for a in before]),
        np.array([a.finish == "stop" for a in after]),
    )
    metrics = [
        _metric(
            proportion(right.kept + right.gained, right.n),
            name="served_answer_accuracy",
            unit="share",
        ),
        _metric(
            proportion(right.kept + right.lost, right.n),
            name=f"{PARENT}served_answer_accuracy",
            unit="share",
        ),
        _metric(
            paired_difference(right),
            name="served_answer_accuracy_change",
            unit="points",
            baseline=baseline,
        ),
        _metric(
            paired_difference(stopped),
            name="served_finish_stop_change",
            unit="points",
            baseline=baseline,
        ),
    ]
    lengths = np.array([[a.tokens for a in before], [a.tokens for a in after]], dtype=np.float64)
    if lengths[0].sum() > 0:
        ratio = bootstrap_ratio(lengths[1], lengths[0], rng=_stream(seed, "served_length_ratio"))
        metrics.append(_metric(ratio, name="served_length_ratio", unit="ratio", baseline=baseline))
    for prefix, answers in (("", after), (PARENT, before)):
        repeated = [a.repeat_equal for a in answers if a.repeat_equal is not None]
        if repeated:
            equal = proportion(sum(repeated), len(repeated))
            metrics.append(_metric(equal, name=f"{prefix}served_repeat_equal", unit="share"))
    return metrics


def _metric(estimate: Estimate, *, name: str, unit: str, baseline: str | None = None) -> Metric:
    return Metric(
        name=name,
        value=estimate.value,
        unit=unit,
        n=estimate.n,
        low=estimate.low,
        high=estimate.high,
        confidence=estimate.confidence,
        method=estimate.method,
        baseline=baseline,
        deviation=estimate.deviation,
    )


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _refuse_different_prompts(parent: Served, candidate: Served) -> None:
    ours, theirs = (
        [(part.concurrency, timing.prompt) for part in served.parts for timing in part.timings]
        for served in (parent, candidate)
    )
    if sorted(ours) != sorted(theirs) or not ours:
        raise InputError(
            f"the parent served {len(ours)} timed requests and the candidate {len(theirs)}, not "
            "the same prompts; benchmark both with the same plan"
        )
    before, after = (
        [(answer.dataset, answer.id) for answer in served.answers] for served in (parent, candidate)
    )
    if before != after:
        raise InputError(
            f"the parent answered {len(before)} instructions and the candidate {len(after)}, not "
            "the same ones in the same order; serve both with the same data sets"
        )
