"""The agent in this process, and as the hosts run it."""

import ast
import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from greenlight.adapters.hosts import agent
from greenlight.adapters.hosts.agent.commands import answer
from greenlight.adapters.hosts.agent.engines import GATE
from greenlight.adapters.hosts.agent.ground import CHUNK
from greenlight.adapters.hosts.agent.models import plan_upload
from greenlight.adapters.hosts.agent_call import BOOT, call
from greenlight.adapters.hosts.local import LocalTransport
from greenlight.adapters.hosts.transport import Done
from greenlight.core.digest import FileEntry, Manifest, digest_bytes
from greenlight.core.errors import ConfigError, InputError, ProcessDiedError

SOURCES = sorted(Path(agent.__file__).parent.glob("*.py"))


def manifest_json(**files: bytes) -> dict:
    entries = (
        FileEntry(path=path, size=len(data), sha256=digest_bytes(data))
        for path, data in sorted(files.items())
    )
    return Manifest(files=tuple(entries)).to_json()


def asked(command: str, root: Path, **request):
    said = answer(command, {"root": str(root), **request})
    return said.get("ok", said)


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_the_agent_is_python_3_9_and_imports_the_standard_library_only(source):
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    imported = {
        name.split(".")[0] if not name.startswith(agent.__name__) else "greenlight agent"
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names <= {"greenlight agent"}


def test_a_newer_syntax_would_be_seen():
    with pytest.raises(SyntaxError):
        ast.parse("match x:\n    case 1: pass", feature_version=(3, 9))


class OldPython:
    """A host whose Python is too old: the boot script believes a version it is told."""

    python = sys.executable

    def run(self, argv, *, stdin, timeout_s):
        faked = [a.replace("sys.version_info < (3, 9)", "sys.version_info > (3, 9)") for a in argv]
        return LocalTransport().run(faked, stdin=stdin, timeout_s=timeout_s)


class Broken:
    python = "python3"

    def __init__(self, done: Done) -> None:
        self._done = done

    def run(self, argv, *, stdin, timeout_s):
        return self._done


def test_an_old_python_on_the_host_is_said(tmp_path):
    assert "sys.version_info < (3, 9)" in BOOT
    with pytest.raises(ConfigError, match=r"needs Python 3\.9"):
        call(OldPython(), "list_models", {"root": str(tmp_path)}, timeout_s=30)


def test_no_python_on_the_host_is_said():
    done = Done(code=127, stdout=b"", stderr=b"sh: python3: not found")
    with pytest.raises(ConfigError, match="install Python"):
        call(Broken(done), "ping", {}, timeout_s=1)


def test_an_agent_that_ends_without_an_answer_may_be_asked_again():
    with pytest.raises(ProcessDiedError, match="Killed"):
        call(Broken(Done(code=-9, stdout=b"", stderr=b"Killed")), "ping", {}, timeout_s=1)


def test_what_a_login_shell_prints_before_the_answer_does_no_harm():
    done = Done(code=0, stdout=b'Welcome!\n{"ok": {"a": 1}}\n', stderr=b"")
    assert call(Broken(done), "ping", {}, timeout_s=1) == {"a": 1}


def test_a_refusal_arrives_under_its_own_name(tmp_path):
    request = {"root": str(tmp_path), "manifest": manifest_json(a=b"1")}
    with pytest.raises(InputError, match="is not in"):
        call(LocalTransport(), "verify_model", request, timeout_s=30)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../outside"])
def test_a_path_that_leads_out_of_the_root_is_refused(tmp_path, path):
    manifest = {"digest": "d", "files": [{"path": path, "size": 1, "sha256": "s"}]}
    for command in ("plan_upload", "commit_model"):
        (tmp_path / "incoming/d").mkdir(parents=True, exist_ok=True)
        said = asked(command, tmp_path, manifest=manifest)
        assert said["error"] == "InputError"


def test_only_pieces_that_certainly_arrived_are_counted(tmp_path):
    data = b"x" * (2 * CHUNK + 5)
    manifest = manifest_json(weights=data)
    file = tmp_path / "incoming" / manifest["digest"] / "weights"
    file.parent.mkdir(parents=True)
    for size, have in (
        (0, 0),
        (CHUNK, 0),  # its last piece may have holes
        (CHUNK + 1, CHUNK),
        (2 * CHUNK, CHUNK),
        (2 * CHUNK + 1, 2 * CHUNK),
    ):
        file.write_bytes(data[:size])
        (wanted,) = plan_upload({"root": str(tmp_path), "manifest": manifest})["files"]
        assert wanted["have"] == have
        assert wanted["sha256"] == (hashlib.sha256(data[:have]).hexdigest() if have else "")
    file.write_bytes(data)
    assert plan_upload({"root": str(tmp_path), "manifest": manifest})["files"] == []


def test_a_bad_copy_is_deleted_file_by_file_and_a_stranger_goes_too(tmp_path):
    manifest = manifest_json(good=b"good", bad=b"wanted")
    making = tmp_path / "incoming" / manifest["digest"]
    making.mkdir(parents=True)
    for name, data in (("good", b"good"), ("bad", b"found!"), ("stranger.py", b"import os")):
        (making / name).write_bytes(data)
    (bad,) = asked("commit_model", tmp_path, manifest=manifest)["bad"]
    assert bad == {
        "path": "bad", "wanted": digest_bytes(b"wanted"), "found": digest_bytes(b"found!")
    }  # fmt: skip
    assert [path.name for path in making.iterdir()] == ["good"]
    (making / "bad").write_bytes(b"wanted")
    assert asked("commit_model", tmp_path, manifest=manifest) == {"bad": []}
    assert asked("commit_model", tmp_path, manifest=manifest) == {"bad": []}, "a retry is fine"
    assert asked("list_models", tmp_path) == {"digests": [manifest["digest"]]}


def a_model_on(root: Path, **files: bytes) -> dict:
    manifest = manifest_json(**files)
    folder = root / "incoming" / manifest["digest"]
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    assert asked("commit_model", root, manifest=manifest) == {"bad": []}
    return manifest


def test_a_file_that_was_added_to_a_model_takes_the_model_away(tmp_path):
    manifest = a_model_on(tmp_path, weights=b"w")
    (tmp_path / "models" / manifest["digest"] / "modeling.py").write_text("import os")
    (bad,) = asked("verify_model", tmp_path, manifest=manifest)["bad"]
    assert bad["path"] == "modeling.py"
    assert not asked("has_model", tmp_path, digest=manifest["digest"])["there"]


def test_a_truncated_file_is_seen_without_reading_it(tmp_path):
    manifest = a_model_on(tmp_path, weights=b"weights")
    (tmp_path / "models" / manifest["digest"] / "weights").write_bytes(b"wei")
    assert not asked("has_model", tmp_path, digest=manifest["digest"])["there"]


def test_a_crash_between_rename_and_marker_leaves_no_model_and_is_cleared(tmp_path):
    manifest = a_model_on(tmp_path, weights=b"w")
    (tmp_path / "models" / f"{manifest['digest']}.json").unlink()
    assert not asked("has_model", tmp_path, digest=manifest["digest"])["there"]
    asked("prune", tmp_path, keep=[], most=2)
    assert not (tmp_path / "models" / manifest["digest"]).exists()


def test_pruning_ends_copies_that_nobody_continues(tmp_path):
    for digest in ("kept", "forgotten"):
        (tmp_path / "incoming" / digest).mkdir(parents=True)
    asked("prune", tmp_path, keep=["kept"], most=2)
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["kept"]


def test_a_full_disk_and_a_forbidden_folder_are_errors_of_their_own(tmp_path, monkeypatch):
    for number, name in ((28, "ResourceError"), (13, "ConfigError")):
        error = OSError(number, "what the kernel says")
        monkeypatch.setattr(Path, "mkdir", lambda *_, error=error, **__: raise_(error))
        assert asked("ping", tmp_path, programs=[])["error"] == name


def raise_(error: Exception) -> None:
    raise error


def test_an_engine_whose_record_was_not_written_is_never_started(tmp_path):
    made = tmp_path / "started"
    command = [sys.executable, "-I", "-c", GATE, "touch", str(made)]
    held = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert held.returncode != 0
    assert not made.exists()
    subprocess.run(command, input=b"g", check=True)
    assert made.exists()


def test_a_slot_that_somebody_changes_is_waited_for_and_then_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("greenlight.adapters.hosts.agent.ground.LOCK_S", 0.2)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        from greenlight.adapters.hosts.agent.ground import lock

        with lock(tmp_path / "slots" / "green"):
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    said = asked("stop", tmp_path, colour="green", wait_s=0)
    leave.set()
    holder.join()
    assert said["error"] == "UnavailableError"
    assert asked("stop", tmp_path, colour="green", wait_s=0)["stopped"]


def a_record(root: Path, **changes) -> Path:
    record = {
        "digest": "d" * 64, "flags_digest": "f" * 64, "model": "m", "address": "127.0.0.1",
        "port": 1, "limit_s": 0, "service": None, "pid": 2**22 + 1, "born": "1",
        "boot": "another boot", "temporary": str(root / "tmp"),
    }  # fmt: skip
    slot = root / "slots" / "green"
    slot.mkdir(parents=True)
    (slot / "record.json").write_text(json.dumps(record | changes))
    return slot


def test_a_process_that_only_has_the_number_is_not_the_engine_and_is_left_alone(tmp_path):
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        slot = a_record(tmp_path, pid=stranger.pid, boot=boot)
        assert asked("status", tmp_path, colour="green")["state"] == "failed"
        assert asked("stop", tmp_path, colour="green", wait_s=1)["stopped"]
        assert stranger.poll() is None
        stranger.kill()
    assert not (slot / "record.json").exists()


def test_after_a_reboot_the_engine_is_gone_whoever_has_its_number(tmp_path):
    a_record(tmp_path, pid=1)
    assert asked("status", tmp_path, colour="green")["state"] == "failed"
    assert asked("stop", tmp_path, colour="green", wait_s=0)["stopped"]
