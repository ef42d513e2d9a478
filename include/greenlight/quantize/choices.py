"""Four-way multiple choice made from a dictionary: which is the definition of a noun?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from greenlight.core.errors import InputError
from greenlight.quantize.datasets import CHOICES, ChoiceRow

QUESTION = "What is the meaning of the noun “{word}”?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A noun with one sense, and its definition."""

    word: str
    gloss: str


def multiple_choice(entries: Sequence[Entry], *, items: int, seed: int) -> tuple[ChoiceRow, ...]:
    """Return `items` questions in random order; every position is right equally often.

    Wrong choices are definitions of other nouns of about the same length, so that length alone
    gives nothing away, and share no content word with the right one.

    Raises:
        InputError: there are fewer usable nouns than items.
    """
    if len(entries) < items:
        raise InputError(f"{items} multiple-choice items need as many nouns, got {len(entries)}")
    chooser = random.Random(seed)  # noqa: S311 - reproducible, not secret
    by_length = sorted(entries, key=lambda entry: (len(entry.gloss), entry.word))
    places = {entry.word: place for place, entry in enumerate(by_length)}
    picked = chooser.sample(sorted(entries, key=lambda entry: entry.word), items)
    answers = [position % CHOICES for position in range(items)]
    chooser.shuffle(answers)
    rows = []
    for number, (entry, answer) in enumerate(zip(picked, answers, strict=True)):
        wrong = _distractors(entry, by_length, place=places[entry.word], chooser=chooser)
        rows.append(
            ChoiceRow(
                id=f"{number:04d}-{entry.word}",
                question=QUESTION.format(word=entry.word),
                choices=(*wrong[:answer], entry.gloss, *wrong[answer:]),
                answer=answer,
            )
        )
    return tuple(rows)


def balance(rows: Sequence[ChoiceRow]) -> dict[int, int]:
    """Return how often each position is the right one."""
    return dict(sorted(Counter(row.answer for row in rows).items()))


def _distractors(
    entry: Entry, by_length: Sequence[Entry], *, place: int, chooser: random.Random
) -> tuple[str, ...]:
    near = [e for e in by_length[max(0, place - 150) : place + 150] if e.word != entry.word]
    own = _content(entry.gloss)
    taken: list[str] = []
    for other in chooser.sample(near, len(near)):
        if other.gloss not in (entry.gloss, *taken) and not own & _content(other.gloss):
            taken.append(other.gloss)
        if len(taken) == CHOICES - 1:
            return tuple(taken)
    raise InputError(f"no three other definitions are like and unlike enough for {entry.word!r}")


def _content(gloss: str) -> set[str]:
    return {word for word in gloss.lower().split() if len(word) > 4}
