"""A model registry in memory, with the manners of the real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.digest import Manifest, digest_bytes, manifest_of
from greenlight.core.errors import InputError, UnavailableError
from greenlight.core.files import folder_in_the_making
from greenlight.registry.ports import Registration, RunLog, RunRef, Version
from greenlight.registry.tags import COMPLETE, MODEL_FOLDER, Tag

URL = "memory://registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """A finished run and the bytes of its artifacts by path."""

    ref: RunRef
    log: RunLog
    files: Mapping[str, bytes]


@dataclass(slots=True, kw_only=True)
class MemoryRegistry:
    """`registry.ports.ModelRegistry` without a server.

    `away` makes every call fail as an absent server does; `runs` shows what was logged, by key.
    """

    clock: Clock = field(default_factory=SystemClock)
    away: bool = False
    runs: dict[str, KeptRun] = field(default_factory=dict)
    _versions: dict[str, list[Version]] = field(default_factory=dict)
    _aliases: dict[tuple[str, str], int] = field(default_factory=dict)

    def register(self, registration: Registration) -> Version:
        """Make the version or return the one with this digest and evidence."""
        self._answer()
        tags = {str(Tag.DIGEST): registration.digest}
        if registration.evidence_digest:
            tags[str(Tag.EVIDENCE_DIGEST)] = registration.evidence_digest
        found = self.find(registration.model, tags=tags)
        if found:
            return found
        key = f"register/{registration.model}/{registration.digest}/{registration.evidence_digest}"
        run = self._keep(replace(registration.run, key=key), more=_files_of(registration))
        kept = self._versions.setdefault(registration.model, [])
        made = Version(
            model=registration.model,
            version=len(kept) + 1,
            digest=registration.digest,
            run_id=run.ref.run_id,
            created_at=self.clock.now(),
            tags={**registration.tags, **tags, str(Tag.COMPLETE): COMPLETE},
            description=registration.description,
        )
        kept.append(made)
        return made

    def models(self) -> tuple[str, ...]:
        """Return the names of registered models, sorted."""
        self._answer()
        return tuple(sorted(self._versions))

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return every version, oldest first."""
        self._answer()
        return tuple(self._with_aliases(v) for v in self._versions.get(model, []))

    def get(self, model: str, version: int) -> Version:
        """Return one version."""
        found = [v for v in self.versions(model) if v.version == version]
        if not found:
            known = ", ".join(str(v.version) for v in self.versions(model)) or "none"
            raise InputError(f"model {model!r} has no version {version}; it has: {known}")
        return found[0]

    def find(
        self, model: str, *, tags: Mapping[str, str], alias: str | None = None
    ) -> Version | None:
        """Return the newest version with these tags and this alias."""
        for version in reversed(self.versions(model)):
            aliased = alias is None or alias in version.aliases
            if aliased and tags.items() <= version.tags.items():
                return version
        return None

    def set_alias(self, model: str, *, alias: str, version: int) -> None:
        """Point `alias` at a version."""
        self.get(model, version)
        self._aliases[model, alias] = version

    def remove_alias(self, model: str, *, alias: str) -> None:
        """Make `alias` point nowhere."""
        self._answer()
        self._aliases.pop((model, alias), None)

    def set_tags(self, model: str, *, version: int, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        self.get(model, version)
        kept = self._versions[model]
        old = kept[version - 1]
        kept[version - 1] = replace(old, tags={**old.tags, **tags})

    def set_description(self, model: str, *, version: int, description: str) -> None:
        """Replace the description."""
        self.get(model, version)
        kept = self._versions[model]
        kept[version - 1] = replace(kept[version - 1], description=description)

    def download(self, model: str, *, version: int, target: Path) -> Manifest:
        """Write the model folder to `target` once it is proven."""
        wanted = self.get(model, version)
        with folder_in_the_making(target) as making:
            for name, data in self._run(wanted).files.items():
                if name.startswith(f"{MODEL_FOLDER}/"):
                    _write(making / name.removeprefix(f"{MODEL_FOLDER}/"), data)
            manifest = manifest_of(making)
            if manifest.digest != wanted.digest:
                raise InputError(f"{model} version {version} is not what its digest says")
        return manifest

    def download_artifact(self, model: str, *, version: int, path: str, target: Path) -> Path:
        """Write one file of the version's run into `target`."""
        files = self._run(self.get(model, version)).files
        if path not in files:
            raise InputError(f"{model} version {version} has no {path}")
        _write(target / path, files[path])
        return target / path

    def log_run(self, run: RunLog) -> RunRef:
        """Keep a run."""
        self._answer()
        return self._keep(run).ref

    def version_url(self, model: str, version: int) -> str:
        """Return an address that leads nowhere."""
        return f"{URL}/models/{model}/versions/{version}"

    def artifact_link(self, model: str, *, version: int, path: str) -> str:
        """Return a link that leads nowhere."""
        return f"#/runs/{self.get(model, version).run_id}/artifacts/{path}"

    def damage(self, model: str, *, version: int, path: str, data: bytes) -> None:
        """Replace one file of a version's run, as a broken disk would."""
        run = self._run(self.get(model, version))
        self.runs[run.log.key] = replace(run, files={**run.files, path: data})

    def _keep(self, log: RunLog, *, more: Mapping[str, bytes] | None = None) -> KeptRun:
        if log.key not in self.runs:
            run_id = f"{len(self.runs) + 1:032x}"
            files = {**(more or {}), **_artifacts_of(log)}
            self.runs[log.key] = KeptRun(
                ref=RunRef(run_id=run_id, url=f"{URL}/runs/{run_id}"), log=log, files=files
            )
        return self.runs[log.key]

    def _run(self, version: Version) -> KeptRun:
        return next(run for run in self.runs.values() if run.ref.run_id == version.run_id)

    def _with_aliases(self, version: Version) -> Version:
        names = (
            alias
            for (model, alias), number in self._aliases.items()
            if model == version.model and number == version.version
        )
        return replace(version, aliases=tuple(sorted(names)))

    def _answer(self) -> None:
        if self.away:
            raise UnavailableError(f"the registry at {URL} did not answer")


def _files_of(registration: Registration) -> dict[str, bytes]:
    files = {}
    for file in registration.manifest.files:
        path = registration.folder / file.path
        if not path.is_file():
            raise InputError(f"{path} is gone: it was there when the folder was checked")
        files[f"{MODEL_FOLDER}/{file.path}"] = path.read_bytes()
        if digest_bytes(files[f"{MODEL_FOLDER}/{file.path}"]) != file.sha256:
            raise InputError(f"{path} changed after the folder was checked")
    return files


def _artifacts_of(log: RunLog) -> dict[str, bytes]:
    files = {}
    for target, path in log.artifacts.items():
        if not path.exists():
            raise InputError(f"artifact {target} should come from {path}, which is not there")
        for local in [path] if path.is_file() else sorted(p for p in path.rglob("*")):
            if local.is_file():
                name = PurePosixPath(target) / local.relative_to(path).as_posix()
                files[name.as_posix()] = local.read_bytes()
    return files


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
