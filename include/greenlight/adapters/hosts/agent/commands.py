"""The agent's door: a command and its request in, one JSON line out.

The line is `{"ok": …}`, or `{"error": NAME, "message": …}` with a name of `core.errors`.
"""

from __future__ import annotations

import errno
import json
import os
import sys

from greenlight.adapters.hosts.agent.engines import logs, start, status, stop
from greenlight.adapters.hosts.agent.ground import Json, Refusal
from greenlight.adapters.hosts.agent.machine import describe
from greenlight.adapters.hosts.agent.models import (
    commit_model,
    download,
    has_model,
    list_models,
    ping,
    plan_upload,
    prune,
    verify_model,
)

COMMANDS = {
    command.__name__: command
    for command in (
        ping, plan_upload, download, commit_model, verify_model, has_model, list_models, prune,
        start, status, stop, logs, describe,
    )
}  # fmt: skip
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def main(command: str, request: Json) -> None:
    """Run one command and write its line. A bug ends in a traceback and code 1."""
    answered = answer(command, {**request, "host_environment": dict(os.environ)})
    sys.stdout.write(json.dumps(answered) + "\n")


def answer(command: str, request: Json) -> Json:
    """Run one command and return its line."""
    try:
        return {"ok": COMMANDS[command](request)}
    except Refusal as refusal:
        return {"error": refusal.name, "message": str(refusal)}
    except OSError as error:
        if error.errno in DISK_FULL:
            return {"error": "ResourceError", "message": f"the disk is full: {error}"}
        if error.errno in NOT_ALLOWED:
            return {"error": "ConfigError", "message": f"not allowed on the host: {error}"}
        raise
