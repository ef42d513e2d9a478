"""Send the load of a benchmark through a fleet's router, and return every request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenlight.core.digest import digest_bytes
from greenlight.deploy.performance import PerformanceSettings
from greenlight.deploy.ports import Target
from greenlight.deploy.samples import Sample
from greenlight.quantize import serving

if TYPE_CHECKING:
    from greenlight.adapters.openai_client import Failure, Prompt, Reply

log = logging.getLogger(__name__)

MARK = 8
"""Letters that make a run's prompts its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Every request of a benchmark, the warm-up only counted. `levels`: by requests in flight."""

    levels: Mapping[int, Sequence[Sample]]
    at_rate: Sequence[Sample]
    warm_up: int

    @property
    def requests(self) -> int:
        """How many there were, the warm-up's too."""
        return self.warm_up + len(self.at_rate) + sum(map(len, self.levels.values()))

    @property
    def samples(self) -> list[Sample]:
        """Everything that was measured."""
        return [*self.at_rate, *(sample for level in self.levels.values() for sample in level)]


def send_load(target: Target, settings: PerformanceSettings, *, key: str) -> Sent:
    """Send the closed loops one after the other, then the open loop.

    The prompts are the same in every run but for a mark in front, made from `key`: an engine that
    remembers prompts (prefix caching) would answer a second run faster.
    """
    mark = digest_bytes(key.encode())[:MARK]
    levels = _prompts(settings, mark=mark)
    warm_up = [replace(p, text=f"warm-up {p.text}") for p in levels[-1][: settings.warm_up]]
    closed = asyncio.run(_closed(target, settings, levels, warm_up))
    return Sent(levels=closed, at_rate=_open(target, settings, levels[-1]), warm_up=len(warm_up))


def _prompts(settings: PerformanceSettings, *, mark: str) -> list[list[Prompt]]:
    """Return the prompts of every level, those that candidates are benchmarked with."""
    from greenlight.entrypoints.serving import timed_prompts

    plan = serving.ServingPlan(
        levels=tuple(serving.Level.model_validate(x.model_dump()) for x in settings.levels),
        new_tokens=settings.new_tokens,
    )
    return [
        [replace(prompt, text=f"{mark}\n\n{prompt.text}") for prompt in level]
        for level in timed_prompts(plan)
    ]


async def _closed(
    target: Target,
    settings: PerformanceSettings,
    levels: Sequence[Sequence[Prompt]],
    warm_up: Sequence[Prompt],
) -> dict[int, list[Sample]]:
    from greenlight.adapters.openai_client import OpenAIClient

    found: dict[int, list[Sample]] = {}
    async with OpenAIClient(target.url, model=target.model, timeout_s=settings.timeout_s) as client:
        await client.ask_all(warm_up, concurrency=max(1, len(warm_up)))
        for level, prompts in zip(settings.levels, levels, strict=True):
            replies = await client.ask_all(prompts, concurrency=level.concurrency)
            found[level.concurrency] = [
                _sample(target, number, reply) for number, reply in enumerate(replies)
            ]
            log.info("%d requests were sent, %d at once", len(replies), level.concurrency)
    return found


def _open(target: Target, settings: PerformanceSettings, prompts: Sequence[Prompt]) -> list[Sample]:
    from greenlight.adapters.load import OpenLoopLoad
    from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan

    samples: list[Sample] = []
    plan = LoadPlan(
        rate=settings.rate,
        prompts=tuple(
            GoldenPrompt(id=number, text=f"at a rate {prompt.text}", max_tokens=prompt.max_tokens)
            for number, prompt in enumerate(prompts)
        ),
        seed=settings.seed,
        stream_share=1.0,
        timeout_s=settings.timeout_s,
    )
    OpenLoopLoad(plan).run([target], seconds=settings.seconds, on_sample=samples.append)
    log.info("%d requests were sent at %g a second", len(samples), settings.rate)
    return samples


def _sample(target: Target, number: int, reply: Reply | Failure) -> Sample:
    from greenlight.adapters.openai_client import Failure

    if isinstance(reply, Failure):
        return Sample(colour=target.colour, prompt=number, at_s=0.0, ok=False, reason=reply.reason)
    return Sample(
        colour=target.colour,
        prompt=number,
        at_s=0.0,
        ok=True,
        ttft_s=reply.ttft_s,
        gap_s=sum(reply.gaps_s) / (reply.tokens - 1) if reply.tokens > 1 else None,
        total_s=reply.total_s,
        tokens=reply.tokens,
        finish=reply.finish,
    )
