"""Bring models in, list them, verify them."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.digest import Manifest, digest_file, short
from greenlight.core.errors import InputError
from greenlight.core.files import write_json
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.quantize.jobs import ConvertGgufSpec, Job
from greenlight.quantize.shapes import KNOWN_ARCHITECTURES
from greenlight.registry.description import describe_import
from greenlight.registry.intake import IntakeReport, check_folder
from greenlight.registry.ports import Registration, RunLog, Version, VersionRef
from greenlight.registry.sources import Source, SourceKind, parse_source
from greenlight.registry.tags import Tag

if TYPE_CHECKING:
    from greenlight.adapters.model_store import ModelStore
    from greenlight.quantize.ports import JobRunner
    from greenlight.registry.ports import ModelRegistry

log = logging.getLogger(__name__)


def open_registry(settings: Settings) -> ModelRegistry:
    """Return the configured registry, or the embedded stack's.

    Raises:
        RefusedError: none is configured, and the stack is not up.
    """
    from greenlight.adapters.mlflow_registry import MlflowRegistry
    from greenlight.entrypoints import stack

    return MlflowRegistry(stack.mlflow_url(settings), ui_url=settings.mlflow_ui_url)


def open_store(settings: Settings) -> ModelStore:
    """Return the store of verified model folders."""
    from greenlight.adapters.model_store import ModelStore

    return ModelStore(settings.models)


def check_model(
    settings: Settings,
    source: str,
    *,
    licence: str | None = None,
    wheel: Path | None = None,
    registry: ModelRegistry | None = None,
    runner: JobRunner | None = None,
) -> IntakeReport:
    """Fetch a source and say whether it may enter; nothing is kept as a model or registered.

    Raises:
        InputError: the source is not understood or not there.
        UnavailableError: the place it comes from does not answer.
    """
    parsed = parse_source(source, hub_enabled=settings.hub_enabled)
    with _fetched(settings, parsed, wheel=wheel, registry=registry, runner=runner) as folder:
        return _check(settings, folder, licence=licence)


def import_model(
    settings: Settings,
    source: str,
    *,
    name: str,
    licence: str | None = None,
    wheel: Path | None = None,
    registry: ModelRegistry | None = None,
    runner: JobRunner | None = None,
) -> VersionRef:
    """Check a source, keep it in the store, register it; the same digest is found, not repeated.

    `source`: see `registry.sources`. `wheel`: the demo's package, when it is here already.

    Raises:
        InputError: the model may not enter; the message lists every reason.
        ResourceError: the disk is too small.
        UnavailableError: the registry, or the place the model comes from, does not answer.
    """
    registry = registry or open_registry(settings)
    parsed = parse_source(source, hub_enabled=settings.hub_enabled)
    with _fetched(settings, parsed, wheel=wheel, registry=registry, runner=runner) as folder:
        report = _check(settings, folder, licence=licence)
        report.require_accepted()
        store = open_store(settings)
        manifest = store.add(folder, leave_out=report.left_out)
        if parsed.kind in (SourceKind.GGUF, SourceKind.DEMO):
            _keep_once(folder, manifest.digest, store=store)
    version = _register(
        registry, store.path(manifest.digest), manifest, report, name=name, source=parsed.text
    )
    log.info("%s version %d is %s", name, version.version, short(version.digest))
    return version


def list_models(settings: Settings, *, registry: ModelRegistry | None = None) -> list[JsonDict]:
    """Return every version of every model, oldest first."""
    registry = registry or open_registry(settings)
    return [v.to_json() for name in registry.models() for v in registry.versions(name)]


def show_model(
    settings: Settings, model: str, version: int, *, registry: ModelRegistry | None = None
) -> JsonDict:
    """Return one version with the page that shows it, and whether its files are here.

    Raises:
        InputError: there is no such version.
    """
    registry = registry or open_registry(settings)
    found = registry.get(model, version)
    here = open_store(settings).has(found.digest)
    return found.to_json() | {"url": registry.version_url(model, version), "here": here}


def verify_model(
    settings: Settings, model: str, version: int, *, registry: ModelRegistry | None = None
) -> VersionRef:
    """Read back what the registry keeps, and what the store keeps, and compare both to the digest.

    Raises:
        InputError: there is no such version, or a file of it is damaged; the message says which.
    """
    registry = registry or open_registry(settings)
    found = registry.get(model, version)
    with _scratch(settings) as scratch:
        registry.download(model, version=version, target=scratch / "model")
    store = open_store(settings)
    if store.has(found.digest):
        store.verify(found.digest)
    return found.ref


def fetch_version(
    settings: Settings, found: Version, *, registry: ModelRegistry
) -> tuple[Path, Manifest]:
    """Return the verified folder of a version in the store, downloaded when it isn't there.

    Raises:
        InputError: the files are not those of the version's digest.
        ResourceError: the disk is too small.
        UnavailableError: the registry does not answer.
    """
    store = open_store(settings)
    if not store.has(found.digest):
        settings.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=settings.work, prefix=".fetch-") as scratch:
            target = Path(scratch, "model")
            registry.download(found.model, version=found.version, target=target)
            store.add(target)
    return store.path(found.digest), store.verify(found.digest)


def _check(settings: Settings, folder: Path, *, licence: str | None) -> IntakeReport:
    return check_folder(
        folder,
        known_architectures=KNOWN_ARCHITECTURES,
        licences=settings.licences,
        licence=licence,
    )


@contextmanager
def _fetched(
    settings: Settings,
    source: Source,
    *,
    wheel: Path | None,
    registry: ModelRegistry | None,
    runner: JobRunner | None,
) -> Iterator[Path]:
    """Yield a folder with the source's files."""
    cache = settings.home / "cache"
    match source.kind:
        case SourceKind.FOLDER:
            yield Path(source.name)
        case SourceKind.GGUF:
            yield _converted(settings, Path(source.name), runner=runner)
        case SourceKind.DEMO:
            from greenlight.adapters.demo_model import fetch_demo

            yield _converted(settings, fetch_demo(cache, wheel=wheel), runner=runner)
        case SourceKind.HUB:
            from greenlight.adapters.hub import Hub

            target = cache / "hub" / source.name.replace("/", "--") / source.revision
            yield Hub().fetch(source.name, revision=source.revision, target=target)
        case SourceKind.VERSION:
            registry = registry or open_registry(settings)
            with _scratch(settings) as scratch:
                target = scratch / "model"
                registry.download(source.name, version=int(source.revision), target=target)
                yield target


def _converted(settings: Settings, gguf: Path, *, runner: JobRunner | None) -> Path:
    """Return the folder that a GGUF file was dequantized into; it is made once a file."""
    if not gguf.is_file():
        raise InputError(f"there is no GGUF file {gguf}")
    folder = settings.home / "cache" / f"gguf-{digest_file(gguf)[:32]}"
    note, store = _note_of(folder), open_store(settings)
    if note.is_file() and store.has(digest := json.loads(note.read_bytes())["digest"]):
        return store.path(digest)
    if not folder.is_dir():
        if runner is None:
            from greenlight.adapters.ml_process import MlProcess

            runner = MlProcess(settings)
        runner.run(Job.CONVERT_GGUF, ConvertGgufSpec(gguf=gguf, output=folder))
    return folder


def _keep_once(folder: Path, digest: str, *, store: ModelStore) -> None:
    """Remove the converted folder, which the store now holds, and note where it went."""
    if folder == store.path(digest):
        return
    write_json(_note_of(folder), {"digest": digest})
    shutil.rmtree(folder)


def _note_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _register(
    registry: ModelRegistry,
    folder: Path,
    manifest: Manifest,
    report: IntakeReport,
    *,
    name: str,
    source: str,
) -> VersionRef:
    facts = {
        Tag.SOURCE: source,
        Tag.LICENCE: report.licence,
        Tag.ARCHITECTURE: report.architecture,
        Tag.PARAMETERS: report.weights and report.weights.parameters,
        Tag.DTYPE: report.weights and report.weights.dtype,
        Tag.BYTES: report.weights and report.weights.total_bytes,
    }
    tags = {str(tag): str(value) for tag, value in facts.items() if value is not None}
    with tempfile.TemporaryDirectory(prefix="greenlight-") as scratch:
        listing, intake = Path(scratch) / "manifest.json", Path(scratch) / "report.json"
        write_json(listing, manifest.to_json())
        write_json(intake, report.to_json() | {"folder": source})
        registration = Registration(
            model=name,
            folder=folder,
            manifest=manifest,
            run=RunLog(
                key="set by the registry",
                name=f"import {name}",
                params={tag.removeprefix("greenlight."): value for tag, value in tags.items()},
                metrics={"weight_bytes": report.weights.total_bytes} if report.weights else {},
                artifacts={"intake/manifest.json": listing, "intake/report.json": intake},
            ),
            tags={**tags, str(Tag.KIND): "imported"},
            description=describe_import(report, name=name, source=source, manifest=manifest),
        )
        return registry.register(registration).ref


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    """Yield a folder under `GREENLIGHT_HOME` that is gone afterwards."""
    settings.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.work, prefix="scratch-") as folder:
        yield Path(folder)
