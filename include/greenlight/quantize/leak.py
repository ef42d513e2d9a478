"""Does an evaluation set occur in the calibration set?

A quantizer fits its rounding to the calibration text; judged on the same text it looks better than
it is. The measure is GPT-3's contamination check (Brown et al., 2020, arXiv 2005.14165, appendix
C): word 13-grams, lower case, punctuation away. A row of fewer words counts as one gram when it has
at least `SHORTEST` words; shorter ones say nothing and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from greenlight.quantize.datasets import Row, text_of
from greenlight.quantize.measurements import Metric

NGRAM = 13
SHORTEST = 5
EXAMPLES = 5

Gram = tuple[str, ...]

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
    grams_of = [(row.id, set(_grams(words_of(row), n=n))) for row in evaluation]
    grams = {gram for _, own in grams_of for gram in own}
    shared = _found(calibration, grams)
    hits = [name for name, own in grams_of if not shared.isdisjoint(own)]
    return Overlap(
        dataset=dataset,
        grams=len(grams),
        shared=len(shared),
        rows=sum(bool(own) for _, own in grams_of),
        hit=len(hits),
        examples=tuple(hits[:EXAMPLES]),
    )


def words_of(row: Row) -> list[str]:
    """Return the row's words, lower case, without punctuation."""
    return _WORD.findall(text_of(row).casefold())


def _found(calibration: Sequence[Row], grams: set[Gram]) -> set[Gram]:
    """Return those of the evaluation's grams that the calibration set holds.

    A gram is only looked for at its own length, so only lengths that occur are cut.
    """
    lengths = {len(gram) for gram in grams}
    found: set[Gram] = set()
    for row in calibration:
        words = words_of(row)
        for size in lengths:
            found |= grams.intersection(_windows(words, size))
    return found


def _grams(words: list[str], *, n: int) -> Iterator[Gram]:
    size = min(n, len(words))
    return _windows(words, size) if size >= SHORTEST else iter(())


def _windows(words: list[str], size: int) -> Iterator[Gram]:
    return zip(*(words[first:] for first in range(size)), strict=False)
