"""pgBackRest: physical copies and the log of a cluster, in one repository a region."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenlight.backup.backup_file import S3Store
from greenlight.core.settings import Ports, Settings

if TYPE_CHECKING:
    from greenlight.adapters.pgbackrest.backups import PgBackRest

MOST_PROCESSES = 8


def open_pgbackrest(settings: Settings, buckets: Mapping[str, S3Store]) -> PgBackRest:
    """Open the copies of a home's cluster in `buckets`, by region; nobody is asked yet.

    The order of regions is that of their repositories. The home may have no cluster: then there is
    something to restore and nothing to copy. Its server may run in another container: then its
    folder is shared, and `ports.postgres` says which socket in there is its.

    Raises:
        ConfigError: PostgreSQL or pgBackRest is not installed.
    """
    from greenlight.adapters.pgbackrest.backups import PgBackRest
    from greenlight.adapters.pgbackrest.config import Repository
    from greenlight.adapters.pgbackrest.program import Program
    from greenlight.adapters.stack import postgres
    from greenlight.adapters.stack.ports import read_ports

    ports = read_ports(settings.run / "ports.json", Ports)
    program = Program(
        postgres.find_cluster(postgres.home_in(settings), is_root=os.geteuid() == 0),
        port=ports.postgres if ports else settings.ports.postgres or None,
        processes=min(MOST_PROCESSES, os.cpu_count() or 1),
    )
    passphrase = settings.secrets / "backup_pgbackrest"
    return PgBackRest(
        program,
        [
            Repository(region=region, store=store, passphrase_file=passphrase)
            for region, store in buckets.items()
        ],
    )
