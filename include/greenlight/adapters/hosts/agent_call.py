"""Run the agent on a host: its sources and the request go in by stdin, one JSON line comes out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from greenlight.adapters.hosts.transport import Transport
from greenlight.core.errors import ConfigError, ProcessDiedError, by_name
from greenlight.core.types import JsonDict

PACKAGE = "greenlight.adapters.hosts.agent"
MODULES = ("ground", "models", "engines", "machine", "commands")
"""Every module after those that it imports; the last one has `main`."""
BOOT = """
import json, sys, types
if sys.version_info < (3, 9):
    problem = "Greenlight's agent needs Python 3.9 on the host, python3 there is " + sys.version
    print(json.dumps({"error": "ConfigError", "message": problem}))
    sys.exit()
sent = json.loads(sys.stdin.buffer.read().decode())
for name, source in sent["modules"]:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main(sys.argv[1], sent["request"])
"""
NOT_FOUND = (126, 127)
"""What a shell exits with when it cannot run a program."""


def call(transport: Transport, command: str, request: JsonDict, *, timeout_s: float) -> JsonDict:
    """Return what the agent answers.

    Raises:
        UnavailableError: the link is gone, or the agent says so.
        ConfigError: the host has no Python, or an old one.
        ProcessDiedError: the agent ended without an answer.
        GreenlightError: what the agent refused with.
    """
    done = transport.run(
        [transport.python, "-I", "-c", BOOT, command],
        stdin=json.dumps({"modules": _sources(), "request": request}).encode(),
        timeout_s=timeout_s,
    )
    said = done.stderr.decode(errors="replace").strip()[-2000:]
    if done.code in NOT_FOUND:
        raise ConfigError(f"{transport.python} can't be run ({said}); install Python 3.9 or newer")
    lines = done.stdout.decode(errors="replace").splitlines()
    try:
        answer: JsonDict = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise ProcessDiedError(f"{command} ended with code {done.code}: {said}") from error
    if "error" in answer:
        raise by_name(answer["error"])(answer["message"])
    result: JsonDict = answer["ok"]
    return result


@cache
def _sources() -> list[tuple[str, str]]:
    folder = Path(__file__).with_name("agent")
    return [(f"{PACKAGE}.{name}", (folder / f"{name}.py").read_text()) for name in MODULES]
