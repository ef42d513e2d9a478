"""Serve parent and candidate on the real engine, beside each other, and measure both.

Both engines are up at once and take turns, part by part, so that a slow minute of the machine meets
both. Where memory doesn't allow that, one runs after the other, and the report says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.settings import Settings
from greenlight.quantize.answers import is_correct
from greenlight.quantize.datasets import InstructRow, read_instructions
from greenlight.quantize.items import Answer
from greenlight.quantize.jobs import Dataset, DatasetKind
from greenlight.quantize.serving import (
    GoldenAnswer,
    Part,
    Served,
    ServingPlan,
    ServingReport,
    Timing,
    golden_answers,
    serving_metrics,
    shares,
)

if TYPE_CHECKING:
    from greenlight.adapters.openai_client import Failure, Prompt, Reply
    from greenlight.adapters.vllm_engine import EngineOptions, VllmEngine

log = logging.getLogger(__name__)

SEED = 20260101
PARENT, CANDIDATE = "parent", "candidate"
IMPORTS_BYTES = 2_000_000_000
"""What one engine holds before it has a model (measured: 1.75 GB)."""
EXCERPT = 300
"""Letters of a timed prompt: about 80 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One instruction to be answered."""

    dataset: str
    row: InstructRow

    @property
    def text(self) -> str:
        """What the user says."""
        return self.row.prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of both engines, and, to be recorded, of the candidate only."""

    questions: Sequence[Question]
    golden: Sequence[Question]


def benchmark(
    settings: Settings,
    *,
    parent: Path,
    candidate: Path,
    datasets: Sequence[Dataset],
    log_folder: Path,
    plan: ServingPlan = ServingPlan(),  # noqa: B008 - frozen
    options: EngineOptions | None = None,
    clock: Clock | None = None,
) -> ServingReport:
    """Measure how both models are served. Data sets of kind `instruct` are answered.

    Writes the engines' logs to `log_folder` as `engine-parent.log` and `engine-candidate.log`.

    Raises:
        ConfigError: there is no serving environment.
        InputError: the engine refuses a model.
        ResourceError: an engine ran out of memory.
        UnavailableError: an engine didn't get ready, or left a request without an answer.
    """
    from greenlight.adapters.vllm_engine import EngineOptions, VllmEngine

    clock, options = clock or SystemClock(), options or EngineOptions()
    began = clock.monotonic()
    asked = Asked(
        questions=read_questions(datasets, at_most=plan.max_answers),
        golden=read_questions(datasets, at_most=plan.golden_prompts),
    )
    engines = [
        VllmEngine(
            settings.serve_python,
            model=model,
            name=name,
            log_file=log_folder / f"engine-{name}.log",
            cache=settings.home / "cache",
            options=options,
        )
        for name, model in ((PARENT, parent), (CANDIDATE, candidate))
    ]
    together = both_fit((parent, candidate), kv_cache_gb=options.kv_cache_gb)
    log.info("serving %s", "both at once, in turns" if together else "one after the other")
    groups = [engines] if together else [[engine] for engine in engines]
    served = [found for group in groups for found in _serve(group, plan, asked, clock)]
    metrics = serving_metrics(
        served[0], served[1], seed=SEED, baseline=f"{PARENT}, served in {options.dtype}"
    )
    return ServingReport(
        engine="vllm",
        dtype=options.dtype,
        together=together,
        plan=plan,
        metrics=metrics,
        golden=served[1].golden,
        seconds=clock.monotonic() - began,
    )


def both_fit(models: Sequence[Path], *, kv_cache_gb: float) -> bool:
    """Return whether the free memory holds an engine for every model at once."""
    import psutil

    weights = sum(f.stat().st_size for model in models for f in model.glob("*.safetensors"))
    needed = weights + len(models) * (IMPORTS_BYTES + kv_cache_gb * 2**30)
    return bool(psutil.virtual_memory().available > needed)


def read_questions(datasets: Sequence[Dataset], *, at_most: int) -> tuple[Question, ...]:
    """Return the first instructions of every set, `at_most` in all, the sets taking equal parts."""
    sets = [d for d in datasets if d.kind is DatasetKind.INSTRUCT]
    parts = [
        [Question(dataset=d.name, row=row) for row in read_instructions(d)[: len(part)]]
        for d, part in zip(sets, shares(at_most, max(1, len(sets))), strict=False)
    ]
    return tuple(question for part in parts for question in part)


def timed_prompts(plan: ServingPlan) -> tuple[tuple[Prompt, ...], ...]:
    """Return the prompts of every level; no two alike, taken from texts that ship with Python."""
    from pydoc_data.topics import topics

    from greenlight.adapters.openai_client import Prompt

    text = "\n".join(topics[key] for key in sorted(topics))
    offsets = iter(range(0, len(text) - EXCERPT, EXCERPT))
    return tuple(
        tuple(
            Prompt(
                text=f"Summarize this text.\n\n{text[start : start + EXCERPT]}",
                max_tokens=plan.new_tokens,
                through_the_end=True,
            )
            for start, _ in zip(offsets, range(level.requests), strict=False)
        )
        for level in plan.levels
    )


def _serve(
    engines: Sequence[VllmEngine],
    plan: ServingPlan,
    asked: Asked,
    clock: Clock,
) -> list[Served]:
    """Start the engines, measure them in turns, and stop them."""
    from greenlight.adapters.vllm_engine import wait_ready

    with ExitStack() as running:
        for engine in engines:
            running.enter_context(engine)
        wait_ready(engines)
        return asyncio.run(_measure(engines, plan, asked, clock))


async def _measure(
    engines: Sequence[VllmEngine],
    plan: ServingPlan,
    asked: Asked,
    clock: Clock,
) -> list[Served]:
    sessions = [_Session(engine, plan, clock) for engine in engines]
    for session in sessions:
        await session.warm_up()
    for number in range(plan.rounds):
        for session in sessions if number % 2 == 0 else sessions[::-1]:
            await session.time_round(number)
    return [await session.finish(asked) for session in sessions]


class _Session:
    """What is asked of one engine, and what came of it."""

    def __init__(self, engine: VllmEngine, plan: ServingPlan, clock: Clock) -> None:
        self._engine, self._plan, self._clock = engine, plan, clock
        self._prompts = timed_prompts(plan)
        self._parts: list[Part] = []

    async def warm_up(self) -> None:
        """Ask what is not timed: the first requests of an engine are slow."""
        prompts = self._prompts[-1][: self._plan.warm_up]
        await self._ask(prompts, concurrency=len(prompts))

    async def time_round(self, number: int) -> None:
        """Send this round's part of every level."""
        for level, prompts in zip(self._plan.levels, self._prompts, strict=True):
            parts = shares(len(prompts), self._plan.rounds)
            if number < len(parts):
                numbers = parts[number]
                await self._time(level.concurrency, numbers, [prompts[n] for n in numbers])

    async def _time(
        self, concurrency: int, numbers: Sequence[int], prompts: Sequence[Prompt]
    ) -> None:
        used, began = self._engine.cpu_seconds(), self._clock.monotonic()
        replies = await self._ask(prompts, concurrency=concurrency)
        wall = self._clock.monotonic() - began
        cpu = self._engine.cpu_seconds() - used
        timings = tuple(
            Timing(
                prompt=number,
                ttft_s=reply.ttft_s,
                gaps_s=reply.gaps_s,
                total_s=reply.total_s,
                tokens=reply.tokens,
            )
            for number, reply in zip(numbers, replies, strict=True)
        )
        self._parts.append(Part(concurrency=concurrency, wall_s=wall, cpu_s=cpu, timings=timings))
        log.info(
            "%s: %d requests, %d at once: %.1f tokens/s",
            self._engine.name,
            len(replies),
            concurrency,
            sum(timing.tokens for timing in timings) / wall,
        )

    async def finish(self, asked: Asked) -> Served:
        """Let the questions be answered, and return all that was measured."""
        candidate = self._engine.name == CANDIDATE
        answers = await self._answers(asked.questions)
        return Served(
            ready_s=self._engine.ready_s,
            rss_bytes=self._engine.rss_bytes(),
            parts=tuple(self._parts),
            answers=answers,
            golden=await self._golden(asked.golden) if candidate else (),
        )

    async def _answers(self, questions: Sequence[Question]) -> tuple[Answer, ...]:
        from greenlight.adapters.openai_client import Prompt

        prompts = [Prompt(text=q.text, max_tokens=self._plan.answer_tokens) for q in questions]
        replies = await self._ask(prompts, concurrency=self._plan.answer_concurrency)
        again = prompts[: self._plan.repeat_answers]
        first = await self._ask(again, concurrency=1)
        second = await self._ask(again, concurrency=1)
        equal = [a.text == b.text for a, b in zip(first, second, strict=True)]
        repeated: list[bool | None] = [*equal, *[None] * (len(prompts) - len(equal))]
        return tuple(
            _answer(question, reply, repeat_equal=same)
            for question, reply, same in zip(questions, replies, repeated, strict=True)
        )

    async def _golden(self, questions: Sequence[Question]) -> tuple[GoldenAnswer, ...]:
        """Record what a deploy asks again; see `golden_answers` for what is kept."""
        from greenlight.adapters.openai_client import Prompt

        prompts = [Prompt(text=q.text, max_tokens=self._plan.golden_tokens) for q in questions]
        alone = await self._ask(prompts, concurrency=1)
        together = await self._ask(prompts, concurrency=self._plan.answer_concurrency)
        answers = [
            GoldenAnswer(
                id=f"{question.dataset}/{question.row.id}",
                prompt=question.text,
                max_tokens=self._plan.golden_tokens,
                text=reply.text,
            )
            for question, reply in zip(questions, alone, strict=True)
        ]
        kept = golden_answers(answers, [reply.text for reply in together])
        log.info(
            "%s: %d of %d golden answers kept: in a batch the same as alone",
            self._engine.name,
            len(kept),
            len(answers),
        )
        return kept

    async def _ask(self, prompts: Sequence[Prompt], *, concurrency: int) -> list[Reply]:
        from greenlight.adapters.openai_client import OpenAIClient

        async with OpenAIClient(self._engine.url, model=self._engine.name) as client:
            return _all_replies(
                await client.ask_all(prompts, concurrency=concurrency), engine=self._engine
            )


def _all_replies(found: Sequence[Reply | Failure], *, engine: VllmEngine) -> list[Reply]:
    from greenlight.adapters.openai_client import Failure, Reply

    failures = [reply.reason for reply in found if isinstance(reply, Failure)]
    if failures:
        raise engine.failure(
            f"left {len(failures)} of {len(found)} requests without an answer ({failures[0]})"
        )
    return [reply for reply in found if isinstance(reply, Reply)]


def _answer(question: Question, reply: Reply, *, repeat_equal: bool | None) -> Answer:
    ended = reply.finish == "stop"
    return Answer(
        dataset=question.dataset,
        id=question.row.id,
        text=reply.text,
        tokens=reply.tokens - ended,  # vLLM counts the end token
        finish=reply.finish,
        correct=is_correct(question.row, reply.text),
        repeat_equal=repeat_equal,
    )
