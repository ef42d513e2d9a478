"""`greenlight scaling aws-loop`: what an Auto Scaling group can't do by itself.

It tells the group the load that its target tracking follows, and drains hosts before AWS takes
them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from greenlight.adapters.aws_loop_metrics import AwsLoopMetrics
from greenlight.core.clock import Clock
from greenlight.core.errors import ConfigError, RefusedError, RetryableError
from greenlight.core.settings import Settings, load_settings
from greenlight.cost.spot.notice import NoticeKind
from greenlight.entrypoints.fleet_load import PublishedLoad
from greenlight.entrypoints.fleet_loop import keep_looking
from greenlight.entrypoints.host_notices import UNKNOWN, HostNotices, Outcome
from greenlight.entrypoints.scaling import read_kept
from greenlight.scaling.ports import ScheduleStore
from greenlight.scaling.scaling_file import AwsGroup

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class AwsLoop:
    """The loop of one fleet. `load`, `notices`: none: scaling.yaml asks for no such thing."""

    fleet: str
    load: PublishedLoad | None
    notices: HostNotices | None
    metrics: AwsLoopMetrics

    def run(
        self,
        *,
        every_s: float,
        stop: threading.Event,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """Look again and again, as `fleet_loop.Loop`.

        What an operator has to change is told, and doesn't end it: hosts in hand would be left.
        """
        keep_looking(self._look, fleet=self.fleet, every_s=every_s, stop=stop, looked=looked)

    def _look(self) -> tuple[str, int]:
        try:
            return "; ".join(self.cycle()), logging.INFO
        except ConfigError as error:
            return str(error), logging.ERROR

    def cycle(self, *, dry_run: bool = False) -> tuple[str, ...]:
        """Look once; return what was, or would be, done. Neither half holds the other up.

        Raises:
            ConfigError: AWS refuses; an operator has to change something.
        """
        said: tuple[str, ...] = ()
        refused: list[ConfigError] = []
        for half in (self.notices, self.load):
            if half is None:
                continue
            try:
                said += half.look(dry_run=dry_run)
            except (RetryableError, RefusedError) as error:
                said += (f"held: {error}",)
            except ConfigError as error:
                refused.append(error)
        if not dry_run:
            in_hand = self.notices.in_hand.values() if self.notices else ()
            self.metrics.write(
                being_taken=len({held.host for held in in_hand}),
                published=self.load.told_at if self.load else None,
            )
        if refused:
            raise refused[0]
        return said


def open_aws_loop(fleet: str, settings: Settings | None = None) -> AwsLoop | None:
    """Return the loop of a fleet whose target is an Auto Scaling group; `None`: another, or none.

    Raises:
        ConfigError, RefusedError: as `scaling_tools.open_tools`.
    """
    from greenlight.adapters.aws_events import AutoScalingEnds, SqsEvents
    from greenlight.adapters.aws_load import CloudWatchLoad
    from greenlight.entrypoints.rollout_tools import open_tools as open_rollout_tools
    from greenlight.entrypoints.scaling_tools import open_tools

    settings = settings or load_settings()
    scaling = open_tools(fleet, settings)
    target = scaling.scaling.target
    if not isinstance(target, AwsGroup):
        return None
    tools = open_rollout_tools(settings, fleet)
    metrics = AwsLoopMetrics(
        settings.metrics, fleet=fleet, kinds=[*NoticeKind, UNKNOWN], outcomes=Outcome
    )
    load = notices = None
    if target.target_tracking:
        load = PublishedLoad(
            fleet=fleet,
            source=scaling.source,
            router=tools.router,
            sink=CloudWatchLoad(fleet, region=target.region),
            clock=tools.clock,
        )
    if target.events is not None:
        notices = HostNotices(
            tools=tools,
            queue=SqsEvents(target.events, region=target.region),
            hook=AutoScalingEnds(target.group, region=target.region),
            drain_s=scaling.scaling.drain_s,
            needed=lambda: needed_hosts(scaling.store, fleet, clock=tools.clock),
            count=metrics.count,
        )
    return AwsLoop(fleet=fleet, load=load, notices=notices, metrics=metrics)


def needed_hosts(store: ScheduleStore, fleet: str, *, clock: Clock) -> int | None:
    """Return how many hosts the applied schedule wants now; `None`: none is applied."""
    kept = store.applied(fleet)
    return None if kept is None else read_kept(kept).at(clock.now()).desired
