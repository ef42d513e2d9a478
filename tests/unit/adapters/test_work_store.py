import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from greenlight.adapters.work_store import WorkStore


def a_store(tmp_path: Path) -> WorkStore:
    return WorkStore(root=tmp_path)


def test_the_same_inputs_are_worked_on_once(tmp_path):
    store, calls = a_store(tmp_path), []
    for _ in range(2):
        assert store.once("k", {"a": 1}, lambda _: calls.append(1) or {"b": 2}) == {"b": 2}
    assert len(calls) == 1


def test_other_inputs_are_other_work(tmp_path):
    store = a_store(tmp_path)
    store.once("k", {"a": 1}, lambda _: {"b": 1})
    assert store.once("k", {"a": 2}, lambda _: {"b": 2}) == {"b": 2}


def test_work_that_raised_is_done_again(tmp_path):
    store = a_store(tmp_path)

    def fail(folder):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.once("k", {}, fail)
    assert store.find("k", {}) is None
    assert store.once("k", {}, lambda _: {"ok": True}) == {"ok": True}


def test_a_result_whose_folder_is_gone_is_done_again(tmp_path):
    store = a_store(tmp_path)

    def make(folder):
        folder.mkdir()
        return {"path": str(folder)}

    done = store.once("k", {}, make, leaves_folder=True)
    Path(done["path"]).rmdir()
    store.once("k", {}, make, leaves_folder=True)
    assert Path(done["path"]).is_dir()


def _hold(root: Path) -> None:
    WorkStore(root=root).once("k", {}, lambda _: time.sleep(60) or {})


def test_a_killed_worker_leaves_no_lock_and_no_result(tmp_path):
    worker = multiprocessing.get_context("spawn").Process(target=_hold, args=(tmp_path,))
    worker.start()
    while not list(tmp_path.glob("k/*.lock")):
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert a_store(tmp_path).once("k", {}, lambda _: {"by": "the next"}) == {"by": "the next"}


def test_the_journal_keeps_what_was_run(tmp_path):
    store = a_store(tmp_path)
    store.journal({"job": "quantize", "seconds": 1.5})
    assert store.journalled() == [{"job": "quantize", "seconds": 1.5}]
