from __future__ import annotations

import asyncio
import sys

import pytest

from greenlight.adapters.event_loop import loop_factory


async def which() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_uvloop_is_taken_where_it_is_installed() -> None:
    pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert runner.run(which()) == "uvloop"


def test_pythons_own_loop_does_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        assert runner.run(which()).startswith("asyncio")
