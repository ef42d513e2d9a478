"""Routers as a service of their own: kept running, whatever happens to one of them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from greenlight.core.errors import RefusedError, UnavailableError
from greenlight.core.settings import Settings
from greenlight.entrypoints import production
from greenlight.entrypoints.production import keep_running


class FakeRouter:
    """Fails its first `failures` starts. After `looks` the test is over."""

    def __init__(self, ends: threading.Event, *, failures: int = 0, looks: int = 3) -> None:
        self.looked = 0
        self.runs = False
        self._ends, self._failures, self._looks = ends, failures, looks

    def ensure_running(self) -> bool:
        self.looked += 1
        if self.looked >= self._looks:
            self._ends.set()
        if self.looked <= self._failures:
            raise UnavailableError("its port is taken")
        started, self.runs = not self.runs, True
        return started


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production, "LOOK_S", 0.001)


def test_one_that_does_not_start_keeps_no_other_from_starting_and_is_tried_again() -> None:
    ends = threading.Event()
    bad, good = FakeRouter(ends, failures=2, looks=4), FakeRouter(ends, looks=99)
    keep_running({"bad": bad, "good": good}, until=ends)
    assert bad.runs
    assert good.runs
    assert good.looked == 4


def test_a_problem_is_said_when_it_begins_and_not_at_every_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ends = threading.Event()
    keep_running({"bad": FakeRouter(ends, failures=9, looks=9)}, until=ends)
    assert len([r for r in caplog.records if r.levelname == "ERROR"]) == 1


def test_the_routers_run_before_anybody_is_told_to_end() -> None:
    ends = threading.Event()
    ends.set()
    router = FakeRouter(ends)
    keep_running({"one": router}, until=ends)
    assert router.runs


def test_without_a_database_nothing_is_prepared(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="GREENLIGHT_DATABASE_URL_FILE"):
        production.prepare(Settings(home=tmp_path), make_buckets=True, report=lambda *_: None)
