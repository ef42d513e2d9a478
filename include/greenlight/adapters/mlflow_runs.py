"""Runs in MLflow: written so that a killed attempt is continued and a finished one found."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    FileInfo,
    InputTag,
    Metric,
    Param,
    Run,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS, MLFLOW_RUN_NAME

from greenlight.adapters.mlflow_calls import MlflowCalls
from greenlight.core.digest import Manifest, digest_file
from greenlight.core.errors import InputError, UnavailableError
from greenlight.registry.ports import DatasetUse, RunLog, Table
from greenlight.registry.tags import RUN_KEY

DIGEST_LENGTH = 36
"""MLflow's column for a data set's digest holds no more."""
BATCH = 100
T = TypeVar("T")


class MlflowRuns:
    """Writes runs. A run is FINISHED only when all of it is there."""

    def __init__(self, client: MlflowClient, calls: MlflowCalls) -> None:
        self._client = client
        self._calls = calls

    def write(
        self,
        log: RunLog,
        *,
        folder: Path | None = None,
        manifest: Manifest | None = None,
        into: str = "",
    ) -> Run:
        """Return the finished run of `log.key`, made, continued or found.

        The files of `folder` that `manifest` lists are uploaded into the artifact folder `into`
        and proven by reading each back; other artifacts are proven by their size.

        Raises:
            InputError: a file is missing or is not what the manifest says.
            UnavailableError: MLflow is away, or what it keeps is not what was sent.
        """
        run = self._run_of(log)
        if run.info.status == RunStatus.to_string(RunStatus.FINISHED):
            return run
        run_id = run.info.run_id
        if folder is not None and manifest is not None:
            self._upload_exactly(run_id, folder, manifest, into=into)
        self._upload(run_id, log.artifacts)
        self._upload_tables(run_id, log.tables)
        self._log_datasets(run, log.datasets)
        self._log_numbers(run, log)
        self._calls(self._client.set_terminated, run_id, RunStatus.to_string(RunStatus.FINISHED))
        return self._calls(self._client.get_run, run_id)

    def listing(self, run_id: str, path: str | None = None) -> Iterator[FileInfo]:
        """Yield every file under an artifact folder of a run, however deep."""
        for entry in self._calls(self._client.list_artifacts, run_id, path):
            if entry.is_dir:
                yield from self.listing(run_id, entry.path)
            else:
                yield entry

    def _run_of(self, log: RunLog) -> Run:
        """Return the run with this key, unfinished ones included; else a new one."""
        self._calls.unless_there(self._client.create_experiment, log.experiment)
        experiment = self._calls(self._client.get_experiment_by_name, log.experiment)
        if experiment is None:
            raise InputError(
                f"experiment {log.experiment!r} was deleted in MLflow; restore it or name another"
            )
        found = self._calls(
            self._client.search_runs,
            [experiment.experiment_id],
            filter_string=f"tags.`{RUN_KEY}` = '{log.key}'",
            run_view_type=ViewType.ACTIVE_ONLY,
        )
        finished = [r for r in found if r.info.status == RunStatus.to_string(RunStatus.FINISHED)]
        if finished:
            return finished[0]
        for run in found:
            if _agrees(run.data.params, log.params):
                return run
            self._calls(self._client.delete_run, run.info.run_id)
        tags = {**log.tags, RUN_KEY: log.key, MLFLOW_RUN_NAME: log.name}
        return self._calls.once(self._client.create_run, experiment.experiment_id, tags=tags)

    def _upload_exactly(self, run_id: str, folder: Path, manifest: Manifest, *, into: str) -> None:
        there = {entry.path: entry.file_size for entry in self.listing(run_id, into)}
        for file in manifest.files:
            local, remote = folder / file.path, f"{into}/{file.path}"
            if not local.is_file():
                raise InputError(f"{local} is gone: it was there when the folder was checked")
            if there.get(remote) != file.size or self._digest_of(run_id, remote) != file.sha256:
                self._put(run_id, local, remote)
                self._prove(run_id, local, remote, expected=file.sha256)

    def _prove(self, run_id: str, local: Path, remote: str, *, expected: str) -> None:
        kept = self._digest_of(run_id, remote)
        if kept == expected:
            return
        if digest_file(local) != expected:
            raise InputError(f"{local} changed after the folder was checked")
        raise UnavailableError(
            f"MLflow keeps {remote} with SHA-256 {kept}, but {expected} was sent; try again"
        )

    def _digest_of(self, run_id: str, remote: str) -> str:
        """Return the SHA-256 of what MLflow keeps, by reading it back."""
        with tempfile.TemporaryDirectory(prefix="greenlight-") as folder:
            path = self._calls(self._client.download_artifacts, run_id, remote, folder)
            return digest_file(Path(path))

    def _upload(self, run_id: str, artifacts: Mapping[str, Path]) -> None:
        sizes = {}
        for target, path in artifacts.items():
            if not path.exists():
                raise InputError(f"artifact {target} should come from {path}, which is not there")
            for local in sorted(p for p in _under(path) if p.is_file()):
                remote = (PurePosixPath(target) / local.relative_to(path).as_posix()).as_posix()
                sizes[remote] = local.stat().st_size
                self._put(run_id, local, remote)
        folders = {remote.split("/")[0] for remote in sizes if "/" in remote}
        there = {e.path: e.file_size for f in folders for e in self.listing(run_id, f)}
        if any("/" not in remote for remote in sizes):
            there |= {e.path: e.file_size for e in self._calls(self._client.list_artifacts, run_id)}
        damaged = sorted(remote for remote, size in sizes.items() if there.get(remote) != size)
        if damaged:
            raise UnavailableError(f"MLflow does not keep {', '.join(damaged)} as sent; try again")

    def _upload_tables(self, run_id: str, tables: Mapping[str, Table]) -> None:
        """Upload tables in the layout that MLflow's page renders.

        Not with `log_table`: that appends, so a continued run would hold every row twice.
        """
        with tempfile.TemporaryDirectory(prefix="greenlight-") as folder:
            for path, table in tables.items():
                rows = [list(row) for row in zip(*table.values(), strict=True)]
                local = Path(folder) / PurePosixPath(path).name
                local.write_text(json.dumps({"columns": list(table), "data": rows}))
                self._put(run_id, local, path)
        if tables:
            shown = json.dumps([{"path": path, "type": "table"} for path in tables])
            self._calls(self._client.set_tag, run_id, MLFLOW_LOGGED_ARTIFACTS, shown)

    def _put(self, run_id: str, local: Path, remote: str) -> None:
        """Upload one file under the very name `remote`."""
        where = PurePosixPath(remote)
        parent = None if str(where.parent) == "." else str(where.parent)
        if local.name == where.name:
            self._calls(self._client.log_artifact, run_id, str(local), parent)
            return
        with tempfile.TemporaryDirectory(prefix="greenlight-") as folder:
            renamed = Path(folder) / where.name
            renamed.symlink_to(local.absolute())
            self._calls(self._client.log_artifact, run_id, str(renamed), parent)

    def _log_datasets(self, run: Run, datasets: tuple[DatasetUse, ...]) -> None:
        known = {(d.dataset.name, d.dataset.digest) for d in run.inputs.dataset_inputs}
        new = [d for d in datasets if (d.name, d.digest[:DIGEST_LENGTH]) not in known]
        if new:
            inputs = [_dataset_input(use) for use in new]
            self._calls(self._client.log_inputs, run.info.run_id, datasets=inputs)

    def _log_numbers(self, run: Run, log: RunLog) -> None:
        now = int(time.time() * 1000)
        params = [Param(k, v) for k, v in log.params.items() if k not in run.data.params]
        metrics = [Metric(k, v, now, 0) for k, v in log.metrics.items()]
        tags = [RunTag(k, v) for k, v in log.tags.items()]
        for some in _batches(params):
            self._calls(self._client.log_batch, run.info.run_id, params=some)
        for some in _batches(metrics):
            self._calls(self._client.log_batch, run.info.run_id, metrics=some)
        for some in _batches(tags):
            self._calls(self._client.log_batch, run.info.run_id, tags=some)


def _agrees(written: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether a run can be continued: MLflow never lets a parameter change."""
    return all(wanted.get(name) == value for name, value in written.items())


def _under(path: Path) -> Iterator[Path]:
    return iter([path]) if path.is_file() else path.rglob("*")


def _batches(items: list[T]) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch


def _dataset_input(use: DatasetUse) -> DatasetInput:
    dataset = Dataset(
        name=use.name,
        digest=use.digest[:DIGEST_LENGTH],
        source_type="local",
        source=f'{{"uri": "{use.source}", "sha256": "{use.digest}"}}',
        profile=f'{{"num_rows": {use.rows}}}',
    )
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", use.context)])
