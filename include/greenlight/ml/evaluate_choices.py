"""Multiple choice by likelihood: which answer does the model find most likely?

Each choice is scored by the mean log-likelihood of its tokens after the question (`acc_norm` of
lm-evaluation-harness, normalised by tokens instead of bytes). Questions are packed: a question and
its choices share one sequence, in which a choice sees the question and itself and nothing else, so
the question is computed once and no token is padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from greenlight.core.errors import InputError
from greenlight.ml import progress
from greenlight.ml.tokens import encode
from greenlight.quantize.datasets import ChoiceRow

PACKED_TOKENS = 512


@dataclass(slots=True)
class Pack:
    """Several questions in one sequence.

    `segment` is the number of the question, `branch` 0 for its text and 1 to 4 for its choices.
    `scored` holds (question, choice, position of the token before, token).
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)
    scored: list[tuple[int, int, int, int]] = field(default_factory=list)

    def add(self, number: int, question: Sequence[int], choices: Sequence[Sequence[int]]) -> None:
        """Append one question with its choices."""
        self._extend(question, number=number, branch=0, start=0)
        end = len(self.ids) - 1
        for index, choice in enumerate(choices):
            before = end
            for offset, token in enumerate(choice):
                self.scored.append((number, index, before, token))
                before = len(self.ids) + offset
            self._extend(choice, number=number, branch=index + 1, start=len(question))

    def _extend(self, ids: Sequence[int], *, number: int, branch: int, start: int) -> None:
        self.ids += ids
        self.positions += range(start, start + len(ids))
        self.segment += [number] * len(ids)
        self.branch += [branch] * len(ids)

    def mask(self, device: torch.device) -> torch.Tensor:
        """Return what may be seen, 1 × 1 × tokens × tokens, as an additive mask."""
        segment = torch.tensor(self.segment, device=device)
        branch = torch.tensor(self.branch, device=device)
        same = segment[:, None] == segment[None, :]
        visible = (branch[None, :] == 0) | (branch[:, None] == branch[None, :])
        order = torch.ones(len(self.ids), len(self.ids), device=device).tril().bool()
        allowed = same & visible & order
        return torch.where(allowed, 0.0, torch.finfo(torch.float32).min)[None, None]


def pick(
    model: PreTrainedModel, tokenizer: Tokenizer, rows: Sequence[ChoiceRow], *, name: str
) -> dict[str, Any]:
    """Return `picked` and `gold`, one index a question.

    Raises:
        InputError: a choice has no token of its own.
    """
    totals = np.zeros((len(rows), 4))
    counts = np.zeros((len(rows), 4), dtype=np.int64)
    done = 0
    for pack, questions in packs(tokenizer, rows):
        for number, choice, value in _scores(model, pack):
            totals[number, choice] += value
            counts[number, choice] += 1
        done += questions
        progress.report(name, done=done, total=len(rows))
    if not counts.all():
        raise InputError(f"data set {name} has a choice without tokens")
    return {
        "picked": (totals / counts).argmax(axis=1).astype(np.int32),
        "gold": np.array([row.answer for row in rows], dtype=np.int32),
    }


def packs(tokenizer: Tokenizer, rows: Sequence[ChoiceRow]) -> Iterator[tuple[Pack, int]]:
    """Yield packs of about `PACKED_TOKENS` tokens with the number of their questions."""
    pack, questions = Pack(), 0
    for number, row in enumerate(rows):
        question, *choices = encode(tokenizer, [row.question, *(f" {c}" for c in row.choices)])
        size = len(question) + sum(map(len, choices))
        if questions and len(pack.ids) + size > PACKED_TOKENS:
            yield pack, questions
            pack, questions = Pack(), 0
        pack.add(number, question, choices)
        questions += 1
    if questions:
        yield pack, questions


def _scores(model: PreTrainedModel, pack: Pack) -> Iterator[tuple[int, int, float]]:
    """Yield (question, choice, log-likelihood) of every token of every choice."""
    hidden = model.get_decoder()(
        input_ids=torch.tensor([pack.ids], device=model.device),
        position_ids=torch.tensor([pack.positions], device=model.device),
        attention_mask=pack.mask(model.device),
        use_cache=False,
    ).last_hidden_state[0]
    before = torch.tensor([at for _, _, at, _ in pack.scored], device=model.device)
    tokens = torch.tensor([token for *_, token in pack.scored], device=model.device)
    logs = torch.log_softmax(model.get_output_embeddings()(hidden[before]).float(), dim=-1)
    found = logs.gather(1, tokens[:, None])[:, 0].tolist()
    for (number, choice, _, _), value in zip(pack.scored, found, strict=True):
        yield number, choice, value
