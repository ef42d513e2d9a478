"""What MLflow's own tables say about versions and their files.

Read with SQL and not through MLflow's server, because it has to be read at one instant, and from a
restored database before a server is started on it. MLflow's version is locked; the tests create the
tables with it.
"""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from greenlight.backup.ports import CatalogueVersion
from greenlight.core.errors import ConfigError
from greenlight.registry.tags import COMPLETE, MODEL_FOLDER, Tag

log = logging.getLogger(__name__)

TABLES = (
    "public.experiments",
    "public.runs",
    "public.registered_models",
    "public.registered_model_aliases",
    "public.model_versions",
    "public.model_version_tags",
)
"""Those that say which versions there are, and where their files lie."""
ARTIFACTS = "mlflow/artifacts"
"""Where the server keeps artifacts, relative to the home."""
SERVED = "mlflow-artifacts"
"""The scheme of artifacts that the server keeps itself."""
GONE = "unknown"
"""Stands for the experiment of a run that is gone. Experiments are numbers: there is no such
folder, so the version shows up as one without files."""

# A deleted version keeps its row and its tags; the workspace is the one that Greenlight sees.
VERSIONS = sa.text("""
    SELECT v.name, v.version, d.value AS digest, v.run_id, r.run_uuid, r.artifact_uri,
           array(SELECT a.alias FROM public.registered_model_aliases a
                 WHERE (a.workspace, a.name, a.version) = (v.workspace, v.name, v.version)
                 ORDER BY a.alias COLLATE "C") AS aliases
    FROM public.model_versions v
    JOIN public.model_version_tags c
      ON (c.workspace, c.name, c.version) = (v.workspace, v.name, v.version)
     AND (c.key, c.value) = (:complete_tag, :complete)
    JOIN public.model_version_tags d
      ON (d.workspace, d.name, d.version) = (v.workspace, v.name, v.version)
     AND d.key = :digest_tag AND d.value <> ''
    LEFT JOIN public.runs r ON r.run_uuid = v.run_id
    WHERE v.workspace = 'default' AND v.current_stage <> 'Deleted_Internal'
    ORDER BY v.name COLLATE "C", v.version
""").bindparams(complete_tag=Tag.COMPLETE, complete=COMPLETE, digest_tag=Tag.DIGEST)
RUNS = sa.text("SELECT run_uuid, artifact_uri FROM public.runs WHERE artifact_uri <> ''")


def versions(connection: sa.Connection) -> tuple[CatalogueVersion, ...]:
    """Return the complete versions, by model and number.

    Raises:
        ConfigError: MLflow never made its tables, or keeps a version's files elsewhere.
    """
    return tuple(
        CatalogueVersion(
            model=row.name,
            version=row.version,
            digest=row.digest,
            run_id=row.run_id or "",
            aliases=tuple(row.aliases),
            folder=f"{_folder_of(row)}/{MODEL_FOLDER}",
        )
        for row in _rows(connection, VERSIONS)
    )


def runs(connection: sa.Connection) -> frozenset[str]:
    """Return the artifact folders of all runs, deleted ones included: their files are still there.

    A run of somebody else's that keeps its files elsewhere is no reason to save nothing.

    Raises:
        ConfigError: MLflow never made its tables.
    """
    found = {row.artifact_uri: saved_folder(row.artifact_uri) for row in _rows(connection, RUNS)}
    if elsewhere := sorted(uri for uri, folder in found.items() if folder is None):
        log.warning(
            "files of %d runs are not saved, because MLflow's server does not keep them itself: %s",
            len(elsewhere),
            ", ".join(elsewhere[:3]),
        )
    return frozenset(folder for folder in found.values() if folder is not None)


def saved_folder(uri: str) -> str | None:
    """Return where the server keeps what `uri` names, relative to the home; none: elsewhere."""
    found = urlsplit(uri)
    path = PurePosixPath(unquote(found.path))
    if found.scheme != SERVED or found.netloc or ".." in path.parts:
        return None
    return f"{ARTIFACTS}/{path.relative_to('/') if path.is_absolute() else path}"


def _folder_of(row: sa.Row[tuple[object, ...]]) -> str:
    if not row.run_uuid or not row.artifact_uri:
        return f"{ARTIFACTS}/{GONE}/{row.run_id or 'no-run'}/artifacts"
    if folder := saved_folder(row.artifact_uri):
        return folder
    raise ConfigError(
        f"{row.name} version {row.version} keeps its files at {row.artifact_uri}, which backups "
        f"don't save: they save what MLflow's server keeps itself ({SERVED}:/…). Register it again "
        "through that server; or delete the version, and replicate and version its bucket"
    )


def _rows(connection: sa.Connection, query: sa.TextClause) -> list[sa.Row[tuple[object, ...]]]:
    try:
        return list(connection.execute(query))
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != "42P01":
            raise
        raise ConfigError(
            f"database {connection.engine.url.database} has no tables of MLflow; start MLflow on "
            "it once (`greenlight stack up`)"
        ) from error
