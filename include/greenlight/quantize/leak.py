"""Does an evaluation set occur in the calibration set?

A quantizer fits its rounding to the calibration text; judged on the same text it looks better than
it is. The measure is GPT-3's contamination check (Brown et al., 2020, arXiv 2005.14165, appendix
C): word 13-grams, lower case, punctuation away. A row of fewer words counts as one gram when it has
at least `SHORTEST` words; shorter ones say nothing and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from greenlight.quantize.datasets import Row, text_of
from greenlight.quantize.measurements import Metric

NGRAM = 13
SHORTEST = 5
EXAMPLES = 5
GRAM_BYTES = 8
"""Grams are kept as 64-bit hashes: among a million, a chance hit has odds of 1 to 10⁷."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How much of one evaluation set was calibrated on.

    `grams` and `shared` count distinct n-grams; `rows` the rows that have any, `hit` those with at
    least one shared; `examples` the ids of the first rows hit.
    """

    dataset: str
    grams: int
    shared: int
    rows: int
    hit: int
    examples: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of the evaluation set's n-grams that occur in the calibration set."""
        return self.shared / self.grams if self.grams else 0.0

    def metric(self) -> Metric:
        """Return `calibration_overlap.<set>`: the share of n-grams; `n` counts the rows behind it.

        With `n` 0 nothing could be compared: no row was long enough.
        """
        return Metric(
            name=f"calibration_overlap.{self.dataset}",
            value=self.share,
            unit="share",
            n=self.rows,
            method=f"distinct word {NGRAM}-grams",
            baseline="calibration set",
        )


def overlap(
    calibration: Sequence[Row], evaluation: Sequence[Row], *, dataset: str, n: int = NGRAM
) -> Overlap:
    """Compare an evaluation set with the calibration set; `dataset` names the former."""
    known = _known(calibration, evaluation, n=n)
    grams: set[bytes] = set()
    rows = 0
    hits = []
    for row in evaluation:
        own = set(_grams(words_of(row), n=n))
        rows += bool(own)
        grams |= own
        if not known.isdisjoint(own):
            hits.append(row.id)
    return Overlap(
        dataset=dataset,
        grams=len(grams),
        shared=len(grams & known),
        rows=rows,
        hit=len(hits),
        examples=tuple(hits[:EXAMPLES]),
    )


def words_of(row: Row) -> list[str]:
    """Return the row's words, lower case, without punctuation."""
    return _WORD.findall(text_of(row).casefold())


def _known(calibration: Sequence[Row], evaluation: Sequence[Row], *, n: int) -> set[bytes]:
    """Return the calibration's grams of every length that occurs in the evaluation set."""
    lengths = {n} | {
        size for size in (len(words_of(row)) for row in evaluation) if SHORTEST <= size < n
    }
    texts = [words_of(row) for row in calibration]
    return {gram for words in texts for size in lengths for gram in _windows(words, size)}


def _grams(words: list[str], *, n: int) -> list[bytes]:
    size = min(n, len(words))
    return _windows(words, size) if size >= SHORTEST else []


def _windows(words: list[str], size: int) -> list[bytes]:
    return [
        blake2b(" ".join(words[i : i + size]).encode(), digest_size=GRAM_BYTES).digest()
        for i in range(len(words) - size + 1)
    ]
