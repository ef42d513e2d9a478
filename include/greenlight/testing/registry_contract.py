"""What every `ModelRegistry` must do: subclass it and give it a fixture `registry`.

The registry may be shared by all tests of a class; every test uses a model name of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError
from greenlight.registry.ports import DatasetUse, ModelRegistry, Registration, RunLog
from greenlight.registry.tags import Tag


def a_model_folder(root: Path, *, weights: bytes = b"weights") -> Path:
    """Make a small folder with a file in a sub-folder."""
    folder = root / f"model-{uuid.uuid4().hex[:8]}"
    (folder / "extra").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "extra" / "notes.txt").write_text("notes")
    return folder


def a_registration(
    folder: Path,
    *,
    model: str,
    evidence: str | None = None,
    artifacts: Mapping[str, Path] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Registration:
    """Make a registration of everything in `folder`."""
    return Registration(
        model=model,
        folder=folder,
        manifest=manifest_of(folder),
        run=RunLog(
            key="set by the registry",
            name="a run",
            params={"bits": "4"},
            metrics={"perplexity ratio": 1.03},
            artifacts=artifacts or {},
            tables={"tables/gates.json": {"gate": ["size"], "value": [0.2]}},
            datasets=(
                DatasetUse(
                    name="heldout", digest="d" * 64, source="file", context="evaluation", rows=3
                ),
            ),
        ),
        tags=tags or {str(Tag.LICENCE): "mit"},
        description="What it is.",
        evidence_digest=evidence,
    )


class RegistryContract:
    """The suite."""

    @pytest.fixture
    def model(self) -> str:
        """Return a name that no other test uses."""
        return f"model-{uuid.uuid4().hex[:12]}"

    def test_a_registered_version_says_what_it_is(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """Digest, tags and description are read back."""
        folder = a_model_folder(tmp_path)
        made = registry.register(a_registration(folder, model=model))
        read = registry.get(model, made.version)
        assert read == made
        assert read.digest == manifest_of(folder).digest
        assert read.tag(Tag.LICENCE) == "mit"
        assert read.description == "What it is."
        assert read.created_at.tzinfo is not None
        assert model in registry.models()

    def test_the_same_digest_is_one_version(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """Registering twice finds the first."""
        folder = a_model_folder(tmp_path)
        first = registry.register(a_registration(folder, model=model))
        again = registry.register(a_registration(folder, model=model))
        assert again == first
        assert registry.versions(model) == (first,)

    def test_another_digest_is_another_version(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """Versions come oldest first, and a tag search finds the newest."""
        old = registry.register(a_registration(a_model_folder(tmp_path), model=model))
        new = registry.register(
            a_registration(a_model_folder(tmp_path, weights=b"other"), model=model)
        )
        assert registry.versions(model) == (old, new)
        assert registry.find(model, tags={str(Tag.DIGEST): old.digest}) == old
        assert registry.find(model, tags={str(Tag.LICENCE): "mit"}) == new
        assert registry.find(model, tags={str(Tag.LICENCE): "gpl"}) is None

    def test_the_same_files_with_new_evidence_are_a_new_version(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """Evidence belongs to a version and never changes under it."""
        folder = a_model_folder(tmp_path)
        first = registry.register(a_registration(folder, model=model, evidence="a" * 64))
        second = registry.register(a_registration(folder, model=model, evidence="b" * 64))
        again = registry.register(a_registration(folder, model=model, evidence="a" * 64))
        assert again == first
        assert second.version != first.version
        assert second.tag(Tag.EVIDENCE_DIGEST) == "b" * 64

    def test_an_alias_moves(self, registry: ModelRegistry, model: str, tmp_path: Path) -> None:
        """An alias points at one version; removing it twice is fine."""
        one = registry.register(a_registration(a_model_folder(tmp_path), model=model))
        two = registry.register(a_registration(a_model_folder(tmp_path, weights=b"2"), model=model))
        registry.set_alias(model, alias="candidate", version=one.version)
        registry.set_alias(model, alias="candidate", version=two.version)
        assert registry.get(model, one.version).aliases == ()
        assert registry.get(model, two.version).aliases == ("candidate",)
        found = registry.find(model, tags={}, alias="candidate")
        assert found is not None
        assert found.version == two.version
        registry.remove_alias(model, alias="candidate")
        registry.remove_alias(model, alias="candidate")
        assert registry.find(model, tags={}, alias="candidate") is None

    def test_an_alias_needs_a_version(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """An unknown version is refused with those that exist."""
        registry.register(a_registration(a_model_folder(tmp_path), model=model))
        with pytest.raises(InputError, match="no version 7; it has: 1"):
            registry.set_alias(model, alias="candidate", version=7)

    def test_an_unknown_model_has_no_versions(self, registry: ModelRegistry, model: str) -> None:
        """Nothing is found, and asking for one is refused."""
        assert registry.versions(model) == ()
        assert registry.find(model, tags={}) is None
        with pytest.raises(InputError, match="it has: none"):
            registry.get(model, 1)

    def test_tags_are_replaced(self, registry: ModelRegistry, model: str, tmp_path: Path) -> None:
        """Setting a tag keeps the others."""
        made = registry.register(a_registration(a_model_folder(tmp_path), model=model))
        registry.set_tags(model, version=made.version, tags={"greenlight.approval": "rejected"})
        registry.set_tags(model, version=made.version, tags={"greenlight.approval": "approved"})
        read = registry.get(model, made.version)
        assert read.tags["greenlight.approval"] == "approved"
        assert read.digest == made.digest

    def test_a_description_is_replaced(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """And nothing else of the version; one that isn't there is refused."""
        made = registry.register(a_registration(a_model_folder(tmp_path), model=model))
        text = "- **Evidence**: [x](#/y)\n\nWhat it is, *again*.\n"
        registry.set_description(model, version=made.version, description=text)
        read = registry.get(model, made.version)
        assert read.description == text
        assert (read.digest, read.tags) == (made.digest, made.tags)
        with pytest.raises(InputError, match="no version 7"):
            registry.set_description(model, version=7, description=text)

    def test_a_file_of_the_run_has_a_link(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """It names the run and the path, and no address of ours."""
        made = registry.register(a_registration(a_model_folder(tmp_path), model=model))
        link = registry.artifact_link(model, version=made.version, path="evidence/a.json")
        assert link.startswith("#/")
        assert link.endswith(f"/runs/{made.run_id}/artifacts/evidence/a.json")

    def test_a_download_is_the_folder_that_was_registered(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """Sub-folders included; artifacts of the run are not part of it."""
        plot = tmp_path / "plot.png"
        plot.write_bytes(b"png")
        folder = a_model_folder(tmp_path)
        made = registry.register(
            a_registration(folder, model=model, artifacts={"plots/pareto.png": plot})
        )
        manifest = registry.download(model, version=made.version, target=tmp_path / "down")
        assert manifest == manifest_of(folder)
        assert manifest_of(tmp_path / "down") == manifest

    def test_artifacts_are_read_back_under_their_name(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """Files and folders alike; a missing one is refused by name."""
        docs = tmp_path / "docs" / "static"
        docs.mkdir(parents=True)
        (docs / "page.html").write_text("<html>")
        evidence = tmp_path / "anything.json"
        evidence.write_text('{"a": 1}')
        made = registry.register(
            a_registration(
                a_model_folder(tmp_path),
                model=model,
                artifacts={"evidence/evidence.json": evidence, "data_docs": tmp_path / "docs"},
            )
        )
        target = tmp_path / "artifacts"
        for path, text in [
            ("evidence/evidence.json", '{"a": 1}'),
            ("data_docs/static/page.html", "<html>"),
        ]:
            read = registry.download_artifact(model, version=made.version, path=path, target=target)
            assert read.read_text() == text
        with pytest.raises(InputError, match=r"has no evidence/other\.json"):
            registry.download_artifact(
                model, version=made.version, path="evidence/other.json", target=target
            )

    def test_a_folder_that_changed_is_not_registered(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """The manifest of the check decides."""
        folder = a_model_folder(tmp_path)
        registration = a_registration(folder, model=model)
        (folder / "model.safetensors").write_bytes(b"changed")
        with pytest.raises(InputError, match="changed after the folder was checked"):
            registry.register(registration)
        assert registry.versions(model) == ()

    def test_a_missing_artifact_registers_nothing(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """And the next attempt with the artifact in place succeeds."""
        folder, plot = a_model_folder(tmp_path), tmp_path / "plot.png"
        registration = a_registration(folder, model=model, artifacts={"plots/plot.png": plot})
        with pytest.raises(InputError, match=r"plot\.png"):
            registry.register(registration)
        assert registry.versions(model) == ()
        plot.write_bytes(b"png")
        assert registry.register(registration).digest == registration.digest

    def test_a_run_is_logged_once(
        self, registry: ModelRegistry, model: str, tmp_path: Path
    ) -> None:
        """The key decides; no version comes of it."""
        table = tmp_path / "table.csv"
        table.write_text("a,b")
        log = RunLog(key=f"search/{model}", name="search", artifacts={"table.csv": table})
        first = registry.log_run(log)
        assert registry.log_run(log) == first
        assert registry.log_run(RunLog(key=f"search/{model}/2", name="search")) != first
        assert registry.versions(model) == ()
