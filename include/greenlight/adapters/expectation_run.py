"""Run a suite of Great Expectations on a table, and say in words what it found.

Great Expectations keeps everything in memory but the docs.
"""

from __future__ import annotations

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

from greenlight.adapters.expectation_suites import Expected

ROW = "row"
"""The column with a row's name, which complaints show."""
NAMED = 5
"""How many rows a complaint names."""
WHOLE_FRAME = "whole file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a suite complained about, one sentence each."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def judge(frame: Any, expected: Sequence[Expected], *, name: str, docs: Path | None = None) -> Said:
    """Return what a frame doesn't meet. `docs`: a folder, which is there, for the data docs.

    They are some megabytes, most of them fonts: leave them out where nobody will look.
    """
    results = _run(frame, expected, name=name, docs=docs)
    said = [
        (one.warns, _sentence(one, result, rows=len(frame)))
        for one, result in zip(expected, results, strict=True)
        if not result["success"]
    ]
    return Said(
        problems=tuple(sentence for warns, sentence in said if not warns),
        warnings=tuple(sentence for warns, sentence in said if warns),
    )


def _run(frame: Any, expected: Sequence[Expected], *, name: str, docs: Path | None) -> list[Any]:
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
    if docs is not None:
        context.build_data_docs()
    return sorted(result.results, key=lambda r: r["expectation_config"]["meta"]["number"])


def _config(docs: Path | None) -> DataContextConfig:
    return DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={} if docs is None else {"local_site": _site(docs)},
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        analytics_enabled=False,
    )


def _site(docs: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(docs),
        },
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _sentence(expected: Expected, result: Mapping[str, Any], *, rows: int) -> str:
    found = result["result"] or {}
    places = found.get("unexpected_index_list") or []
    if not places:
        return f"{expected.complaint} (in the whole file)"
    names = list(dict.fromkeys(str(place[ROW]) for place in places))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{len(places)} of {rows} rows {expected.complaint}: {', '.join(names[:NAMED])}{more}"
