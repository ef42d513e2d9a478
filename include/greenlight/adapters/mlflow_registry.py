"""The model registry, kept in MLflow: raw files, a version that points at them, tags, aliases.

A version appears in this order: the run with all files, read back and compared; the version with
its tags; the tag `greenlight.complete`. A process killed in between leaves a run or a version that
no reader sees, and the next registration of the same digest continues from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, RunStatus
from mlflow.entities.model_registry import ModelVersion

from greenlight.adapters.mlflow_calls import MlflowCalls, configure_client
from greenlight.adapters.mlflow_runs import MlflowRuns
from greenlight.core.digest import Manifest, manifest_of, short
from greenlight.core.errors import InputError
from greenlight.core.files import folder_in_the_making
from greenlight.registry.ports import Registration, RunLog, RunRef, Version
from greenlight.registry.tags import COMPLETE, MODEL_FOLDER, Tag

DESCRIPTION_LIMIT = 5000
"""Characters that MLflow's column holds."""
SHORTENED = "\n\n*(shortened: the evidence holds the rest)*"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class MlflowRegistry:
    """`registry.ports.ModelRegistry` on an MLflow tracking server.

    Two processes that register the same digest at the same instant may both make a version; the
    pipeline runs one registration of a model at a time.
    """

    def __init__(
        self, url: str, *, ui_url: str | None = None, attempts: int = 4, wait_s: float = 1.0
    ) -> None:
        """Connect lazily to the server at `url`. `wait_s` seconds double between attempts.

        `ui_url`: the address in links for people, when theirs is another.
        """
        configure_client()
        self._url = url.rstrip("/")
        self._ui_url = (ui_url or url).rstrip("/")
        self._client = MlflowClient(tracking_uri=self._url, registry_uri=self._url)
        self._calls = MlflowCalls(self._url, attempts=attempts, wait_s=wait_s)
        self._runs = MlflowRuns(self._client, self._calls)

    def register(self, registration: Registration) -> Version:
        """Make the version, finish a killed attempt, or return what is there."""
        model = _checked(registration.model)
        found = self.find(model, tags=_identity(registration)) or self._finish(registration)
        if found:
            return found
        key = f"register/{model}/{registration.digest}/{registration.evidence_digest or 'none'}"
        run = self._runs.write(
            replace(registration.run, key=key),
            folder=registration.folder,
            manifest=registration.manifest,
            into=MODEL_FOLDER,
        )
        self._calls.unless_there(self._client.create_registered_model, model)
        made = self._calls.once(
            self._client.create_model_version,
            model,
            f"runs:/{run.info.run_id}/{MODEL_FOLDER}",
            run_id=run.info.run_id,
            tags={**registration.tags, **_identity(registration)},
            description=shortened(registration.description),
            await_creation_for=0,
        )
        return self._complete(made)

    def models(self) -> tuple[str, ...]:
        """Return the names of registered models, sorted."""
        names: list[str] = []
        token: str | None = ""
        while token is not None:
            page = self._calls(self._client.search_registered_models, page_token=token or None)
            names += [model.name for model in page]
            token = page.token or None
        return tuple(sorted(names))

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return the complete versions, oldest first."""
        aliases = self._aliases(_checked(model))
        found = [_version(v, aliases) for v in self._search(model) if _is_complete(v)]
        return tuple(sorted(found, key=lambda v: v.version))

    def get(self, model: str, version: int) -> Version:
        """Return one complete version."""
        found = self._calls.or_none(self._client.get_model_version, _checked(model), str(version))
        if found is None or not _is_complete(found):
            known = ", ".join(str(v.version) for v in self.versions(model)) or "none"
            raise InputError(f"model {model!r} has no version {version}; it has: {known}")
        return _version(found, self._aliases(model))

    def find(
        self, model: str, *, tags: Mapping[str, str], alias: str | None = None
    ) -> Version | None:
        """Return the newest complete version with these tags and this alias."""
        for version in reversed(self.versions(model)):
            if alias is not None and alias not in version.aliases:
                continue
            if tags.items() <= version.tags.items():
                return version
        return None

    def set_alias(self, model: str, *, alias: str, version: int) -> None:
        """Point `alias` at a complete version."""
        self.get(model, version)
        self._calls(self._client.set_registered_model_alias, model, alias, str(version))

    def remove_alias(self, model: str, *, alias: str) -> None:
        """Make `alias` point nowhere."""
        self._calls.or_none(self._client.delete_registered_model_alias, _checked(model), alias)

    def set_tags(self, model: str, *, version: int, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a complete version."""
        self.get(model, version)
        for name, value in tags.items():
            self._calls(self._client.set_model_version_tag, model, str(version), name, value)

    def set_description(self, model: str, *, version: int, description: str) -> None:
        """Replace the description of a complete version."""
        self.get(model, version)
        text = shortened(description)
        self._calls(self._client.update_model_version, model, str(version), description=text)

    def download(self, model: str, *, version: int, target: Path) -> Manifest:
        """Write the model folder to `target` once it is proven to be the version's digest."""
        wanted = self.get(model, version)
        with folder_in_the_making(target) as making:
            self._calls(self._client.download_artifacts, wanted.run_id, MODEL_FOLDER, str(making))
            files = making / MODEL_FOLDER
            manifest = manifest_of(files)
            if manifest.digest != wanted.digest:
                raise InputError(
                    f"{model} version {version} should have digest {short(wanted.digest)}, but "
                    f"the files that MLflow keeps give {short(manifest.digest)}"
                )
            for entry in list(files.iterdir()):
                entry.rename(making / entry.name)
            files.rmdir()
        return manifest

    def download_artifact(self, model: str, *, version: int, path: str, target: Path) -> Path:
        """Write one file of the version's run into `target`."""
        run_id = self.get(model, version).run_id
        parent = path.rpartition("/")[0] or None
        listed = self._calls(self._client.list_artifacts, run_id, parent)
        if path not in {entry.path for entry in listed}:
            raise InputError(f"{model} version {version} has no {path}")
        target.mkdir(parents=True, exist_ok=True)
        return Path(self._calls(self._client.download_artifacts, run_id, path, str(target)))

    def log_run(self, run: RunLog) -> RunRef:
        """Log a run that makes no version."""
        info = self._runs.write(run).info
        return RunRef(
            run_id=info.run_id,
            url=f"{self._ui_url}/#/experiments/{info.experiment_id}/runs/{info.run_id}",
        )

    def version_url(self, model: str, version: int) -> str:
        """Return the page of a version."""
        return f"{self._ui_url}/#/models/{quote(model)}/versions/{version}"

    def artifact_link(self, model: str, *, version: int, path: str) -> str:
        """Return the file in MLflow's own pages, whatever address these are read by."""
        run_id = self.get(model, version).run_id
        experiment = self._calls(self._client.get_run, run_id).info.experiment_id
        return f"#/experiments/{experiment}/runs/{run_id}/artifacts/{quote(path)}"

    def _finish(self, registration: Registration) -> Version | None:
        """Complete the version that a killed registration left, or remove what is no use."""
        for left in self._search(registration.model):
            if _is_complete(left) or not _identity(registration).items() <= left.tags.items():
                continue
            if self._run_is_whole(left.run_id):
                return self._complete(left)
            self._calls.or_none(self._client.delete_model_version, left.name, left.version)
        return None

    def _run_is_whole(self, run_id: str | None) -> bool:
        run = self._calls.or_none(self._client.get_run, run_id) if run_id else None
        return (
            run is not None
            and run.info.status == RunStatus.to_string(RunStatus.FINISHED)
            and run.info.lifecycle_stage == LifecycleStage.ACTIVE
        )

    def _complete(self, version: ModelVersion) -> Version:
        self._calls(
            self._client.set_model_version_tag,
            version.name,
            version.version,
            Tag.COMPLETE,
            COMPLETE,
        )
        return self.get(version.name, int(version.version))

    def _search(self, model: str) -> Iterator[ModelVersion]:
        token: str | None = ""
        while token is not None:
            page = self._calls(
                self._client.search_model_versions,
                f"name = '{_checked(model)}'",
                page_token=token or None,
            )
            yield from page
            token = page.token or None

    def _aliases(self, model: str) -> Mapping[str, int]:
        """Return versions by alias; a search does not tell them."""
        found = self._calls.or_none(self._client.get_registered_model, model)
        return {alias: int(version) for alias, version in (found.aliases if found else {}).items()}


def _identity(registration: Registration) -> dict[str, str]:
    """Return the tags that make two registrations the same."""
    tags = {str(Tag.DIGEST): registration.digest}
    if registration.evidence_digest:
        tags[str(Tag.EVIDENCE_DIGEST)] = registration.evidence_digest
    return tags


def _is_complete(version: ModelVersion) -> bool:
    return bool(version.tags.get(Tag.COMPLETE) == COMPLETE and version.tags.get(Tag.DIGEST))


def _version(version: ModelVersion, aliases: Mapping[str, int]) -> Version:
    number = int(version.version)
    return Version(
        model=version.name,
        version=number,
        digest=version.tags[Tag.DIGEST],
        run_id=version.run_id,
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, tz=UTC),
        tags=dict(version.tags),
        aliases=tuple(sorted(alias for alias, points_at in aliases.items() if points_at == number)),
        description=version.description or "",
    )


def _checked(model: str) -> str:
    """Return a model's name that is safe in a filter, a path and an address."""
    if not NAME.fullmatch(model):
        raise InputError(
            f"model name {model!r} must be up to 100 letters, digits, '.', '_' or '-', "
            "and start with a letter or a digit"
        )
    return model


def shortened(description: str) -> str:
    """Return a text that MLflow's column holds, cut at a line's end, the cut named."""
    if len(description) <= DESCRIPTION_LIMIT:
        return description
    room = description[: DESCRIPTION_LIMIT - len(SHORTENED)]
    return room.rpartition("\n")[0] + SHORTENED
