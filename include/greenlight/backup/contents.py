"""What is saved besides the databases. A part with state of its own adds a line here.

Paths are relative to the home. Secrets are never among them: they are listed by name, and kept
where the operator keeps secrets.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file or folder that is saved when it is there."""

    name: str
    path: str


ARTIFACTS = "mlflow/artifacts"
SOURCES = (
    Source(name="artifacts", path=ARTIFACTS),
    Source(name="models", path="models"),
    Source(name="datasets", path="datasets"),
    Source(name="configuration", path="config"),
    Source(name="settings", path="config.yaml"),
    Source(name="router", path="router"),
)
SECRETS = "secrets"
"""The folder whose files are named in the manifest and left out."""
