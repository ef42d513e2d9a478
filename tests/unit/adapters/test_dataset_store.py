import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from greenlight.adapters.dataset_store import DatasetStore
from greenlight.core.digest import digest_bytes
from greenlight.core.errors import InputError
from greenlight.core.files import folder_in_the_making
from greenlight.quantize.datasets import TextRow
from greenlight.quantize.jobs import Dataset, DatasetKind


@pytest.fixture
def store(tmp_path):
    return DatasetStore(tmp_path / "datasets")


def add(store: DatasetStore, text: str = "one", **other) -> Dataset:
    facts = {"name": "notes", "kind": DatasetKind.TEXT, "licence": "mit", "source": "test"}
    rows = [TextRow(id="a", text=text)]
    return store.add(**(facts | {"rows": rows} | other))


def test_what_was_added_is_loaded(store):
    added = add(store)
    assert store.load("notes") == added
    assert added.path.is_absolute()
    assert added.digest == digest_bytes(added.path.read_bytes())
    assert (added.version, added.rows) == ("1", 1)


def test_adding_the_same_again_changes_nothing(store):
    before = add(store).path.stat().st_mtime_ns
    assert add(store).path.stat().st_mtime_ns == before
    assert add(store, version="1").version == "1"
    assert len(store.list()) == 1


def test_other_rows_are_the_next_version_and_the_newest_is_loaded(store):
    for text in ("one", "two", *"3456789", "ten"):
        add(store, text)
    assert store.load("notes").version == "10"
    assert store.load("notes", "2").path.read_bytes() != store.load("notes").path.read_bytes()
    assert [d.version for d in store.list()] == [str(n) for n in range(1, 11)]


def test_a_version_never_changes(store):
    add(store, version="2024-05")
    with pytest.raises(InputError, match=r"version 2024-05 is there already.*another version"):
        add(store, "two", version="2024-05")
    with pytest.raises(InputError, match="is there already"):
        add(store, version="2024-05", licence="cc-by-4.0")


def test_an_edited_file_is_refused_with_both_digests_and_not_overwritten(store):
    dataset = add(store)
    dataset.path.write_text('{"id": "a", "text": "edited"}\n')
    edited = digest_bytes(dataset.path.read_bytes())
    with pytest.raises(InputError) as caught:
        store.load("notes")
    assert dataset.digest[:12] in str(caught.value)
    assert edited[:12] in str(caught.value)
    with pytest.raises(InputError):
        add(store)
    assert digest_bytes(dataset.path.read_bytes()) == edited


def test_a_deleted_file_is_written_again(store):
    add(store).path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        store.load("notes")
    add(store)
    assert store.load("notes").rows == 1


def test_an_unknown_set_lists_those_there_are(store):
    with pytest.raises(InputError, match="data build"):
        store.load("letters")
    add(store)
    add(store, name="quiz")
    with pytest.raises(InputError, match="no data set 'letters'; there are: notes, quiz"):
        store.load("letters")
    with pytest.raises(InputError, match="no version '7'; there are: 1"):
        store.load("notes", "7")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "../notes"}, "name"),
        ({"name": ""}, "name"),
        ({"version": "a/b"}, "version"),
        ({"licence": " "}, "needs a licence"),
        ({"rows": b""}, "holds no row"),
        ({"rows": b"{}\n"}, "line 1: field id"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(store, change, said):
    with pytest.raises(InputError, match=said):
        add(store, **change)
    assert store.list() == ()


def test_names_from_outside_do_not_leave_the_store(store, tmp_path):
    add(DatasetStore(tmp_path / "other"))
    with pytest.raises(InputError, match="no data set"):
        store.load("../other/notes")
    add(store)
    with pytest.raises(InputError, match="no version"):
        store.load("notes", "../../../other/notes/1")


def test_damaged_metadata_is_named(store):
    dataset = add(store)
    dataset.path.with_name("dataset.json").write_text("{")
    with pytest.raises(InputError, match=r"dataset\.json is damaged"):
        store.load("notes")


def test_a_store_may_be_moved(store, tmp_path):
    add(store)
    (tmp_path / "datasets").rename(tmp_path / "moved")
    assert DatasetStore(tmp_path / "moved").load("notes").path.is_relative_to(tmp_path / "moved")


def _add_and_stop(root: Path) -> None:
    with folder_in_the_making(root / "notes/1"):
        time.sleep(60)


def test_a_killed_process_leaves_no_half_version(store, tmp_path):
    root = tmp_path / "datasets"
    worker = multiprocessing.get_context("spawn").Process(target=_add_and_stop, args=(root,))
    worker.start()
    while not list(root.glob("notes/.1.making-*")):
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert store.list() == ()
    assert add(store).version == "1"
    assert [path.name for path in (root / "notes").iterdir()] == ["1"]
