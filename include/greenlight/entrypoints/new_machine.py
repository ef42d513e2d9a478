"""Restoring on a machine where nothing was ever started: its home holds what a person brought."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenlight.core.errors import ConfigError
from greenlight.core.settings import Settings, load_settings

if TYPE_CHECKING:
    from greenlight.entrypoints.backup_tools import BackupTools


def open_tools_anywhere(settings: Settings | None = None) -> BackupTools:
    """Open a home's backups, also when its stack was never up.

    Then ports are chosen, and secrets made that no backup was made with. Nothing is started.

    Raises:
        ConfigError: the home lacks what says where the backups are, or what opens them.
    """
    from greenlight.adapters.stack.embedded import EmbeddedStack
    from greenlight.entrypoints.backup_tools import open_tools

    settings = settings or load_settings()
    stack = EmbeddedStack(settings, environment=os.environ)
    if not stack.was_up:
        require_brought(settings)
        stack.prepare()
    return open_tools(settings)


def require_brought(settings: Settings) -> None:
    """Return when the home holds what restoring takes.

    Raises:
        ConfigError: naming everything that is missing.
    """
    from greenlight.adapters.stack.secrets import BACKUP_SECRETS

    needed = [settings.home / "config/backup.yaml"]
    needed += [settings.secrets / name for name in BACKUP_SECRETS]
    if lacks := [str(path) for path in needed if not path.exists()]:
        raise ConfigError(
            f"nothing was ever started in {settings.home}, and to restore into it these are "
            f"missing: {', '.join(lacks)}; bring them from where copies are kept, since no backup "
            "can be read without them"
        )
