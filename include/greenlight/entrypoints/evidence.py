"""Show and check the evidence that a version carries."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.errors import InputError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.quantize.evidence import Evidence, read_evidence, verify
from greenlight.registry.ports import Version
from greenlight.registry.tags import EVIDENCE_FILE, Tag

if TYPE_CHECKING:
    from greenlight.registry.ports import ModelRegistry


def show_evidence(
    settings: Settings, model: str, version: int, *, registry: ModelRegistry | None = None
) -> JsonDict:
    """Return the evidence document of a version.

    Raises:
        InputError: there is no such version, or it has no readable evidence.
    """
    registry = registry or _open_registry(settings)
    with tempfile.TemporaryDirectory(prefix="greenlight-") as scratch:
        return fetch(registry, registry.get(model, version), folder=Path(scratch)).to_json()


def verify_evidence(
    settings: Settings, model: str, version: int, *, registry: ModelRegistry | None = None
) -> JsonDict:
    """Prove that the version, its files and its evidence belong together.

    The files are downloaded and digested anew, the gates judge the metrics anew, and the version's
    tags are compared. Returns `{"model", "version", "digest", "evidence_digest", "problems"}`;
    no problem means that it holds.

    Raises:
        InputError: there is no such version, or its evidence cannot be read at all.
    """
    registry = registry or _open_registry(settings)
    found = registry.get(model, version)
    settings.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.work, prefix="scratch-") as scratch:
        evidence = fetch(registry, found, folder=Path(scratch))
        problems = [
            *_files(registry, found, target=Path(scratch) / "model"),
            *verify(
                evidence,
                evidence_digest=found.tag(Tag.EVIDENCE_DIGEST),
                candidate_digest=found.digest,
                parent_digest=found.tag(Tag.PARENT_DIGEST),
            ),
            *_tags(found, evidence),
            *_parent(registry, found, evidence),
        ]
    return {
        "model": model,
        "version": version,
        "digest": found.digest,
        "evidence_digest": evidence.digest,
        "problems": problems,
    }


def fetch(registry: ModelRegistry, version: Version, *, folder: Path) -> Evidence:
    """Read a version's evidence, written into `folder` on the way.

    Raises:
        InputError: it has none, or what it has is not evidence.
    """
    path = registry.download_artifact(
        version.model, version=version.version, path=EVIDENCE_FILE, target=folder
    )
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(
            f"the evidence of {version.model} version {version.version} is not JSON: {error}"
        ) from error
    return read_evidence(document)


def _files(registry: ModelRegistry, found: Version, *, target: Path) -> Iterator[str]:
    try:
        registry.download(found.model, version=found.version, target=target)
    except InputError as error:
        yield str(error)


def _tags(found: Version, evidence: Evidence) -> Iterator[str]:
    expected = {
        Tag.VERDICT: str(evidence.verdict),
        Tag.RECIPE: evidence.candidate.recipe.name,
        Tag.RECIPE_DIGEST: evidence.candidate.recipe.digest,
        Tag.EVIDENCE_DIGEST: evidence.digest,
        Tag.PARENT_DIGEST: evidence.parent.digest,
    }
    for tag, value in expected.items():
        if found.tag(tag) != value:
            yield f"tag {tag} says {found.tag(tag)}, the evidence says {value}"
    if evidence.model != found.model:
        yield f"the evidence is about model {evidence.model}, not {found.model}"


def _parent(registry: ModelRegistry, found: Version, evidence: Evidence) -> Iterator[str]:
    """Compare with the parent's version, where the version names one."""
    number = found.tag(Tag.PARENT_VERSION)
    if number is None:
        return
    try:
        parent = registry.get(found.model, int(number))
    except (InputError, ValueError) as error:
        yield f"its parent cannot be found: {error}"
        return
    if parent.digest != evidence.parent.digest:
        yield f"parent version {number} is {parent.digest}, not {evidence.parent.digest}"


def _open_registry(settings: Settings) -> ModelRegistry:
    from greenlight.entrypoints.models import open_registry

    return open_registry(settings)
