"""The seeded, open-loop load on blue and green: the same requests at the same instants to both.

Open loop: requests are sent when they are due, whatever became of those before. A client that waits
for answers sends a slow engine fewer requests, and then measures how well it does with few.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from itertools import takewhile

from greenlight.adapters.event_loop import loop_factory
from greenlight.adapters.load_plan import Arrival, LoadPlan, arrivals, in_time
from greenlight.adapters.timed_requests import Exchange, Failure, FailureKind, TimedRequests
from greenlight.deploy.analysis import Sample
from greenlight.deploy.ports import Target

log = logging.getLogger(__name__)

LATE_S = 0.1
"""A client that sends later than this is itself part of what it measures."""

STOP_POLL_S = 0.1

OnSample = Callable[[Sample], None]


class OpenLoopLoad:
    """Implements `deploy.ports.Prober`. Every run sends the plan from its beginning."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan

    def run(
        self,
        targets: Sequence[Target],
        *,
        seconds: float,
        on_sample: OnSample,
        stop: threading.Event | None = None,
    ) -> None:
        """Send the load to every target for `seconds`; return when every request is reported.

        Once `stop` is set nothing more is sent, and what is under way is given up unreported.

        `on_sample` is called in this thread, as requests finish; `at_s` of a sample is the planned
        arrival, in seconds since the run began. What `on_sample` raises ends the run and is raised
        here. May be called in any thread, but not inside a running event loop.
        """
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._unless_stopped(self._run(targets, seconds, on_sample), stop))

    async def _unless_stopped(
        self, sending: Coroutine[None, None, None], stop: threading.Event | None
    ) -> None:
        task = asyncio.ensure_future(sending)
        while not task.done():
            if stop is not None and stop.is_set():
                task.cancel()
            await asyncio.wait([task], timeout=STOP_POLL_S)
        if not task.cancelled():
            task.result()

    async def _run(self, targets: Sequence[Target], seconds: float, on_sample: OnSample) -> None:
        planned = takewhile(lambda arrival: arrival.at_s < seconds, arrivals(self._plan))
        latest = 0.0
        try:
            async with (
                TimedRequests(timeout_s=self._plan.timeout_s) as requests,
                asyncio.TaskGroup() as group,
            ):
                lanes = [
                    _Lane(target, self._plan, requests=requests, group=group, on_sample=on_sample)
                    for target in targets
                ]
                async for arrival, due in in_time(planned):
                    latest = max(latest, time.monotonic() - due)
                    # By turns: who is always second is always a little later.
                    for lane in lanes if arrival.number % 2 else reversed(lanes):
                        lane.offer(arrival, due)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        if latest > LATE_S:
            log.warning("load: this machine sent up to %.2f s late; its times are doubtful", latest)


class _Lane:
    """The requests to one target."""

    def __init__(
        self,
        target: Target,
        plan: LoadPlan,
        *,
        requests: TimedRequests,
        group: asyncio.TaskGroup,
        on_sample: OnSample,
    ) -> None:
        self._target, self._plan = target, plan
        self._requests, self._group, self._on_sample = requests, group, on_sample
        self._in_flight = 0

    def offer(self, arrival: Arrival, due: float) -> None:
        """Send a request without waiting for it."""
        if self._in_flight >= self._plan.max_in_flight:
            reason = f"not sent: {self._in_flight} requests were in flight, the most allowed"
            refused = Exchange(failure=Failure(kind=FailureKind.OVERLOAD, reason=reason))
            self._on_sample(self._sample(arrival, refused))
            return
        self._in_flight += 1
        self._group.create_task(self._send(arrival, due))

    async def _send(self, arrival: Arrival, due: float) -> None:
        try:
            exchange = await self._requests.send(
                self._target.url,
                model=self._target.model,
                prompt=arrival.prompt,
                stream=arrival.stream,
                began=due,
            )
        finally:
            self._in_flight -= 1
        self._on_sample(self._sample(arrival, exchange))

    def _sample(self, arrival: Arrival, exchange: Exchange) -> Sample:
        ok = exchange.failure is None
        expected = arrival.prompt.expected if ok and self._target.recorded else None
        return Sample(
            colour=self._target.colour,
            prompt=arrival.prompt.id,
            at_s=arrival.at_s,
            ok=ok,
            ttft_s=exchange.ttft_s,
            gap_s=exchange.gap_s,
            total_s=exchange.total_s,
            tokens=exchange.tokens,
            finish=exchange.finish,
            agrees=None if expected is None else exchange.text == expected,
            reason=exchange.failure.reason if exchange.failure else None,
        )
