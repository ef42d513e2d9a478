"""Check data sets with Great Expectations, and keep its data docs.

Great Expectations keeps everything in memory but the docs; they appear under their name when they
are complete, and a rerun replaces them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from greenlight.adapters.expectation_frame import ROW, columns_of, frame_of
from greenlight.adapters.expectation_suites import Expected, suite_of
from greenlight.core.files import folder_in_the_making
from greenlight.quantize.jobs import Dataset

log = logging.getLogger(__name__)
NAMED = 5
"""How many rows a complaint names."""
WHOLE_FRAME = "whole file"


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
        results = _run(frame, expected, name=f"{dataset.name}-{dataset.version}", docs=making)
    said = [
        (one.warns, _sentence(one, result, rows=len(frame)))
        for one, result in zip(expected, results, strict=True)
        if not result["success"]
    ]
    problems = tuple(sentence for warns, sentence in said if not warns)
    warnings = tuple(sentence for warns, sentence in said if warns)
    log.info(
        "%s version %s: %d rows, %d problems, %d warnings",
        dataset.name,
        dataset.version,
        len(frame),
        len(problems),
        len(warnings),
    )
    return ValidationReport(
        success=not problems, problems=problems, warnings=warnings, docs=docs / "index.html"
    )


def _run(frame: Any, expected: Sequence[Expected], *, name: str, docs: Path) -> list[Any]:
    """Return one result an expectation, in order, and build the data docs."""
    context = gx.get_context(project_config=_config(docs), mode="ephemeral")
    asset = context.data_sources.add_pandas(name="files").add_dataframe_asset(name=name)
    batch = asset.add_batch_definition_whole_dataframe(WHOLE_FRAME)
    suite = gx.ExpectationSuite(name=name)
    for number, one in enumerate(expected):
        one.expectation.meta = {"number": number}
        suite.add_expectation(one.expectation)
    definition = gx.ValidationDefinition(
        name=name, data=batch, suite=context.suites.add_or_update(suite)
    )
    result = context.validation_definitions.add_or_update(definition).run(
        batch_parameters={"dataframe": frame},
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [ROW]},
    )
    context.build_data_docs()
    return sorted(result.results, key=lambda r: r["expectation_config"]["meta"]["number"])


def _config(docs: Path) -> DataContextConfig:
    return DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={
            "local_site": {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(docs),
                },
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        },
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        analytics_enabled=False,
    )


def _sentence(expected: Expected, result: Mapping[str, Any], *, rows: int) -> str:
    found = result["result"] or {}
    places = found.get("unexpected_index_list") or []
    if not places:
        return f"{expected.complaint} (in the whole file)"
    names = list(dict.fromkeys(str(place[ROW]) for place in places))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(places)} of {rows} rows {expected.complaint}: {', '.join(names[:NAMED])}{more}"
