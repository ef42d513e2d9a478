"""Perplexity of text, and how far the whole distribution moved from the parent's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from greenlight.core.errors import InputError
from greenlight.ml import progress
from greenlight.ml.kept_logits import KeptReader, KeptWriter
from greenlight.ml.tokens import encode
from greenlight.quantize.datasets import TextRow

SHORTEST = 64
"""A shorter rest of a document says little about text with context, and is left out."""


def score(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    rows: Sequence[TextRow],
    *,
    name: str,
    window: int,
    max_tokens: int,
    parent: Path | None,
    keep: Path | None,
) -> dict[str, Any]:
    """Return `nll` and `block`, and with `parent` also `kl` and `agree`, one entry a scored token.

    The first token of a window has no context and is not scored. `keep`: write what `parent` of a
    later job reads.

    Raises:
        InputError: there is no window, or the parent was measured on other tokens.
    """
    windows = list(cut(encode(tokenizer, [row.text for row in rows]), window, max_tokens))
    if not windows:
        raise InputError(f"data set {name} holds no window of at least {SHORTEST} tokens")
    scored = sum(len(ids) - 1 for ids in windows)
    reader = None if parent is None else KeptReader(parent, name, tokens=scored)
    writer = None if keep is None else KeptWriter(keep, name, tokens=scored, width=_width(model))
    parts: dict[str, list[Any]] = {"nll": [], "block": []}
    if reader:
        parts |= {"kl": [], "agree": []}
    for number, ids in enumerate(windows):
        tokens = torch.tensor([ids], device=model.device)
        logs = torch.log_softmax(model(tokens).logits[0, :-1].float(), dim=-1)
        nll = -logs.gather(1, tokens[0, 1:, None])[:, 0]
        parts["nll"].append(nll.cpu().numpy().astype(np.float32))
        parts["block"].append(np.full(len(ids) - 1, number, dtype=np.int32))
        if writer:
            writer.add(logs)
        if reader:
            kl, agree = reader.compare(logs)
            parts["kl"].append(kl)
            parts["agree"].append(agree)
        progress.report(name, done=number + 1, total=len(windows))
    return {kind: np.concatenate(values) for kind, values in parts.items()}


def cut(documents: Sequence[Sequence[int]], window: int, max_tokens: int) -> Iterator[list[int]]:
    """Yield windows that never cross documents, until `max_tokens` are reached.

    Every document's first window comes before any second one: windows of one document resemble each
    other, and an interval that takes them as independent is the truer the more documents are read.
    """
    left = max_tokens
    for first in range(0, max(map(len, documents), default=0), window):
        for ids in documents:
            part = list(ids[first : first + min(window, left)])
            if len(part) >= SHORTEST:
                left -= len(part)
                yield part


def _width(model: PreTrainedModel) -> int:
    return int(model.get_output_embeddings().weight.shape[0])
