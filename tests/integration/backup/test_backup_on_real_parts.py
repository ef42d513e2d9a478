"""Sets made, looked at and restored on real parts, as a person does it from a terminal.

The tests use one world, one after the other. The last ones replace its home.
"""

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import yaml
from lived_worlds import Shell, states

from greenlight.adapters import s3
from greenlight.adapters.mlflow_registry import MlflowRegistry
from greenlight.adapters.saved_databases import SavedDatabases
from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.postgres import superuser_url
from greenlight.adapters.stack.services import ServiceName
from greenlight.backup.sets import BackupKind, BackupSet
from greenlight.core.errors import ConfigError
from greenlight.core.settings import Settings
from greenlight.entrypoints.backup import Backups
from greenlight.entrypoints.backup_tools import open_tools
from greenlight.entrypoints.restore import Restores
from greenlight.testing.backup_worlds import MODEL, NEEDED, backup_world
from greenlight.testing.servers import postgres_binaries

pytestmark = [
    pytest.mark.skipif(postgres_binaries() is None, reason="PostgreSQL is not installed"),
    pytest.mark.timeout(900),
]


@dataclass(frozen=True)
class Lived:
    """What happened in the world: two sets; version 3 was registered after `between`."""

    said: str
    first: BackupSet
    second: BackupSet
    between: datetime


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with backup_world(tmp_path_factory.mktemp("a world")) as world:
        yield world


@pytest.fixture
def shell(world, monkeypatch):
    return Shell(world.settings.home, monkeypatch)


@pytest.fixture(scope="module")
def lived(world):
    with pytest.MonkeyPatch.context() as monkeypatch:
        shell = Shell(world.settings.home, monkeypatch)
        said = shell.said("backup", "run")
        (first,) = {shown.backup.id: shown.backup for shown in shown_sets(world)}.values()
        world.register("second")
        between = pause(world)
        world.register("third")
        second = BackupSet.model_validate_json(shell.said("backup", "run", "--json"))
    return Lived(said=said, first=first, second=second, between=between)


def shown_sets(world):
    backups = world.backups()
    return [shown for name in states(world)["a"] for shown in backups.show(name)]


def pause(world):
    """Return an instant with a committed row on either side."""
    world.tools().databases.mark_time()
    time.sleep(0.2)
    at = datetime.now(UTC)
    time.sleep(0.2)
    world.tools().databases.mark_time()
    return at


def versions(url):
    return [version.version for version in MlflowRegistry(url).versions(MODEL)]


def log_of(world, timeline):
    """Return the segments of a timeline that the regions have."""
    return [
        key
        for store in world.stores.values()
        for key in s3.keys_under(s3.open_client(store.s3), store.s3, prefix="pgbackrest/archive/")
        if key.rpartition("/")[2].startswith(f"{timeline:08X}")
    ]


def test_a_run_says_what_it_does_and_where_the_set_is_verified(lived):
    lines = lived.said.splitlines()
    for region in ("a", "b"):
        about = [line for line in lines if line.startswith(f"region {region}: ")]
        assert [line.split()[2] for line in about] == ["databases", "3", "read"]
        assert "pass" in about[-1]
    assert lines[-1] == f"set {lived.first.id} is verified in a, b"


def test_list_show_and_verify_tell_the_same(world, lived, shell):
    ids = {lived.first.id, lived.second.id}
    listed = json.loads(shell.said("backup", "list", "--json"))
    assert {(one["id"], one["region"]) for one in listed} == {(i, r) for i in ids for r in "ab"}
    assert {one["state"] for one in listed} == {"verified"}
    table = shell.said("backup", "list")
    assert all(table.count(name) == 2 for name in ids)
    shown = json.loads(shell.said("backup", "show", lived.second.id, "--json"))
    for entry in shown:
        assert (entry["state"], entry["verification"]["verdict"]) == ("verified", "pass")
        assert BackupSet.model_validate(entry["manifest"]) == lived.second
    text = shell.said("backup", "show", lived.second.id)
    assert f"{MODEL} version 3 (champion)" in text
    assert "backup_restic" in text
    assert "region b: verified, read back" in text
    assert "region b: read back: pass" in shell.said("backup", "verify", lived.second.id)


def test_the_second_run_stores_only_what_changed(lived):
    for region in ("a", "b"):
        first, second = (backup.copy_in(region) for backup in (lived.first, lived.second))
        assert (first.kind, second.kind) == (BackupKind.FULL, BackupKind.INCREMENTAL)
        assert second.database_bytes < first.database_bytes / 5


def test_dry_runs_say_what_would_be_done_and_change_nothing(world, lived, shell, tmp_path):
    before = states(world)
    assert "incremental (a full one is younger" in shell.said("backup", "run", "--dry-run")
    assert f"keep    {lived.second.id}" in shell.said("backup", "prune", "--dry-run")
    new = tmp_path / "new"
    said = shell.said("restore", "run", "--to", new, "--dry-run")
    assert f"of {lived.second.id} in region a" in said
    assert said == shell.said("restore", "plan", "--to", new)
    assert states(world) == before
    assert not new.exists()


MISTAKES = {
    "unknown set": (["backup", "show", "20200101T000000Z"], "there is no set '20200101T000000Z'"),
    "no set's name": (["backup", "verify", "x"], "region a has no set 'x'"),
    "unknown region": (["backup", "verify", "--region", "c"], "there are a, b"),
    "unknown region to list": (["backup", "list", "--region", "c"], "there are a, b"),
    "unknown region to prune": (["backup", "prune", "--region", "c"], "there are a, b"),
    "unknown region to restore": (["restore", "run", "--to", "NEW", "--region", "c"], "a, b"),
    "no time": (["restore", "run", "--to", "NEW", "--at", "yesterday"], "write it as 20"),
    "too early": (["restore", "run", "--to", "NEW", "--at", "2020-01-01"], "the first instant"),
    "too late": (["restore", "run", "--to", "NEW", "--at", "2099-01-01"], "is in the future"),
    "not empty": (["restore", "run", "--to", "FULL"], "is not empty (it holds a file)"),
    "above the home": (["restore", "run", "--to", "ABOVE"], "holds the live home"),
    "the home": (["restore", "run", "--to", "HOME"], "is the live home"),
    "no name": (["restore", "run", "--to", "HOME", "--over-live"], "its name must be typed"),
    "wrong name": (["restore", "run", "--to", "HOME", "--over-live", "--name", "x"], "'a home'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_with_one_sentence(world, lived, shell, tmp_path, mistake):
    home, full = world.settings.home, tmp_path / "full"
    full.mkdir()
    (full / "a file").touch()
    places = {"NEW": tmp_path / "new", "FULL": full, "HOME": home, "ABOVE": home.parent}
    command, answer = MISTAKES[mistake]
    code, _, err = shell(*(places.get(word, word) for word in command))
    last = err.splitlines()[-1]
    assert code == 2
    assert last.startswith("greenlight: ")
    assert answer in last
    assert "Traceback" not in err
    assert not places["NEW"].exists()


def test_a_refused_plan_is_printed_with_its_reasons(world, lived, shell):
    code, out, _ = shell("restore", "plan", "--to", world.settings.home)
    assert code == 1
    assert "refused: " in out.splitlines()[-1]


@pytest.fixture(scope="module")
def restored(world, lived, tmp_path_factory):
    """The settings of a home that was restored to the instant, and what the command said."""
    home = tmp_path_factory.mktemp("restored") / "another home"
    with pytest.MonkeyPatch.context() as monkeypatch:
        shell = Shell(world.settings.home, monkeypatch)
        said = shell.said("restore", "run", "--to", home, "--at", lived.between.isoformat())
    settings = Settings(home=home)
    yield settings, said
    EmbeddedStack(settings, environment=os.environ).down(lambda *_: None)


@pytest.fixture(scope="module")
def started(restored):
    """Where the restored home is, once somebody started it, and what that reported."""
    settings, reported = restored[0], []
    stack = EmbeddedStack(settings, environment=os.environ)
    addresses = stack.up(lambda name, what: reported.append(f"{name}: {what}"), only=NEEDED)
    return addresses, "\n".join(reported)


def test_a_restored_home_has_what_was_registered_by_then_and_nothing_later(
    world, lived, restored, started
):
    settings, said = restored
    assert "folders of later runs that were removed: 1" in said
    assert f"GREENLIGHT_HOME='{settings.home}' make up" in said
    assert versions(started[0].mlflow_url) == [1, 2]
    assert versions(world_url(world)) == [1, 2, 3]
    sentinels = SavedDatabases(superuser_url(settings)).sentinels()
    assert max(sentinel.at for sentinel in sentinels) < lived.between
    saved = {file.path for version in lived.second.versions[:2] for file in version.files}
    artifacts = settings.home / "mlflow/artifacts"
    found = {path.relative_to(settings.home).as_posix() for path in artifacts.rglob("*.bin")}
    assert found == {path for path in saved if path.endswith(".bin")}


def world_url(world):
    return (
        f"http://127.0.0.1:{json.loads((world.settings.run / 'ports.json').read_text())['mlflow']}"
    )


def test_its_secrets_are_new_and_it_keeps_none_of_its_source(world, restored, started):
    settings, _ = restored
    for path in world.settings.secrets.iterdir():
        assert (settings.secrets / path.name).read_bytes() != path.read_bytes(), path.name
    old = [path.read_bytes().strip() for path in world.settings.secrets.iterdir()]
    kept = [
        path
        for path in settings.home.rglob("*")
        if path.is_file() and path.stat().st_size < 100_000
        if any(secret in path.read_bytes() for secret in old)
    ]
    assert kept == []


def test_it_does_not_archive_where_it_came_from(world, restored, started):
    assert "its log can't go to region a" in started[1]
    assert "isn't the passphrase it was written with" in started[1]
    with pytest.raises(ConfigError, match="does not archive"):
        SavedDatabases(superuser_url(restored[0])).archiving()
    with pytest.raises(ConfigError, match="no region took the set"):
        Backups(open_tools(restored[0])).run(by="test")
    assert log_of(world, 1)
    assert log_of(world, 2) == []


def test_with_regions_of_its_own_it_is_backed_up_and_restored_again(restored, started, tmp_path):
    settings, _ = restored
    (settings.home / "config/backup.yaml").write_text(yaml.safe_dump({"regions": [{"name": "a"}]}))
    stack = EmbeddedStack(settings, environment=os.environ)
    stack.up(lambda *_: None, only={ServiceName.STORE_A, ServiceName.POSTGRES})
    tools = open_tools(settings)
    backup = Backups(tools).run(by="test").backup
    assert [version.version for version in backup.versions] == [1, 2]
    assert SavedDatabases(superuser_url(settings)).archiving().lag_s < 60
    plan = Restores(tools).plan("a", to=tmp_path / "third")
    assert Restores(tools).run(plan).is_dir()
    given_back = []
    Backups(tools).prune(Backups(tools).prune_plan("a"), by="test", say=given_back.append)
    assert "of deleted objects given back" in given_back[-1]
    assert Backups(tools).verify(backup.id)[0].findings == ()


@pytest.fixture(scope="module")
def replaced(world, lived):
    """What a restore over the live home said, and an instant of the past that was given up."""
    home, given_up = world.settings.home, pause(world)
    with pytest.MonkeyPatch.context() as monkeypatch:
        shell = Shell(home, monkeypatch)
        said = shell.said(
            "restore", "run", "--region", "b", "--to", home, "--at", lived.between.isoformat(),
            "--over-live", "--name", home.name,
        )  # fmt: skip
    world.stack.up(lambda *_: None, only=NEEDED)
    return said, given_up


def test_a_restore_over_the_live_home_keeps_the_old_aside_and_the_secrets_in_place(
    world, lived, restored, replaced
):
    home = world.settings.home
    (aside,) = home.parent.glob("a home.before-*")
    assert str(aside) in replaced[0]
    assert sorted(path.name for path in aside.iterdir()) == ["config", "mlflow", "postgres"]
    assert versions(world_url(world)) == [1, 2]
    assert world.registry.versions(MODEL)  # where it was
    assert "backup_signing" in {path.name for path in world.settings.secrets.iterdir()}
    assert not list(home.parent.glob(".*.restoring"))


def test_the_next_run_after_it_works_and_both_pasts_can_be_restored(
    world, lived, replaced, tmp_path
):
    ended = world.backups().run(by="test")
    assert {check.verdict for check in ended.verifications} == {"pass"}
    assert log_of(world, 2)
    assert states(world)["a"] == states(world)["b"]
    assert list(states(world)["a"].values()) == ["verified"] * 3
    restores = Restores(world.tools())
    for name, at, found in (
        ("given up", replaced[1], [1, 2, 3]),
        ("new", ended.backup.point.at, [1, 2]),
    ):
        plan = restores.plan("a", to=tmp_path / name, at=at)
        settings = Settings(home=restores.run(plan))
        stack = EmbeddedStack(settings, environment=os.environ)
        try:
            stack.up(lambda *_: None, only={ServiceName.POSTGRES}, migrate=False)
            databases = SavedDatabases(superuser_url(settings))
            assert sorted(version.version for version in databases.catalogue()) == found
        finally:
            stack.down(lambda *_: None)
