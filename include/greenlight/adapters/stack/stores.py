"""The embedded regions of a home: the regions of backup.yaml that have no S3 of their own."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from greenlight.adapters.stack.certificates import certificates_in, ensure_certificates
from greenlight.adapters.stack.object_store import (
    InnerPorts,
    ObjectStore,
    forget_sockets,
    prepare,
    service_of,
)
from greenlight.adapters.stack.ports import choose_ports, read_ports, write_ports
from greenlight.adapters.stack.services import PORT_OF, ServiceName
from greenlight.backup.backup_file import Region, S3Store, load_backup_file
from greenlight.core.errors import RefusedError
from greenlight.core.settings import Ports, Settings

STORES = (ServiceName.STORE_A, ServiceName.STORE_B)


def embedded_stores(settings: Settings) -> dict[ServiceName, Region]:
    """Return the stores that this home runs, with their regions.

    Raises:
        ConfigError: backup.yaml is wrong, or a region without S3 has no embedded store.
    """
    backup = load_backup_file(settings.config_file("backup"))
    return {service_of(region.name): region for region in backup.regions if not region.s3}


def s3_of(settings: Settings, region: Region) -> S3Store:
    """Return a region's bucket: the one that was configured, or the embedded store's.

    Raises:
        RefusedError: the stack was never up, so there is no store yet.
        ConfigError: the region has no S3 and there is no embedded store for it.
    """
    if region.s3:
        return region.s3
    service = service_of(region.name)
    ports = read_ports(settings.run / "ports.json", Ports)
    port: int = getattr(ports, PORT_OF[service], 0)
    if not port:
        raise RefusedError(
            f"region {region.name} is the embedded store of {settings.home}, which was never up: "
            f"run `make up`, or give the region an s3 in backup.yaml"
        )
    return _store(settings, region.name, port=port, inner=InnerPorts()).s3


def claim_stores(
    settings: Settings,
    wanted: Collection[ServiceName],
    ports: Ports,
    *,
    running: Collection[ServiceName],
    now: datetime,
) -> list[ObjectStore]:
    """Return the stores that are wanted, with ports, certificates and the files they read.

    `running` are those that hold their ports themselves.

    Raises:
        ConfigError: backup.yaml is wrong, or no port is to be had.
    """
    taken = set(ports.model_dump().values())
    stores = []
    for service, region in embedded_stores(settings).items():
        if service not in wanted:
            continue
        path = _ports_file(settings, service)
        inner = choose_ports(
            InnerPorts(),
            kept=read_ports(path, InnerPorts),
            ours=InnerPorts.model_fields if service in running else (),
            others=taken,
        )
        write_ports(path, inner)
        taken.update(inner.model_dump().values())
        port: int = getattr(ports, PORT_OF[service])
        stores.append(_store(settings, region.name, port=port, inner=inner))
        ensure_certificates(stores[-1].certificates, now=now)
        prepare(stores[-1])
    return stores


def clean_up(settings: Settings) -> None:
    """Remove what stores that have ended left outside the home."""
    for service in STORES:
        if inner := read_ports(_ports_file(settings, service), InnerPorts):
            forget_sockets(inner)


def _ports_file(settings: Settings, service: ServiceName) -> Path:
    return settings.run / f"{service}-ports.json"


def _store(settings: Settings, region: str, *, port: int, inner: InnerPorts) -> ObjectStore:
    folder = settings.home / "stores"
    return ObjectStore(
        region=region,
        folder=folder / region,
        port=port,
        inner=inner,
        certificates=certificates_in(folder),
        access_key_file=settings.secrets / "store_access_key",
        secret_key_file=settings.secrets / "store_secret_key",
    )
