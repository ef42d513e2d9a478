"""What the page's panels say, as plain values. `None` is unknown everywhere: never 0, never "fine".

Each panel is read by itself: one that could not be read is an `Unread`, and the others still show.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from greenlight.backup.history import BackupRun, DrillRecord
from greenlight.core.types import JsonDict
from greenlight.cost.report import AdviceRow
from greenlight.deploy.colours import Colour
from greenlight.deploy.rules import Verdict
from greenlight.scaling.look_back import LookBack
from greenlight.scaling.schedule import Size


class PanelName(StrEnum):
    """The panels, in the order of the page. The values are parts of addresses."""

    FLEETS = "fleets"
    ROLLOUTS = "rollouts"
    REVIEW = "review"
    HISTORY = "history"
    COST = "cost"
    ADVICE = "advice"
    SCHEDULES = "schedules"
    BACKUPS = "backups"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A panel of which nothing is known now."""

    why: str


class Health(StrEnum):
    """How a slot stands, as the router has it."""

    SERVING = "serving"
    READY = "ready, gets no traffic"
    DRAINING = "draining"
    DOWN = "down"
    RESTING = "resting"
    """In maintenance: nothing runs there, or nobody is to be sent there."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRow:
    """One colour of one host. `share`: of the fleet's new requests, 0 to 1.

    `version`, `digest`: what was brought there last and not taken away; `None`: nothing is.
    """

    host: str
    colour: Colour
    role: str
    version: int | None
    digest: str | None
    health: Health
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCard:
    """One fleet. `why_no_router`: why health and shares are unknown."""

    name: str
    model: str
    slots: tuple[SlotRow, ...]
    changed_by: str | None
    why_no_router: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetsPanel:
    """What serves where."""

    fleets: tuple[FleetCard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """The newest look at both colours. `ended`: of a step that is over.

    `rules`: as `RuleResult.to_json` gives them.
    """

    where: str
    looked_at: datetime
    ended: bool
    verdict: Verdict
    elapsed_s: float
    step_max_s: float
    n_old: int | None
    n_new: int
    rules: tuple[JsonDict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutCard:
    """A rollout on its way. `doing`: its newest step; `goes_back`: why, once it does."""

    fleet: str
    id: str
    model: str
    version: int
    previous_version: int | None
    colour: Colour
    strategy: str
    started_at: datetime
    started_by: str
    share: int
    doing: str
    since: datetime
    goes_back: str | None
    comparison: ComparisonView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutsPanel:
    """What is on its way."""

    running: tuple[RolloutCard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRollout:
    """A rollout as history tells it. `can_go_back`: the fleet could be brought to its version."""

    fleet: str
    id: str
    version: int
    digest: str
    colour: Colour
    outcome: str
    reason: str
    started_at: datetime
    started_by: str
    is_live: bool
    can_go_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPanel:
    """The newest rollouts of all fleets, newest first. `shown_of`: how many there are."""

    rows: tuple[PastRollout, ...]
    shown_of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """How a fleet would go back. `running`: the rollout that is on its way; `None`: none is.

    `now`, `to`: versions; `to` is `None` where nothing was live before. `seen`: what the question
    is about; an answer after it changed is refused. `ways`: rollouts to choose from.
    """

    fleet: str
    running: str | None
    now: int
    to: int | None
    seen: str
    ways: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingVersion:
    """A version with evidence that may not go live yet. `url`: its page in MLflow."""

    model: str
    version: int
    digest: str
    recipe: str
    verdict: str
    made_at: datetime
    why: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSchedule:
    """A schedule that waits for a yes."""

    fleet: str
    digest: str
    made_at: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPanel:
    """What waits for a person."""

    versions: tuple[WaitingVersion, ...]
    schedules: tuple[WaitingSchedule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPanel:
    """Today and the month. Money is in `currency`.

    `today`: of the hours that have a bill; `today_missing`: how many have none. `report_at`: when
    the report was made that the rest is from; `None`: there is none yet.
    """

    currency: str
    today: Decimal | None
    today_hours: int
    today_missing: int
    report_at: datetime | None = None
    headline: str = ""
    standing: str = ""
    month: Decimal | None = None
    expected: Decimal | None = None
    expected_low: Decimal | None = None
    expected_high: Decimal | None = None
    expected_by: date | None = None
    why_no_forecast: str | None = None
    report_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedAdvice:
    """A piece of advice. `row`: as the cost report tells it."""

    id: str
    row: AdviceRow
    changed_by: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvicePanel:
    """What could be saved. `monthly_saving`: of all that is open or accepted, each host once."""

    currency: str
    advice: tuple[OfferedAdvice, ...]
    monthly_saving: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRow:
    """One policy on the replayed days. `over_oracle`: its GPU-hours against the cheapest."""

    policy: str
    slo_pct: float
    gpu_hours: float
    over_oracle: float
    starts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayView:
    """A schedule's rules beside others on the newest days. `why_not`: it could not be replayed."""

    made_at: datetime
    first: date | None = None
    last: date | None = None
    rows: tuple[ReplayRow, ...] = ()
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCard:
    """A fleet's schedule. `ahead`: the size in each hour from now on; `days`: newest first.

    `applied_at`: `None`: nothing is applied.
    """

    fleet: str
    digest: str | None
    applied_at: datetime | None
    applied_by: str
    expected_slo_pct: float | None
    gpu_hours: float | None
    now: Size | None
    ahead: tuple[tuple[datetime, Size], ...]
    days: tuple[LookBack, ...]
    replay: ReplayView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulesPanel:
    """Capacity that is planned."""

    fleets: tuple[ScheduleCard, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupsPanel:
    """Backups and what was proven of them. `drills`: the newest of each region.

    `faults`: the newest of each damage that was planted on purpose.
    """

    runs: tuple[BackupRun, ...]
    regions: tuple[str, ...]
    drills: tuple[DrillRecord, ...]
    faults: tuple[DrillRecord, ...]
    rto_s: float
    rpo_s: float


Panel = (
    FleetsPanel
    | RolloutsPanel
    | ReviewPanel
    | HistoryPanel
    | CostPanel
    | AdvicePanel
    | SchedulesPanel
    | BackupsPanel
)
