"""Traffic as clients make it, through the router, while something is changed behind it.

For benchmarks and drills: open loop, unary and streams mixed, every answer checked to its end.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from greenlight.adapters.event_loop import loop_factory
from greenlight.adapters.load_plan import Arrival, LoadPlan, arrivals, in_time
from greenlight.adapters.timed_requests import FailureKind, TimedRequests
from greenlight.core.errors import RefusedError

START_S = 30.0
REASONS = 20
"""How many different reasons are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficCounts:
    """What became of the traffic so far. `failed` is everything that was not a checked answer.

    Of these, `non_2xx` had another status; `truncated` began and never came to their end;
    `miscounted` came to it with another number of tokens than their usage says. `reasons`: the
    first few different ones, with how often each came.
    """

    requests: int = 0
    streams: int = 0
    failed: int = 0
    non_2xx: int = 0
    truncated: int = 0
    miscounted: int = 0
    in_flight: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class Traffic:
    """Sends a plan to one address in a thread of its own, from `start` to `stop`."""

    def __init__(self, url: str, *, model: str, plan: LoadPlan) -> None:
        self._url, self._model, self._plan = url, model, plan
        self._finished = self._streams = self._failed = self._in_flight = 0
        self._kinds: Counter[FailureKind] = Counter()
        self._reasons: Counter[str] = Counter()
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sending: asyncio.Task[None] | None = None
        self._ended: Future[None] | None = None

    def start(self) -> None:
        """Begin to send.

        Raises:
            RefusedError: it has begun already.
        """
        if self._ended is not None:
            raise RefusedError("this traffic has been started already; make another")
        thread = ThreadPoolExecutor(1, thread_name_prefix="traffic")
        self._ended = thread.submit(self._in_thread, self._run())
        thread.shutdown(wait=False)
        self._started.wait(START_S)

    def stop(self) -> TrafficCounts:
        """Send no more, wait for every answer, and return what became of all requests.

        Raises:
            RefusedError: it was never started.
        """
        if self._ended is None or self._loop is None or self._sending is None:
            raise RefusedError("this traffic was never started")
        if not self._ended.done():
            self._loop.call_soon_threadsafe(self._sending.cancel)
        self._ended.result(self._plan.timeout_s + START_S)
        return self.counts

    @property
    def counts(self) -> TrafficCounts:
        """What became of the traffic so far; `requests` have finished, others are in flight."""
        return TrafficCounts(
            requests=self._finished,
            streams=self._streams,
            failed=self._failed,
            non_2xx=self._kinds[FailureKind.STATUS],
            truncated=self._kinds[FailureKind.TRUNCATED],
            miscounted=self._kinds[FailureKind.MISCOUNTED],
            in_flight=self._in_flight,
            reasons=dict(self._reasons),
        )

    def __enter__(self) -> Traffic:
        """Begin to send."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more, and wait for every answer."""
        self.stop()

    def _in_thread(self, work: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(work)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with (
            TimedRequests(timeout_s=self._plan.timeout_s) as requests,
            asyncio.TaskGroup() as group,
        ):
            self._sending = group.create_task(self._send_all(requests, group))
            self._started.set()

    async def _send_all(self, requests: TimedRequests, group: asyncio.TaskGroup) -> None:
        async for arrival, due in in_time(arrivals(self._plan)):
            if self._in_flight >= self._plan.max_in_flight:
                self._finished += 1
                self._fail(FailureKind.OVERLOAD, "not sent: too many requests were in flight")
            else:
                self._in_flight += 1
                group.create_task(self._send(requests, arrival, due))

    async def _send(self, requests: TimedRequests, arrival: Arrival, due: float) -> None:
        exchange = await requests.send(
            self._url,
            model=self._model,
            prompt=arrival.prompt,
            stream=arrival.stream,
            began=due,
        )
        self._in_flight -= 1
        self._finished += 1
        self._streams += arrival.stream
        if exchange.failure is not None:
            self._fail(exchange.failure.kind, exchange.failure.reason)

    def _fail(self, kind: FailureKind, reason: str) -> None:
        self._failed += 1
        self._kinds[kind] += 1
        if reason in self._reasons or len(self._reasons) < REASONS:
            self._reasons[reason] += 1
