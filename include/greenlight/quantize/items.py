"""What the `evaluate` job measured, item by item: the raw material of every statistic.

The folder holds

* `items.npz`: per data set the arrays named in `Items`, as `nll/<set>`, `block/<set>`, …
* `answers.jsonl`: one `Answer` a line
* `summary.json`: tokens, seconds per part, the model's identity, tool versions
* `logits/<set>.{scale,codes}.npy`: only where the job was asked to keep them; read by the job alone

Two folders made from the same data sets with the same protocol hold the same items in the same
order, so position pairs them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict

ITEMS, ANSWERS, SUMMARY = "items.npz", "answers.jsonl", "summary.json"

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One generated answer. `tokens` counts new tokens, the end token not among them.

    `finish` is `stop` (the model ended it) or `length` (the limit did). `repeat_equal`: every
    repetition gave the same tokens; `None` when it was generated once.
    """

    dataset: str
    id: str
    text: str
    tokens: int
    finish: str
    correct: bool
    repeat_equal: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Per-item results by data set name.

    `nll`: negative log-likelihood of every scored token, in nats. `block`: the window a token
    belongs to, from 0; tokens of one window are not independent. `kl`: KL(parent ‖ model) at every
    scored token, in nats, and `agree`: whether both rank the same token first; both empty unless
    the job was given a parent. `picked` and `gold`: indices of choices, one a question.
    """

    nll: dict[str, Floats]
    block: dict[str, Ints]
    kl: dict[str, Floats]
    agree: dict[str, Bools]
    picked: dict[str, Ints]
    gold: dict[str, Ints]
    answers: tuple[Answer, ...]
    summary: JsonDict


def read_items(folder: Path) -> Items:
    """Read the folder that one `evaluate` job wrote.

    Raises:
        InputError: a file is missing or damaged, or arrays that belong together differ in length.
    """
    try:
        with np.load(folder / ITEMS, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        # Not splitlines(): a U+2028 inside an answer doesn't end the line.
        lines = (folder / ANSWERS).read_text(encoding="utf-8").split("\n")
        answers = tuple(Answer(**json.loads(line)) for line in lines if line)
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{folder} holds no complete evaluation ({type(error).__name__}: {error}); "
            "delete the folder and evaluate again"
        ) from error
    items = Items(
        nll=_named(found, "nll"),
        block=_named(found, "block"),
        kl=_named(found, "kl"),
        agree=_named(found, "agree"),
        picked=_named(found, "picked"),
        gold=_named(found, "gold"),
        answers=answers,
        summary=summary,
    )
    _refuse_unequal(items, folder=folder)
    return items


def _named(arrays: dict[str, Any], kind: str) -> dict[str, Any]:
    prefix = f"{kind}/"
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}


def _refuse_unequal(items: Items, *, folder: Path) -> None:
    pairs: list[tuple[str, Mapping[str, Any], str, Mapping[str, Any]]] = [
        ("nll", items.nll, "block", items.block),
        ("picked", items.picked, "gold", items.gold),
    ]
    if items.kl or items.agree:
        pairs += [("nll", items.nll, "kl", items.kl), ("nll", items.nll, "agree", items.agree)]
    for left, lefts, right, rights in pairs:
        sizes = {name: array.size for name, array in lefts.items()}
        others = {name: array.size for name, array in rights.items()}
        if sizes != others:
            raise InputError(f"{folder}/{ITEMS}: {left} holds {sizes}, but {right} {others}")
