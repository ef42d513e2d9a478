"""restic on a real store: what goes wrong is said, in time, and the rest is left as it was."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenlight.adapters import s3
from greenlight.adapters.restic.backups import ResticBackups
from greenlight.adapters.restic.repository import ResticRepository
from greenlight.adapters.stack.object_store import make_bucket
from greenlight.core.errors import ConfigError, InputError, ResourceError, UnavailableError
from greenlight.testing.object_stores import store_process

A = "a"
MUCH = 80_000_000
"""Takes a second or two to save."""
SAVED = ("models", "config.yaml")


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with store_process(tmp_path_factory.mktemp("a store")) as process:
        yield process


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    return a_secret(tmp_path_factory.mktemp("secrets") / "restic")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("the cache")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("the home")
    (home / "models").mkdir()
    (home / "models/weights").write_bytes(os.urandom(1_000_000))
    (home / "config.yaml").write_text("a: 1\n")
    return home


@pytest.fixture(scope="module")
def files(process, secret, cache):
    files = opened(process.s3, secret, cache)
    files.prepare(A)
    return files


@pytest.fixture(scope="module")
def snapshot(files, home):
    return files.back_up(A, root=home, paths=SAVED, mark="good")


def a_secret(path, text="0123456789abcdef0123"):
    path.write_text(text)
    path.chmod(0o600)
    return path


def opened(store, secret, cache, **changes):
    settings = {"region": A, "password_file": secret, "environment": os.environ, "patience_s": 4}
    return ResticBackups([ResticRepository(store, folder=cache, **settings | changes)])


@contextmanager
def changed(store, kind, change):
    """Change the largest object of a kind, or delete it, and mend it afterwards."""
    client = s3.open_client(store)
    bodies = {
        key: s3.get(client, store, key=key)
        for key in s3.keys_under(client, store, prefix=f"restic/{kind}")
    }
    key = max(bodies, key=lambda key: len(bodies[key]))
    body = change(bodies[key])
    if body is None:
        s3.delete(client, store, key=key)
    else:
        s3.put(client, store, key=key, body=body)
    yield key.rpartition("/")[2]
    s3.put(client, store, key=key, body=bodies[key])


def flipped(body):
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def cut(body):
    return body[: len(body) // 2]


def gone(body):
    return None


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("data/", flipped), ("data/", cut), ("data/", gone), ("snapshots/", flipped),
        ("snapshots/", gone), ("index/", gone), ("index/", cut), ("keys/", gone), ("keys/", cut),
        ("config", gone), ("config", flipped),
    ],
)  # fmt: skip
def test_damage_is_found_whatever_object_it_is_in(files, snapshot, process, kind, change):
    with changed(process.s3, kind, change):
        assert files.verify(A, snapshot.id)


def test_a_finding_names_the_object(files, snapshot, process):
    with changed(process.s3, "data/", gone) as name:
        assert name in "".join(files.verify(A, snapshot.id))


def test_saving_again_repairs_nothing(files, snapshot, process, home):
    with changed(process.s3, "data/", flipped):
        again = files.back_up(A, root=home, paths=SAVED, mark="again")
        assert again.stored_bytes == 0
        assert files.verify(A, again.id)


def test_a_restore_that_lacks_data_fails_in_seconds(files, snapshot, process, tmp_path):
    with changed(process.s3, "data/", gone) as name:
        began = time.monotonic()
        with pytest.raises(InputError, match=name[:10]):
            files.restore(A, snapshot.id, to=tmp_path / "to")
        assert time.monotonic() - began < 40


def test_a_repository_without_its_config_is_not_made_anew(files, snapshot, process):
    with changed(process.s3, "config", gone), pytest.raises(InputError, match="lost its config"):
        files.prepare(A)
    assert files.verify(A, snapshot.id) == ()


def test_a_key_that_a_killed_start_left_does_not_stand_in_the_way(
    process, secret, cache, files, home
):
    bucket = process.s3.model_copy(update={"bucket": "half-made"})
    make_bucket(bucket, lock_days=0)
    client = s3.open_client(bucket)
    (key,) = s3.keys_under(client, process.s3, prefix="restic/keys/")
    s3.put(client, bucket, key=key, body=s3.get(client, process.s3, key=key))
    again = opened(bucket, secret, cache)
    again.prepare(A)
    assert again.snapshots(A) == ()


def test_what_refuses_us_is_a_setting_to_change(process, secret, cache, tmp_path, snapshot):
    other = a_secret(tmp_path / "other", "another password entirely")
    foreign = a_secret(tmp_path / "foreign.pem", "no certificate")
    wrong = {
        "doesn't open the repository": (process.s3, {"password_file": other}),
        "does not let us in": (process.s3.model_copy(update={"secret_key_file": other}), {}),
        "is not there": (process.s3.model_copy(update={"bucket": "nosuchbucket"}), {}),
        "foreign.pem": (process.s3.model_copy(update={"ca_file": foreign}), {}),
        "does not vouch": (process.s3.model_copy(update={"ca_file": None}), {}),
    }
    for said, (store, changes) in wrong.items():
        with pytest.raises(ConfigError, match=said):
            opened(store, secret, cache, **changes).verify(A, snapshot.id)


def test_what_cannot_be_read_is_named_and_no_snapshot_remains(files, snapshot):
    """As root, this is the one file that can't be read."""
    before = files.snapshots(A)
    with pytest.raises(InputError, match="/proc/1/mem"):
        files.back_up(A, root=Path("/proc"), paths=["1/mem"], mark="m")
    assert files.snapshots(A) == before


def test_pipes_and_sockets_are_left_out(files, snapshot, home, monkeypatch):
    os.mkfifo(home / "models/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(home)  # a long path is no address
        listener.bind("models/socket")
        made = files.back_up(A, root=home, paths=SAVED, mark="m")
    assert set(files.listing(A, made.id)) == {"models/weights", "config.yaml"}
    (home / "models/pipe").unlink()
    (home / "models/socket").unlink()


def test_what_did_not_change_is_not_read_again(files, home):
    (home / "models/new").write_bytes(b"new" * 1000)
    with reads_of(home / "models/new") as reads:
        files.back_up(A, root=home, paths=SAVED, mark="m")
        assert reads()
        files.back_up(A, root=home, paths=SAVED, mark="m")
        assert not reads()


def test_sizes_that_were_lost_are_counted_again(files, snapshot, process):
    with changed(process.s3, "sizes/", gone):
        found = {made.id: made for made in files.snapshots(A)}[snapshot.id]
    assert (found.files, found.bytes) == (snapshot.files, snapshot.bytes)
    assert found.stored_bytes >= snapshot.stored_bytes * 0.9


def test_a_killed_run_leaves_the_snapshots_and_the_next_run_succeeds(
    files, snapshot, process, secret, cache, tmp_path
):
    (tmp_path / "much").write_bytes(os.urandom(MUCH))
    program = (
        "import os, pathlib\n"
        "from greenlight.adapters.restic.backups import ResticBackups\n"
        "from greenlight.adapters.restic.repository import ResticRepository\n"
        "from greenlight.backup.backup_file import S3Store\n"
        f"store = S3Store.model_validate_json({process.s3.model_dump_json()!r})\n"
        f"where = dict(password_file=pathlib.Path({str(secret)!r}), environment=os.environ,"
        f" folder=pathlib.Path({str(cache)!r}))\n"
        "files = ResticBackups([ResticRepository(store, region='a', **where)])\n"
        f"files.back_up('a', root=pathlib.Path({str(tmp_path)!r}), paths=['much'], mark='m')\n"
    )
    before = files.snapshots(A)
    client = s3.open_client(process.s3)
    packs = set(s3.keys_under(client, process.s3, prefix="restic/data/"))
    with subprocess.Popen([sys.executable, "-c", program]) as run:
        while set(s3.keys_under(client, process.s3, prefix="restic/data/")) == packs:
            assert run.poll() is None
        run.send_signal(signal.SIGKILL)
    assert files.snapshots(A) == before
    assert files.verify(A, snapshot.id) == ()
    (tmp_path / "much").write_bytes(b"little")
    made = files.back_up(A, root=tmp_path, paths=["much"], mark="m")
    files.forget(A, [made.id])
    left = [path.name for path in cache.iterdir()]
    assert left == ["cache"]


def test_a_store_that_falls_silent_ends_the_run_and_the_next_one_succeeds(
    files, snapshot, process, tmp_path
):
    (tmp_path / "much").write_bytes(os.urandom(MUCH))
    began = time.monotonic()
    with (
        when_locked(process.s3, process.freeze),
        pytest.raises(UnavailableError, match="does not answer"),
    ):
        files.back_up(A, root=tmp_path, paths=["much"], mark="m")
    assert time.monotonic() - began < 40
    process.thaw()
    (tmp_path / "much").write_bytes(b"little")
    made = files.back_up(A, root=tmp_path, paths=["much"], mark="m")
    files.forget(A, [made.id])
    assert files.verify(A, snapshot.id) == ()


def test_who_holds_the_repository_is_waited_for_and_then_named(files, process, secret, cache):
    before = files.snapshots(A)
    hasty = opened(process.s3, secret, cache, lock_wait_s=0)
    with (
        holder(process.s3, secret) as other,
        pytest.raises(UnavailableError, match=rf"already locked by PID {other.pid}"),
    ):
        hasty.forget(A, ["0" * 64])
    files.forget(A, [made.id for made in files.snapshots(A) if made not in before])


def test_words_that_nobody_knows_are_neither_success_nor_damage(
    process, secret, cache, snapshot, tmp_path
):
    for script in ("echo all is well", "echo never heard of >&2; exit 7"):
        environment = with_restic(tmp_path, script)
        odd = opened(process.s3, secret, cache, environment=environment)
        with pytest.raises(UnavailableError, match="failed"):
            odd.verify(A, snapshot.id)


def test_a_full_disk_of_this_machine_is_not_the_stores_fault(process, secret, cache, tmp_path):
    script = "echo Fatal: write /x: no space left on device >&2; exit 1"
    full = opened(process.s3, secret, cache, environment=with_restic(tmp_path, script))
    with pytest.raises(ResourceError, match="this machine's disk is full"):
        full.restore(A, "1", to=tmp_path / "to")
    truncated = with_restic(tmp_path, "echo '[{\"id\":'")
    with pytest.raises(UnavailableError, match="no JSON"):
        opened(process.s3, secret, cache, environment=truncated).snapshots(A)


def test_restic_is_told_its_own_secrets_and_none_on_its_command_line(
    process, secret, cache, tmp_path
):
    script = f'printf "%s\\n" "$@" > "{tmp_path}/arguments"; env > "{tmp_path}/environment"; exit 1'
    environment = with_restic(tmp_path, script) | {"DATABASE_PASSWORD": "x", "AWS_PROFILE": "other"}
    with pytest.raises(UnavailableError):
        opened(process.s3, secret, cache, environment=environment).restore(A, "1", to=tmp_path)
    arguments = (tmp_path / "arguments").read_text()
    told = (tmp_path / "environment").read_text()
    key = process.s3.secret_key_file.read_text().strip()
    assert f"AWS_SECRET_ACCESS_KEY={key}\n" in told
    assert f"RESTIC_PASSWORD_FILE={secret}\n" in told
    assert "DATABASE_PASSWORD" not in told
    assert "AWS_PROFILE" not in told
    for value in (key, secret.read_text()):
        assert value not in arguments


def test_without_key_files_the_machines_own_role_is_used(
    process, secret, cache, snapshot, monkeypatch
):
    for name, path in (
        ("AWS_ACCESS_KEY_ID", process.s3.access_key_file),
        ("AWS_SECRET_ACCESS_KEY", process.s3.secret_key_file),
    ):
        monkeypatch.setenv(name, path.read_text().strip())
    role = process.s3.model_copy(update={"access_key_file": None, "secret_key_file": None})
    assert snapshot in opened(role, secret, cache).snapshots(A)


def test_a_machine_without_restic_is_told_how_to_get_it(process, secret, cache, tmp_path):
    with pytest.raises(ConfigError, match="scripts/setup"):
        opened(process.s3, secret, cache, environment={"PATH": str(tmp_path)})


def test_a_store_that_is_away_or_full_says_so_and_a_full_one_can_be_restored_from(
    files, snapshot, process, home, tmp_path
):
    process.kill()
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        files.verify(A, snapshot.id)
    assert time.monotonic() - began < 10
    process.start(full=True)
    with pytest.raises(ResourceError, match="takes nothing more"):
        files.back_up(A, root=home, paths=SAVED, mark="m")
    files.restore(A, snapshot.id, to=tmp_path / "to")
    assert (tmp_path / "to/config.yaml").read_text() == "a: 1\n"
    process.kill()
    process.start()
    assert files.verify(A, snapshot.id) == ()


def with_restic(folder, script):
    """Return an environment with another program called restic."""
    program = folder / "bin/restic"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


@contextmanager
def holder(store, secret):
    """Yield another restic that saves what it is told, until nothing more is said."""
    keys = s3.read_keys(store)
    environment = {
        "RESTIC_REPOSITORY": f"s3:{store.endpoint}/{store.bucket}/restic/",
        "RESTIC_PASSWORD_FILE": str(secret),
        "AWS_ACCESS_KEY_ID": keys.access,
        "AWS_SECRET_ACCESS_KEY": keys.secret,
        "PATH": os.environ["PATH"],
    }
    options = ["--cacert", store.ca_file, "-o", "s3.bucket-lookup=path", "--no-cache"]
    command = ["restic", *options, "backup", "--stdin"]
    client = s3.open_client(store)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as other:
        while not list(s3.keys_under(client, store, prefix="restic/locks/")):
            time.sleep(0.02)
        yield other


@contextmanager
def when_locked(store, act):
    """Do something at the moment at which somebody begins to write to the repository."""
    client = s3.open_client(store)
    stop = threading.Event()

    def watch():
        while not stop.wait(0.02):
            if list(s3.keys_under(client, store, prefix="restic/locks/")):
                return act()
        return None

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    stop.set()
    watcher.join()


@contextmanager
def reads_of(path):
    """Yield a function that says whether a file was read since it was last asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    libc.inotify_add_watch(watch, os.fsencode(path), 0x1)  # IN_ACCESS

    def reads():
        try:
            return bool(os.read(watch, 1 << 16))
        except BlockingIOError:
            return False

    yield reads
    os.close(watch)
