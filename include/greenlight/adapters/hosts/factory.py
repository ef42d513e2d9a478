"""From a fleet's description of a host to the host."""

from __future__ import annotations

import sys
from pathlib import PurePosixPath

from greenlight.adapters.hosts.local import LocalTransport
from greenlight.adapters.hosts.runner import AgentHost
from greenlight.adapters.hosts.transport import Transport
from greenlight.core.settings import Settings
from greenlight.deploy.engines import EngineKind, EngineProfile
from greenlight.deploy.fleet import Host, RunnerKind

KEEP_MODELS = 3


def open_host(
    host: Host,
    profile: EngineProfile,
    *,
    settings: Settings,
    keep_models: int = KEEP_MODELS,
) -> AgentHost:
    """Return a host. The link is opened by the first call; `close` it, or use it as a block.

    Relative paths of the fleet file start at Greenlight's home. `keep_models` is the fleet's.
    """
    root = settings.home / host.root if host.runner is RunnerKind.LOCAL else host.root
    return AgentHost(
        host.name,
        _transport(host, settings=settings),
        profile,
        root=PurePosixPath(root),
        address=host.address,
        slots=host.slots,
        python=profile.python or str(_own_python(profile.kind, settings)),
        keep_models=keep_models,
    )


def _own_python(kind: EngineKind, settings: Settings) -> str:
    return sys.executable if kind is EngineKind.SIMULATOR else str(settings.serve_python)


def _transport(host: Host, *, settings: Settings) -> Transport:
    """Import only what the link needs: boto3 and asyncssh take half a second each."""
    if host.ssh is not None and host.runner is RunnerKind.SSH:
        from greenlight.adapters.hosts.ssh import SshTransport

        access = host.ssh.model_copy(
            update={
                "key_file": settings.home / host.ssh.key_file.expanduser(),
                "known_hosts": settings.home / host.ssh.known_hosts.expanduser(),
            }
        )
        return SshTransport(host.address, access)
    if host.ssm is not None and host.runner is RunnerKind.SSM:
        from greenlight.adapters.hosts.ssm import SsmTransport

        return SsmTransport.connect(
            host.ssm, region=None if host.region == "local" else host.region
        )
    return LocalTransport()
