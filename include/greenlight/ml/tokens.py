"""Count tokens, and cut calibration text into samples of equal length."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

from greenlight.core.digest import digest_file
from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.ml import progress
from greenlight.quantize.jobs import CountTokensResult, CountTokensSpec, Dataset, DatasetKind
from greenlight.quantize.recipes import Recipe


def run(spec: CountTokensSpec) -> CountTokensResult:
    """Return the tokens of every row.

    Raises:
        InputError: a data set or the tokenizer can't be read.
    """
    tokenizer = load_tokenizer(spec.model)
    lengths = {}
    for done, dataset in enumerate(spec.datasets, start=1):
        texts = [text_of(row, dataset.kind) for row in read_rows(dataset)]
        lengths[dataset.name] = [len(ids) for ids in encode(tokenizer, texts)]
        progress.report("count tokens", done=done, total=len(spec.datasets))
    return CountTokensResult(lengths=lengths)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the folder's tokenizer.

    Read from `tokenizer.json` alone: the class names in `tokenizer_config.json` differ between the
    two transformers that quantizers need, the tokens don't.

    Raises:
        InputError: the file is missing or broken.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise InputError(f"{folder} holds no tokenizer.json")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:
        raise InputError(f"{file} is not a tokenizer: {error}") from error


def encode(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """Return the token ids of each text, without special tokens around it."""
    return [found.ids for found in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def read_rows(dataset: Dataset) -> list[JsonDict]:
    """Return the rows of a data set whose bytes are the ones its digest names.

    Raises:
        InputError: the file is missing, changed, or holds a line that isn't a JSON object.
    """
    if not dataset.path.is_file():
        raise InputError(f"data set {dataset.name}: there is no file {dataset.path}")
    if (found := digest_file(dataset.path)) != dataset.digest:
        raise InputError(
            f"data set {dataset.name}: {dataset.path} has digest {found}, expected {dataset.digest}"
        )
    try:
        lines = dataset.path.read_text(encoding="utf-8").split("\n")  # U+2028 ends no row
        rows = [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise InputError(f"data set {dataset.name}: {dataset.path} isn't JSONL: {error}") from error
    return rows


def text_of(row: JsonDict, kind: DatasetKind) -> str:
    """Return all the text of a row, whatever its kind.

    Raises:
        InputError: the row lacks a field of its kind.
    """
    try:
        if kind is DatasetKind.TEXT:
            return str(row["text"])
        if kind is DatasetKind.CHOICE:
            return "\n".join([row["question"], *row["choices"]])
        return "\n".join([row["instruction"], row.get("input", ""), row["output"]])
    except (KeyError, TypeError) as error:
        raise InputError(f"a row of kind {kind} lacks {error}") from error


def calibration_samples(folder: Path, dataset: Dataset, recipe: Recipe) -> list[list[int]]:
    """Return `samples` sequences of `sample_tokens` tokens, chosen by the recipe's seed.

    The rows are joined in their order and cut into windows from a random start, so that no token
    is used twice; the windows are then drawn without replacement.

    Raises:
        InputError: the data set holds fewer tokens than the recipe asks for.
    """
    rows = [text_of(row, dataset.kind) for row in read_rows(dataset)]
    stream = [token for ids in encode(load_tokenizer(folder), rows) for token in ids]
    wanted = recipe.samples * recipe.sample_tokens
    if len(stream) < wanted:
        raise InputError(
            f"recipe {recipe.name} asks for {recipe.samples} samples of {recipe.sample_tokens} "
            f"tokens ({wanted}), but data set {dataset.name} holds {len(stream)} tokens; "
            "ask for fewer, or calibrate on more text"
        )
    return draw_windows(stream, count=recipe.samples, length=recipe.sample_tokens, seed=recipe.seed)


def draw_windows(stream: list[int], *, count: int, length: int, seed: int) -> list[list[int]]:
    """Return `count` windows of `length` tokens that don't overlap, drawn by `seed`."""
    choose = random.Random(seed)  # noqa: S311 - a sample, not a secret
    slack = len(stream) - count * length
    start = choose.randrange(min(slack, length) + 1)
    starts = range(start, len(stream) - length + 1, length)
    if len(starts) < count:
        starts = range(0, len(stream) - length + 1, length)
    return [stream[first : first + length] for first in choose.sample(list(starts), count)]
