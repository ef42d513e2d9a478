"""The data sets that every installation can make for itself, in seconds and without a network.

One evaluation text shares its domain with the calibration, not its documents (the handbook is
split by chapters); the other is of a domain that is calibrated on nowhere (Python's reference).
Everything is seeded; the same packages give the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from greenlight.adapters.text_sources import (
    dictionary,
    glossary,
    handbook_sections,
    nouns,
    python_topics,
)
from greenlight.quantize.choices import multiple_choice
from greenlight.quantize.datasets import Row, TextRow
from greenlight.quantize.instructions import instructions
from greenlight.quantize.jobs import DatasetKind

SEED = 20260101
HELD_OUT_CHAPTERS = frozenset(
    {"security", "workstation", "unix-services", "solving-problems", "case-study"}
)
"""Evaluated on, never calibrated on."""
MAX_HELD_OUT_CHARS = 100_000
"""Of text in an evaluation set: a default evaluation reads less than a third of it."""
MAX_GLOSSARY_CHARS = 60_000
MIN_GLOSSARY_DOCUMENT = 2_500
CHOICE_ITEMS = 1000
INSTRUCTIONS_PER_SORT = 45

PSF = "psf-2.0"
HANDBOOK_LICENCE = "gpl-2.0-or-later OR cc-by-sa-3.0"
WORDNET_LICENCE = "wordnet"
OWN_LICENCE = "apache-2.0"

PYTHON = "Python's help topics (pydoc_data.topics)"
HANDBOOK = "The Debian Administrator's Handbook (package debian-handbook)"
WORDNET = "WordNet (package dict-wn)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledSet:
    """Rows, and where they come from."""

    name: str
    kind: DatasetKind
    licence: str
    source: str
    rows: tuple[Row, ...]


def bundled_sets() -> tuple[BundledSet, ...]:
    """Make every bundled set.

    Raises:
        ConfigError: a Debian package that holds a text is not installed.
    """
    calibrated, held_out = split_handbook(handbook_sections())
    entries = dictionary()
    return (
        BundledSet(
            name="calibration-default",
            kind=DatasetKind.TEXT,
            licence=f"({HANDBOOK_LICENCE}) AND {WORDNET_LICENCE}",
            source=f"{HANDBOOK}, the other chapters; {WORDNET}, words with examples",
            rows=(*calibrated, *glossary_documents(glossary(entries), seed=SEED)),
        ),
        BundledSet(
            name="handbook-heldout",
            kind=DatasetKind.TEXT,
            licence=HANDBOOK_LICENCE,
            source=f"{HANDBOOK}, chapters {', '.join(sorted(HELD_OUT_CHAPTERS))}",
            rows=tuple(held_out),
        ),
        BundledSet(
            name="python-heldout",
            kind=DatasetKind.TEXT,
            licence=PSF,
            source=PYTHON,
            rows=shuffled(python_topics(), seed=SEED),
        ),
        BundledSet(
            name="wordnet-choice",
            kind=DatasetKind.CHOICE,
            licence=WORDNET_LICENCE,
            source=f"{WORDNET}, nouns with one sense",
            rows=multiple_choice(nouns(entries), items=CHOICE_ITEMS, seed=SEED),
        ),
        BundledSet(
            name="instructions-default",
            kind=DatasetKind.INSTRUCT,
            licence=OWN_LICENCE,
            source="greenlight.quantize.instructions",
            rows=instructions(per_sort=INSTRUCTIONS_PER_SORT, seed=SEED),
        ),
    )


def split_handbook(documents: Sequence[TextRow]) -> tuple[list[TextRow], list[TextRow]]:
    """Return the documents to calibrate on, and those to evaluate on; no chapter is in both.

    The latter are shuffled, so that an evaluation that reads only the first tokens reads of several
    chapters.
    """
    held_out = [d for d in documents if d.id.split("/")[0] in HELD_OUT_CHAPTERS]
    calibrated = [d for d in documents if d not in held_out]
    random.Random(SEED).shuffle(held_out)  # noqa: S311 - reproducible, not secret
    return calibrated, list(_first(held_out, max_chars=MAX_HELD_OUT_CHARS))


def shuffled(documents: Sequence[TextRow], *, seed: int) -> tuple[TextRow, ...]:
    """Return the documents in a seeded order: the first tokens then come from all over."""
    return tuple(random.Random(seed).sample(documents, len(documents)))  # noqa: S311


def glossary_documents(lines: Sequence[str], *, seed: int) -> tuple[TextRow, ...]:
    """Return a sample of dictionary lines, joined into documents that fill a window."""
    chooser = random.Random(seed)  # noqa: S311 - reproducible, not secret
    shuffled = chooser.sample(lines, len(lines))
    documents: list[TextRow] = []
    left, part, size = MAX_GLOSSARY_CHARS, list[str](), 0
    for line in shuffled:
        if left <= 0:
            break
        part.append(line)
        size += len(line) + 1
        if size >= MIN_GLOSSARY_DOCUMENT:
            documents.append(TextRow(id=f"glossary-{len(documents):03d}", text="\n".join(part)))
            left, part, size = left - size, [], 0
    return tuple(documents)


def _first(documents: Sequence[TextRow], *, max_chars: int) -> Iterator[TextRow]:
    """Yield documents until they hold `max_chars`."""
    for document in documents:
        if max_chars <= 0:
            return
        max_chars -= len(document.text)
        yield document
