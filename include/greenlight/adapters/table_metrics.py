"""Greenlight's own tables as metrics, read when Prometheus asks: a restart loses nothing.

Times are instants, so that "when did it last succeed" is a query. A part that can't be read says so
in `greenlight_exporter_up` and shows no number.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from greenlight.core.errors import GreenlightError
from greenlight.core.metrics import LabelName as Label
from greenlight.core.metrics import MetricName as Name
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import History, live, unfinished
from greenlight.gateway.api_keys import ApiKey
from greenlight.gateway.audit import Anchor
from greenlight.registry.approvals import Approval, Decision
from greenlight.scaling.kept import KeptSchedule
from greenlight.scaling.look_back import LookBack
from greenlight.scaling.schedule import Size

log = logging.getLogger(__name__)

Read = Callable[[], Iterable[Metric]]
"""Reads one part's tables now."""
KEY_STATES = ("active", "expired", "revoked")


class TableCollector(Collector):
    """Everything the parts say. One that fails doesn't silence the others."""

    def __init__(self, parts: Mapping[str, Read]) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """Read all tables."""
        up = GaugeMetricFamily(
            Name.EXPORTER_UP, "1: the part's tables were read just now.", labels=[Label.PART]
        )
        for part, read in self._parts.items():
            try:
                found = list(read())
            except GreenlightError as error:
                log.warning("%s can't be read: %s", part, error)
                up.add_metric([part], 0)
            else:
                up.add_metric([part], 1)
                yield from found
        yield up

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: what there is depends on the tables."""
        return []


def of_log_lines(by_level: Mapping[str, int]) -> list[Metric]:
    """Return how many lines this process has logged."""
    lines = CounterMetricFamily(
        Name.LOG_LINES.removesuffix("_total"), "Lines this service has logged.",
        labels=[Label.LEVEL],
    )  # fmt: skip
    for level, number in by_level.items():
        lines.add_metric([level], number)
    return [lines]


def of_rollouts(fleets: Iterable[tuple[Fleet, History]]) -> list[Metric]:
    """Return how rollouts ended, what runs, and what is live."""
    ended = CounterMetricFamily(
        Name.ROLLOUTS, "Rollouts that came to an end.", labels=[Label.FLEET, Label.OUTCOME]
    )
    last = GaugeMetricFamily(
        Name.ROLLOUT_LAST, "When the newest rollout with this outcome began.",
        labels=[Label.FLEET, Label.OUTCOME],
    )  # fmt: skip
    running = GaugeMetricFamily(
        Name.ROLLOUT_UNFINISHED, "When a rollout began that has no outcome yet.",
        labels=[Label.FLEET],
    )  # fmt: skip
    version = GaugeMetricFamily(
        Name.LIVE_VERSION, "The registered version that the fleet serves.",
        labels=[Label.FLEET, Label.MODEL, Label.COLOUR],
    )  # fmt: skip
    for fleet, history in fleets:
        outcomes = Counter(made.outcome for _, made in history if made.outcome is not None)
        for outcome, number in outcomes.items():
            began = max(one.started_at for one, made in history if made.outcome is outcome)
            ended.add_metric([fleet.name, outcome], number)
            last.add_metric([fleet.name, outcome], began.timestamp())
        if (open_one := unfinished(history)) is not None:
            running.add_metric([fleet.name], open_one.started_at.timestamp())
        if (alive := live(history)) is not None:
            version.add_metric([fleet.name, fleet.model, alive.colour], alive.version)
    return [ended, last, running, version]


def of_approvals(approvals: Sequence[Approval]) -> list[Metric]:
    """Return what people decided."""
    family = CounterMetricFamily(
        Name.APPROVALS, "What people decided about versions.", labels=[Label.DECISION]
    )
    counts = Counter(one.decision for one in approvals)
    for decision in Decision:
        family.add_metric([decision], counts[decision])
    return [family]


def of_keys(keys: Sequence[ApiKey], *, now: datetime) -> list[Metric]:
    """Return how many keys there are, and the ages that an operator minds."""
    number = GaugeMetricFamily(Name.API_KEYS, "Keys of the gateway.", labels=[Label.STATE])
    counts = Counter(key.state(now) for key in keys)
    for state in KEY_STATES:
        number.add_metric([state], counts[state])
    active = [key for key in keys if key.state(now) == "active"]
    made = [key.rotated_at or key.created_at for key in active]
    ends = [key.expires_at for key in active if key.expires_at is not None]
    return [
        number,
        _instant(Name.API_KEY_OLDEST, "When the oldest secret in use was made.", made),
        _instant(Name.API_KEY_NEXT_EXPIRY, "When the next active key expires.", ends),
    ]


def of_audit(head: Anchor | None) -> list[Metric]:
    """Return where the audit log ends."""
    number = GaugeMetricFamily(Name.AUDIT_RECORDS, "Number of the audit log's last record.")
    number.add_metric([], head.number if head else 0)
    ended = [head.at] if head else []
    return [number, _instant(Name.AUDIT_LAST, "When the last record was chained.", ended)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSchedule:
    """What is known of a fleet's schedule. `size`: that holds now; `waiting`: for approval."""

    fleet: str
    applied: KeptSchedule | None
    size: Size | None
    waiting: KeptSchedule | None
    day: LookBack | None


def of_schedules(fleets: Iterable[FleetSchedule]) -> list[Metric]:
    """Return what is planned now, since when, what waits, and how the last day went."""
    by_fleet = [Label.FLEET]
    hosts = GaugeMetricFamily(
        Name.SCHEDULE_HOSTS, "Hosts that the schedule wants now.", labels=[*by_fleet, Label.BOUND]
    )
    applied = GaugeMetricFamily(
        Name.SCHEDULE_APPLIED, "When a schedule was applied last.", labels=by_fleet
    )
    waiting = GaugeMetricFamily(
        Name.SCHEDULE_WAITING, "When the schedule was made that waits for approval.",
        labels=by_fleet,
    )  # fmt: skip
    slo = GaugeMetricFamily(
        Name.SCHEDULE_SLO, "Share of a day's demand that found enough hosts.",
        labels=[*by_fleet, Label.KIND],
    )  # fmt: skip
    day = GaugeMetricFamily(Name.SCHEDULE_DAY, "Which day that share is of.", labels=by_fleet)
    for one in fleets:
        if one.size is not None:
            hosts.add_metric([one.fleet, "minimum"], one.size.minimum)
            hosts.add_metric([one.fleet, "desired"], one.size.desired)
            hosts.add_metric([one.fleet, "maximum"], one.size.maximum)
        if one.applied is not None and one.applied.applied_at is not None:
            applied.add_metric([one.fleet], one.applied.applied_at.timestamp())
        if one.waiting is not None:
            waiting.add_metric([one.fleet], one.waiting.made_at.timestamp())
        if one.day is not None:
            slo.add_metric([one.fleet, "planned"], one.day.planned_slo_pct / 100)
            slo.add_metric([one.fleet, "real"], one.day.slo_pct / 100)
            at = datetime.combine(one.day.day, datetime.min.time(), UTC)
            day.add_metric([one.fleet], at.timestamp())
    return [hosts, applied, waiting, slo, day]


def _instant(name: Name, what: str, times: Sequence[datetime]) -> Metric:
    """Return the earliest of some instants; without any there is no sample."""
    family = GaugeMetricFamily(name, what)
    if times:
        family.add_metric([], min(times).timestamp())
    return family
