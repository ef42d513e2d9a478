"""Ask new engines golden prompts one by one, before anybody else may."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from greenlight.adapters.load_plan import GoldenPrompt
from greenlight.adapters.openai_client import Failure, OpenAIClient, Prompt, Reply
from greenlight.core.errors import GateError
from greenlight.core.types import JsonDict
from greenlight.deploy.ports import Target

log = logging.getLogger(__name__)

DEFAULT_PROMPTS = (
    GoldenPrompt(id=0, text="What is two plus two?", max_tokens=16),
    GoldenPrompt(id=1, text="Name the capital of France.", max_tokens=16),
    GoldenPrompt(id=2, text="Write one sentence about the sea.", max_tokens=24),
)
"""Asked when a version's evidence holds no golden answers: it must answer, whatever it says."""

AGREE = 0.5
"""The part of golden prompts that one engine must answer as recorded. Another model agrees on
hardly any; another machine may round one differently."""


def smoke_test(
    targets: Sequence[tuple[str, Target]], golden: Sequence[GoldenPrompt], *, at_most: int
) -> JsonDict:
    """Ask every engine (host, target) and return how many answers agreed with the evidence.

    Raises:
        GateError: an engine does not answer, or too often otherwise than its evidence recorded.
    """
    prompts = tuple(golden or DEFAULT_PROMPTS)[:at_most]
    agreed = asked = 0
    for host, target in targets:
        replies = _answers(host, target, asyncio.run(_ask(target, prompts)))
        known = [(p, r) for p, r in zip(prompts, replies, strict=True) if p.expected is not None]
        wrong = [(p, r) for p, r in known if r.text != p.expected]
        if known and len(known) - len(wrong) < AGREE * len(known):
            prompt, reply = wrong[0]
            raise GateError(
                f"host {host} answers {len(wrong)} of {len(known)} golden prompts otherwise than "
                f"the evidence recorded; to {prompt.text!r} it says {reply.text!r}, not "
                f"{prompt.expected!r}"
            )
        agreed, asked = agreed + len(known) - len(wrong), asked + len(known)
    log.info("smoke test: %d engines answer; %d of %d as recorded", len(targets), agreed, asked)
    return {"engines": len(targets), "golden": asked, "agreed": agreed}


def _answers(host: str, target: Target, found: Sequence[Reply | Failure]) -> list[Reply]:
    replies = []
    for reply in found:
        if isinstance(reply, Failure):
            raise GateError(f"the {target.colour} engine of {host} does not answer: {reply.reason}")
        if not reply.text.strip():
            raise GateError(f"the {target.colour} engine of {host} answers with an empty text")
        replies.append(reply)
    return replies


async def _ask(target: Target, prompts: Sequence[GoldenPrompt]) -> list[Reply | Failure]:
    async with OpenAIClient(target.url, model=target.model) as client:
        asked = [Prompt(text=p.text, max_tokens=p.max_tokens) for p in prompts]
        return await client.ask_all(asked, concurrency=1)
