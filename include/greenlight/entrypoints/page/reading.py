"""Read panels side by side, each within its time; one that can't be read says why.

One reading of a panel at a time: whoever asks meanwhile gets the same answer, so that a service
that hangs holds one thread and not one a visitor.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all

from greenlight.adapters.page.panels import Panel, PanelName, Unread
from greenlight.core.errors import GreenlightError

log = logging.getLogger(__name__)

WITHIN_S = 8.0
"""A person waits no longer for a page, whatever hangs."""

Read = Callable[[], Panel]


class Reader:
    """Reads the panels of one process."""

    def __init__(
        self,
        panels: Mapping[PanelName, Read],
        *,
        within_s: float = WITHIN_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._panels, self._within_s, self._monotonic = panels, within_s, monotonic
        self._pool = ThreadPoolExecutor(len(panels), thread_name_prefix="greenlight-page")
        self._lock = threading.Lock()
        self._under_way: dict[PanelName, tuple[Future[Panel], float]] = {}

    def read(self, names: Iterable[PanelName]) -> dict[PanelName, Panel | Unread]:
        """Return these panels, in this order."""
        asked = {name: self._begin(name) for name in names}
        wait_for_all([future for future, _ in asked.values()], timeout=self._within_s)
        return {name: self._answer(name, *begun) for name, begun in asked.items()}

    def _begin(self, name: PanelName) -> tuple[Future[Panel], float]:
        with self._lock:
            begun = self._under_way.get(name)
            if begun is None or begun[0].done():
                begun = (self._pool.submit(self._panels[name]), self._monotonic())
                self._under_way[name] = begun
            return begun

    def _answer(self, name: PanelName, future: Future[Panel], begun: float) -> Panel | Unread:
        if not future.done():
            waited = self._monotonic() - begun
            return Unread(why=f"no answer within {waited:.0f} s")
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, GreenlightError):
            log.warning("panel %s can't be read: %s", name, error)
            return Unread(why=str(error))
        log.error("panel %s can't be read", name, exc_info=error)
        return Unread(why=f"a fault of the page itself ({type(error).__name__}); see the log of "
                          "the API server")  # fmt: skip
