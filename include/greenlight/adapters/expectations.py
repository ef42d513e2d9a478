"""Check data sets with Great Expectations, and keep its data docs.

The docs appear under their name when they are complete, and a rerun replaces them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from greenlight.adapters.expectation_frame import columns_of, frame_of
from greenlight.adapters.expectation_run import judge
from greenlight.adapters.expectation_suites import suite_of
from greenlight.core.files import folder_in_the_making
from greenlight.quantize.jobs import Dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """What a set's suite said, one sentence each. `problems` refuse the set, `warnings` do not.

    `docs` is the index page of Great Expectations' data docs.
    """

    success: bool
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    docs: Path


def validate(dataset: Dataset, *, lengths: list[int] | None, docs: Path) -> ValidationReport:
    """Check every row of a set, and leave the data docs in `docs`, replacing older ones.

    `lengths` are the tokens of each row, in row order; without them length is not checked.

    Raises:
        InputError: the file is empty, was edited, or isn't JSONL; `lengths` has another number of
            rows.
    """
    with_tokens = lengths is not None
    frame = frame_of(dataset, lengths=lengths)
    expected = suite_of(
        dataset.kind,
        columns=columns_of(dataset.kind, with_tokens=with_tokens),
        with_tokens=with_tokens,
    )
    with folder_in_the_making(docs) as making:
        said = judge(frame, expected, name=f"{dataset.name}-{dataset.version}", docs=making)
    log.info(
        "%s version %s: %d rows, %d problems, %d warnings",
        dataset.name,
        dataset.version,
        len(frame),
        len(said.problems),
        len(said.warnings),
    )
    return ValidationReport(
        success=not said.problems,
        problems=said.problems,
        warnings=said.warnings,
        docs=docs / "index.html",
    )
