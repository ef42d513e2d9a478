"""Data sets: make the bundled ones, add own ones, list and check them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.quantize.datasets import Row, read_verified
from greenlight.quantize.jobs import Dataset, DatasetKind

if TYPE_CHECKING:
    from greenlight.adapters.dataset_store import DatasetStore
    from greenlight.adapters.expectations import ValidationReport

log = logging.getLogger(__name__)


def build_bundle(settings: Settings) -> list[Dataset]:
    """Make the bundled sets; those that are there already stay as they are.

    A set whose source has changed since (another Python, another package) gets a new version.

    Raises:
        ConfigError: a Debian package that holds a text is not installed.
        InputError: the file of a kept set was edited.
    """
    from greenlight.adapters.bundled_sets import bundled_sets

    store = open_store(settings)
    built = [
        store.add(
            made.name, kind=made.kind, licence=made.licence, source=made.source, rows=made.rows
        )
        for made in bundled_sets()
    ]
    for dataset in built:
        log.info("%s version %s holds %d rows", dataset.name, dataset.version, dataset.rows)
    return built


def list_datasets(settings: Settings) -> tuple[Dataset, ...]:
    """Return every version of every set."""
    return open_store(settings).list()


def show(
    settings: Settings, name: str, version: str | None = None
) -> tuple[Dataset, Sequence[Row]]:
    """Return a set and its rows; `version` none: the newest.

    Raises:
        InputError: there is no such set, or its file was edited.
    """
    dataset = open_store(settings).load(name, version)
    return dataset, read_verified(dataset)


def add_file(
    settings: Settings,
    path: Path,
    *,
    name: str,
    kind: DatasetKind,
    licence: str,
    version: str | None = None,
) -> Dataset:
    """Add a JSONL file as a version of a set; the same file again is the same version.

    Raises:
        InputError: the file can't be read, a row has another shape, or the name, the version or the
            licence is bad; the message names file, line and field.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return open_store(settings).add(
        name, version, kind=kind, licence=licence, source=f"file {path.name}", rows=data
    )


def check(settings: Settings, name: str, version: str | None = None) -> ValidationReport:
    """Run the expectations of a set, but those on tokens, which need a model.

    Raises:
        InputError: there is no such set, or its file was edited.
    """
    from greenlight.adapters import expectations

    dataset = open_store(settings).load(name, version)
    docs = settings.work / "data-docs" / "by-hand" / dataset.name / dataset.version
    return expectations.validate(dataset, lengths=None, docs=docs)


def open_store(settings: Settings) -> DatasetStore:
    """Return the store of this machine's data sets."""
    from greenlight.adapters.dataset_store import DatasetStore

    return DatasetStore(settings.datasets)
