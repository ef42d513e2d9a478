import os

import pytest

from greenlight.adapters.saved_files import VersionFiles, orphans, saved_source, secret_names
from greenlight.backup.contents import Source
from greenlight.backup.ports import CatalogueVersion
from greenlight.core.digest import manifest_of

FOLDER = "mlflow/artifacts/1/run/artifacts/model"


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "a home"
    (home / FOLDER / "sub").mkdir(parents=True)
    (home / FOLDER / "weights").write_bytes(b"12345")
    (home / FOLDER / "sub/config").write_bytes(b"{}")
    return home


def version_of(home, **changes):
    fields = {
        "model": "m", "version": 3, "digest": manifest_of(home / FOLDER).digest, "run_id": "run",
        "aliases": ("champion",), "folder": FOLDER,
    }  # fmt: skip
    return CatalogueVersion(**fields | changes)


def test_a_source_is_counted_whole_and_one_that_is_not_there_is_none(home):
    (home / "config.yaml").write_bytes(b"a: 1\n")
    folder = saved_source(home, Source(name="artifacts", path="mlflow/artifacts"))
    assert (folder.files, folder.bytes) == (2, 7)
    file = saved_source(home, Source(name="settings", path="config.yaml"))
    assert (file.files, file.bytes) == (1, 5)
    assert saved_source(home, Source(name="router", path="router")) is None


def test_secrets_are_named_and_a_home_without_any_has_none(home):
    assert secret_names(home) == ()
    for name in ("b", "a"):
        (home / "secrets").mkdir(exist_ok=True)
        (home / "secrets" / name).write_text("hidden")
    assert secret_names(home) == ("a", "b")


def test_a_whole_version_is_listed_by_paths_from_the_home(home):
    saved, problem = VersionFiles(home).of(version_of(home))
    assert problem is None
    assert [file.path for file in saved.files] == [f"{FOLDER}/sub/config", f"{FOLDER}/weights"]
    assert saved.aliases == ("champion",)


def test_files_of_another_digest_are_a_problem_with_both_digests(home):
    version = version_of(home)
    (home / FOLDER / "weights").write_bytes(b"other")
    _, problem = VersionFiles(home).of(version)
    assert version.digest[:12] in problem
    assert manifest_of(home / FOLDER).digest[:12] in problem


def test_one_file_more_is_a_problem_too(home):
    version = version_of(home)
    (home / FOLDER / "more").write_bytes(b"")
    assert VersionFiles(home).of(version)[1]


def test_a_version_without_files_is_a_problem(home):
    _, problem = VersionFiles(home).of(version_of(home, folder="mlflow/artifacts/1/gone/model"))
    assert problem == "m version 3 has no files in mlflow/artifacts/1/gone/model"


def rewrite_unseen(path, content):
    """Change a file so that neither its size nor its time of change tells."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_hash_that_was_kept_is_not_made_again_until_size_or_time_differ(home):
    version, weights = version_of(home), home / FOLDER / "weights"
    first = VersionFiles(home)
    first.of(version)
    first.keep()
    rewrite_unseen(weights, b"54321")
    assert VersionFiles(home).of(version)[1] is None
    os.utime(weights, ns=(1, 1))
    assert VersionFiles(home).of(version)[1]


def test_only_what_was_asked_for_is_kept(home):
    version = version_of(home)
    everything = VersionFiles(home)
    everything.of(version)
    everything.keep()
    nothing = VersionFiles(home)
    nothing.keep()
    rewrite_unseen(home / FOLDER / "weights", b"54321")
    assert VersionFiles(home).of(version)[1]


def test_kept_hashes_that_cannot_be_read_are_made_anew(home):
    (home / "cache").mkdir()
    (home / "cache/saved-files.json").write_text('{"cut')
    assert VersionFiles(home).of(version_of(home))[1] is None


def test_a_run_that_no_database_knows_is_an_orphan(home):
    known = "mlflow/artifacts/1/run/artifacts"
    stray = home / "mlflow/artifacts/1/stray/artifacts"
    stray.mkdir(parents=True)
    assert orphans(home, frozenset({known})) == (stray,)
    assert orphans(home, frozenset({known, "mlflow/artifacts/1/stray/artifacts"})) == ()
    assert orphans(home.with_name("nothing"), frozenset()) == ()
