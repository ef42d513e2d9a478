"""Greedy answers to instructions, through the chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from greenlight.core.types import JsonDict
from greenlight.ml import progress
from greenlight.quantize.answers import is_correct
from greenlight.quantize.datasets import InstructRow
from greenlight.quantize.jobs import Protocol

BATCH = 64


def answer(
    model: PreTrainedModel,
    chat: Any,
    rows: Sequence[InstructRow],
    *,
    name: str,
    protocol: Protocol,
) -> list[JsonDict]:
    """Return one entry a row, in order, in the shape of `quantize.items.Answer`.

    The first batch is generated `protocol.repeats` times: greedy decoding of the same batch must
    give the same tokens every time.
    """
    prompts = [
        chat.apply_chat_template(
            [{"role": "user", "content": row.prompt}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
        )["input_ids"]
        for row in rows
    ]
    order = sorted(range(len(rows)), key=lambda i: (len(prompts[i]), i))
    found: dict[int, JsonDict] = {}
    for first in range(0, len(order), BATCH):
        batch = order[first : first + BATCH]
        ends = end_tokens(model)
        runs = [
            generate(model, [prompts[i] for i in batch], ends=ends, limit=protocol.max_new_tokens)
            for _ in range(protocol.repeats if first == 0 else 1)
        ]
        for place, i in enumerate(batch):
            tokens = runs[0][place]
            same = all(other[place] == tokens for other in runs[1:]) if len(runs) > 1 else None
            found[i] = _entry(rows[i], tokens, chat=chat, ends=ends, name=name, repeat_equal=same)
        progress.report(name, done=len(found), total=len(rows))
    return [found[i] for i in range(len(rows))]


def end_tokens(model: PreTrainedModel) -> frozenset[int]:
    """Return the tokens that end an answer, by the generation config, else by the config."""
    named = model.generation_config.eos_token_id
    if named is None:
        named = model.config.eos_token_id
    return frozenset([named] if isinstance(named, int) else named or ())


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    ends: frozenset[int],
    limit: int,
) -> list[list[int]]:
    """Return the greedy tokens after each prompt, the end token among them when it was reached.

    Prompts are padded on the left and padding is masked, so that a batch answers as one by one, up
    to the rounding of sums.
    """
    longest = max(map(len, prompts))
    pad = [longest - len(prompt) for prompt in prompts]
    ids = torch.tensor(
        [[0] * p + list(prompt) for p, prompt in zip(pad, prompts, strict=True)],
        device=model.device,
    )
    mask = torch.tensor([[0] * p + [1] * (longest - p) for p in pad], device=model.device)
    made: list[list[int]] = [[] for _ in prompts]
    running = list(range(len(prompts)))
    cache = None
    for _ in range(limit):
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = out.past_key_values
        ids = out.logits[:, -1].argmax(dim=-1, keepdim=True)
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        for i, token in zip(running, ids[:, 0].tolist(), strict=True):
            made[i].append(token)
        kept = [row for row, i in enumerate(running) if made[i][-1] not in ends]
        if not kept:
            break
        if len(kept) < len(running):
            rows = torch.tensor(kept, device=model.device)
            ids, mask, running = ids[rows], mask[rows], [running[row] for row in kept]
            cache.batch_select_indices(rows)
    return made


def _entry(
    row: InstructRow,
    tokens: list[int],
    *,
    chat: Any,
    ends: frozenset[int],
    name: str,
    repeat_equal: bool | None,
) -> JsonDict:
    stopped = bool(tokens) and tokens[-1] in ends
    new = tokens[:-1] if stopped else tokens
    text = chat.decode(new, skip_special_tokens=True)
    return {
        "dataset": name,
        "id": row.id,
        "text": text,
        "tokens": len(new),
        "finish": "stop" if stopped else "length",
        "correct": is_correct(row, text),
        "repeat_equal": repeat_equal,
    }
