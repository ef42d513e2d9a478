"""Engines in the slots of the host: started to outlive whoever asked, found again by a record."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from greenlight.adapters.hosts.agent.ground import (
    Json,
    Refusal,
    boot_id,
    inside,
    lock,
    record_of,
    run,
    uptime,
    write_json,
)
from greenlight.adapters.hosts.agent.models import is_there

HTTP_S = 5.0
KILLED_S = 10.0
LOG_BYTES = 16_000
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_")
GATE = (
    "import os, sys\n"
    "if not os.read(0, 1): sys.exit('the record was not written; nothing is started')\n"
    "os.dup2(os.open(os.devnull, os.O_RDONLY), 0)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
"""Holds an engine back until its record is on disk: a killed agent leaves no unknown engine."""


def start(request: Json) -> Json:
    """Start a slot's engine, and return at once whether it was not running before."""
    root, wanted = Path(request["root"]), request["engine"]
    slot = _slot(request)
    with lock(slot):
        if not is_there(root, wanted["digest"]):
            raise Refusal(
                "InputError", f"model {wanted['digest'][:12]} is not verified in {root}; copy it"
            )
        record = record_of(slot)
        if record and _alive(record):
            if _same(record, wanted) and "stop_asked" not in record:
                return {"started": False}
            raise Refusal("RefusedError", f"the slot {_what(record)}; stop it first")
        if record:
            _remove(slot, record)
        _refuse_taken_port(wanted)
        log_file = slot / "engine.log"
        if log_file.exists():
            log_file.replace(slot / "engine.previous.log")
        if wanted["service"]:
            _start_service(slot, wanted)
        else:
            _start_process(slot, wanted, request["host_environment"])
    return {"started": True}


def status(request: Json) -> Json:
    """Return what a slot holds: its record, whether it lives, and what it serves by HTTP."""
    slot = _slot(request)
    record = record_of(slot)
    if record is None:
        return {"state": "stopped"}
    kept = {"digest": record["digest"], "flags_digest": record["flags_digest"]}
    if not _alive(record):
        reason = f"the engine ended; its log ends with:\n{_log_end(slot, record, lines=3)}"
        return {**kept, "state": "failed", "reason": reason}
    base = f"http://{record['address']}:{record['port']}"
    if _get(f"{base}/health") is None or (body := _get(f"{base}/v1/models")) is None:
        return {**kept, "state": "starting"}
    served = _served(body)
    served_digest = PurePosixPath(served.get(record["model"]) or "").name or None
    if served_digest == record["digest"]:
        return {**kept, "state": "ready", "served_digest": served_digest}
    reason = (
        f"port {record['port']} answers for {served}, not for {record['model']} of digest "
        f"{record['digest'][:12]}"
    )
    return {**kept, "state": "failed", "served_digest": served_digest, "reason": reason}


def stop(request: Json) -> Json:
    """Ask a slot's engine to end and return whether it has, after `wait_s` at most.

    Called again until it has. The engine's time, `limit_s` of its record, counts from the first
    time it was asked; then it is killed. SIGTERM goes to its first process only: vLLM's workers end
    at once when they get it, and cut the streams that the first one lets end.
    """
    slot = _slot(request)
    with lock(slot):
        record = record_of(slot)
        if record is None:
            return {"stopped": True, "killed": False}
        killed = False
        if _alive(record) and "stop_asked" not in record:
            _end(record, signal.SIGTERM)
            record["stop_asked"] = uptime()
            write_json(slot / "record.json", record)
        _await_end(record, request["wait_s"])
        if _alive(record) and uptime() - record["stop_asked"] >= record["limit_s"]:
            killed = True
            _end(record, signal.SIGKILL)
            _await_end(record, KILLED_S)
        if _alive(record):
            return {"stopped": False, "killed": killed}
        _remove(slot, record)
    return {"stopped": True, "killed": killed}


def logs(request: Json) -> Json:
    """Return the last lines of a slot's log."""
    slot = _slot(request)
    return {"text": _log_end(slot, record_of(slot), lines=request["lines"])}


def _start_process(slot: Path, wanted: Json, environment: Mapping[str, str]) -> None:
    argv = wanted["argv"]
    if shutil.which(argv[0]) is None:
        raise Refusal("ConfigError", f"there is no program {argv[0]}; set the profile's python")
    # Not below the slot: the sockets in it may have 107 letters in their path, no more.
    temporary = tempfile.mkdtemp(prefix="greenlight-engine-")
    passed = {
        name: value
        for name, value in environment.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    with (slot / "engine.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", GATE, *argv],
            env={**passed, "TMPDIR": temporary, **wanted["environment"]},
            cwd=slot,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    born = _stat(process.pid)
    record = {
        **wanted,
        "pid": process.pid,
        "born": born[19] if born else None,
        "boot": boot_id(),
        "temporary": temporary,
    }
    write_json(slot / "record.json", record)
    assert process.stdin is not None
    with process.stdin as gate:
        gate.write(b"g")


def _start_service(slot: Path, wanted: Json) -> None:
    service = wanted["service"]
    run(service["remove"])  # what a killed agent left
    write_json(slot / "record.json", {**wanted, "boot": boot_id()})
    done = run(service["start"])
    if done.returncode != 0:
        _remove(slot, wanted)
        said = (done.stdout + done.stderr).strip()[-500:]
        raise Refusal("UnavailableError", f"{service['start'][0]} did not start the engine: {said}")


def _alive(record: Json) -> bool:
    if record["service"]:
        asked = record["service"]["state"]
        done = run(asked)
        if done.returncode != 0:
            raise Refusal("UnavailableError", f"{' '.join(asked[:2])} failed: {done.stderr[-500:]}")
        return done.stdout.strip() in record["service"]["alive"]
    stat = _stat(record["pid"])
    return (
        stat is not None
        and stat[0] not in "ZX"
        and stat[19] == record["born"]
        and record["boot"] == boot_id()
    )


def _end(record: Json, number: int) -> None:
    if record["service"]:
        run(record["service"]["stop" if number == signal.SIGTERM else "kill"])
        return
    pids = [record["pid"]] if number == signal.SIGTERM else _session(record)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _await_end(record: Json, seconds: float) -> None:
    until = time.monotonic() + seconds
    while _alive(record) and time.monotonic() < until:
        time.sleep(0.05)


def _remove(slot: Path, record: Json) -> None:
    """Forget an engine that ended, with what it left: processes, container, temporary files."""
    if record["service"]:
        run(record["service"]["remove"])
    else:
        _end(record, signal.SIGKILL)
        shutil.rmtree(record["temporary"], ignore_errors=True)
    (slot / "record.json").unlink(missing_ok=True)


def _session(record: Json) -> list[int]:
    """Return the processes of an engine's session; none when its number is somebody else's now."""
    leader = _stat(record["pid"])
    if record["boot"] != boot_id() or (leader is not None and leader[19] != record["born"]):
        return []
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if (stat := _stat(pid)) and stat[3] == str(record["pid"])]


def _stat(pid: int) -> list[str] | None:
    """Return /proc/PID/stat after the name: [0] state, [3] session, [19] start time."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _refuse_taken_port(wanted: Json) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((wanted["address"], wanted["port"]))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                where = f"{wanted['address']}:{wanted['port']}"
                raise Refusal("RefusedError", f"{where} is taken by another program") from error


def _same(record: Json, wanted: Json) -> bool:
    return all(record[k] == wanted[k] for k in ("digest", "flags_digest", "model", "port"))


def _what(record: Json) -> str:
    verb = "still ends" if "stop_asked" in record else "runs"
    return (
        f"{verb} {record['model']} of digest {record['digest'][:12]}, flags "
        f"{record['flags_digest'][:12]}, on port {record['port']}"
    )


def _get(url: str) -> bytes | None:
    """Return the body of a 200, else `None`. No proxy: the engine is on this host."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=HTTP_S) as answer:
            return bytes(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None


def _served(body: bytes) -> dict[str, str]:
    """Return the folders of the models that /v1/models names; none when a stranger answers."""
    try:
        return {model["id"]: model["root"] for model in json.loads(body)["data"]}
    except (ValueError, KeyError, TypeError):
        return {}


def _log_end(slot: Path, record: Json | None, *, lines: int) -> str:
    if record and record["service"] and record["service"]["logs"]:
        done = run([*record["service"]["logs"]])
        text = done.stdout + done.stderr
    else:
        file = slot / "engine.log"
        if not file.exists():
            return ""
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - LOG_BYTES))
            text = opened.read().decode(errors="replace")
    return "\n".join(text[-LOG_BYTES:].splitlines()[-lines:])


def _slot(request: Json) -> Path:
    return inside(Path(request["root"]) / "slots", request["colour"])
