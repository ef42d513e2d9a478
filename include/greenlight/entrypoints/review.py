"""Deploy what somebody points at in the registry: at once when it tells us, else in the next hour.

The webhook and the reconcile run ask the same question of the same tables and give a deploy the
same id, so a wish is carried out once however often it is heard of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import ConfigError, InputError, PermanentError, RetryableError
from greenlight.core.settings import Settings, load_settings, read_config
from greenlight.core.types import JsonDict
from greenlight.deploy.fleet import Fleet, FleetFile
from greenlight.deploy.journal import history_of
from greenlight.deploy.ports import JournalStore, LeaseStore
from greenlight.deploy.review import Decision, Verdict, Wish, decide, serves
from greenlight.entrypoints.reconcile import requested_run
from greenlight.entrypoints.version_page import DEPLOY_DAG
from greenlight.registry.approvals import Decision as Said
from greenlight.registry.tags import REQUESTED, Alias, Tag
from greenlight.registry.webhook import (
    ENDPOINT,
    EVENTS,
    AliasSet,
    Delivery,
    TagSet,
    parse_event,
    why_not_trusted,
)

if TYPE_CHECKING:
    from greenlight.registry.ports import ModelRegistry

log = logging.getLogger(__name__)

SECRET = "mlflow_webhook"  # noqa: S105 - the name of its file
QUANTIZE_DAG = "quantize_and_validate"
QUANTIZE, APPROVED = (Tag.QUANTIZE, REQUESTED), (Tag.APPROVAL, Said.APPROVED)
"""The tags, with their values, that start something."""
LONGEST_ANSWER = 1000
STARTED, NOTHING, UNTRUSTED, WRONG, STALE, REFUSED, AWAY = 202, 200, 401, 400, 409, 422, 503
"""HTTP statuses. MLflow sends a delivery again after 503 only."""


class StartRun(Protocol):
    """Starts a DAG run under an id of our own."""

    def __call__(self, dag_id: str, *, run_id: str, conf: JsonDict) -> bool:
        """Return true when it is new, false when a run of this id exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the sender of a delivery is told."""

    status: int
    body: JsonDict


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What decisions are made from. `standing` answers as `approvals.standing` does."""

    fleets: Sequence[Fleet]
    registry: ModelRegistry
    journal: JournalStore
    leases: LeaseStore
    standing: Callable[..., JsonDict]

    def wish(self, fleet: Fleet) -> Wish | None:
        """Return what is wanted on a fleet; an alias of its own goes before the one for all."""
        for alias in (f"{Alias.DEPLOY}-{fleet.name}", str(Alias.DEPLOY)):
            found = self.registry.find(fleet.model, tags={}, alias=alias)
            if found is not None:
                return Wish(
                    fleet=fleet.name,
                    model=fleet.model,
                    version=found.version,
                    digest=found.digest,
                )
        return None

    def decide(self, wish: Wish) -> Decision:
        """Look at the fleet's journal and the version's approval.

        Raises:
            UnavailableError: the registry or the database does not answer.
        """
        history, lease = history_of(self.journal, wish.fleet), self.leases.current(wish.fleet)
        refusal = None
        if not serves(history, wish.digest):
            refusal = self._refusal(wish)
        changed_by = None if lease is None else lease.holder
        return decide(wish, history, refusal=refusal, changed_by=changed_by)

    def _refusal(self, wish: Wish) -> str | None:
        try:
            now = self.standing(model=wish.model, version=wish.version)
        except PermanentError as error:  # its evidence can't be read; other wishes go on
            return str(error)
        return None if now["approved"] else str(now["reason"])

    def note(self, decisions: Sequence[Decision]) -> None:
        """Write on each version what became of the wish, where its page shows it."""
        for version in {(d.wish.model, d.wish.version) for d in decisions}:
            about = [d for d in decisions if (d.wish.model, d.wish.version) == version]
            said = "; ".join(f"{d.verdict}: {d.reason}" for d in about)[:LONGEST_ANSWER]
            found = self.registry.get(*version)
            if found.tag(Tag.DEPLOY_ANSWER) != said:
                tags = {str(Tag.DEPLOY_ANSWER): said}
                self.registry.set_tags(found.model, version=found.version, tags=tags)


def open_review(settings: Settings) -> Review:
    """Open everything from the settings.

    Raises:
        ConfigError: fleet.yaml is wrong.
        RefusedError: no database or registry is configured, and the embedded stack is not up.
    """
    from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
    from greenlight.entrypoints import approvals, stack
    from greenlight.entrypoints.models import open_registry

    engine, registry = stack.open_database(settings), open_registry(settings)
    return Review(
        fleets=read_config(settings.config_file("fleet"), FleetFile).fleets,
        registry=registry,
        journal=DatabaseJournal(engine),
        leases=DatabaseLeases(engine),
        standing=partial(approvals.standing, settings, registry=registry),
    )


def answer(
    delivery: Delivery,
    *,
    start: StartRun,
    settings: Settings | None = None,
    open_parts: Callable[[Settings], Review] = open_review,
    clock: Clock | None = None,
) -> Answer:
    """Carry out what a webhook's delivery asks for; whatever goes wrong is an answer too."""
    from greenlight.adapters.stack.secrets import load_secret

    settings = settings or load_settings()
    try:
        secret = load_secret(settings.secrets, SECRET)
    except ConfigError as error:
        log.error("the webhook can't be answered: %s", error)
        return Answer(status=AWAY, body={"refused": "this server has no secret for the webhook"})
    distrust = why_not_trusted(delivery, secret=secret, now=(clock or SystemClock()).now())
    if distrust is not None:
        log.warning("delivery %.60r is refused: %s", delivery.id, distrust)
        return Answer(status=UNTRUSTED, body={"refused": distrust})
    try:
        event = parse_event(delivery.body)
    except InputError as error:
        return Answer(status=WRONG, body={"refused": str(error)})
    if event is None or not _asks(event):
        return Answer(status=NOTHING, body={"ignored": "it asks for nothing"})
    try:
        made = _react(open_parts(settings), event, start)
    except RetryableError as error:
        made = Answer(status=AWAY, body={"refused": str(error)})
    except PermanentError as error:
        made = Answer(status=REFUSED, body={"refused": str(error)})
    log.info("%s of %s version %d: %s", type(event).__name__, event.name, event.version, made.body)
    return made


def requested_deploys(review: Review | None = None) -> list[JsonDict]:
    """Return `{"trigger_run_id", "conf"}` for every wish that is not carried out.

    A run that exists already is not started again, so one that failed waits for a person.
    """
    review = review or open_review(load_settings())
    wishes = [wish for fleet in review.fleets if (wish := review.wish(fleet))]
    decisions = [review.decide(wish) for wish in wishes]
    review.note(decisions)
    for decision in decisions:
        log.info("%s: %s", decision.verdict, decision.reason)
    return [
        {"trigger_run_id": d.run_id, "conf": d.conf}
        for d in decisions
        if d.verdict is Verdict.START
    ]


def register(url: str, settings: Settings | None = None) -> bool:
    """Let the configured MLflow tell Airflow at `url`, without a path; return whether it is new.

    Raises:
        ConfigError: there is no secret for it, or MLflow refuses the address.
        UnavailableError: MLflow does not answer.
    """
    from greenlight.adapters.mlflow_webhooks import ensure_webhook
    from greenlight.adapters.stack.secrets import load_secret
    from greenlight.entrypoints import stack

    settings = settings or load_settings()
    return ensure_webhook(
        stack.mlflow_url(settings),
        url=f"{url.rstrip('/')}{ENDPOINT}",
        secret=load_secret(settings.secrets, SECRET),
        events=EVENTS,
    )


def _asks(event: AliasSet | TagSet) -> bool:
    """Return whether an event may start something; a registration alone sets a dozen tags."""
    if isinstance(event, AliasSet):
        return event.alias.partition("-")[0] == Alias.DEPLOY
    return (event.key, event.value) in (QUANTIZE, APPROVED)


def _react(review: Review, event: AliasSet | TagSet, start: StartRun) -> Answer:
    if isinstance(event, AliasSet):
        return _pointed(review, event, start)
    if (event.key, event.value) == QUANTIZE:
        run = requested_run(review.registry.get(event.name, event.version))
        is_new = start(QUANTIZE_DAG, run_id=run["trigger_run_id"], conf=run["conf"])
        return Answer(
            status=STARTED if is_new else NOTHING,
            body={"run_id": run["trigger_run_id"], "is_new": is_new},
        )
    fleets = [fleet for fleet in review.fleets if fleet.model == event.name]
    return _carry_out(review, event, fleets, start)


def _pointed(review: Review, event: AliasSet, start: StartRun) -> Answer:
    name = event.alias.partition("-")[2]
    fleets = [f for f in review.fleets if f.model == event.name and name in ("", f.name)]
    if not fleets:
        which = f"fleet {name}" if name else "fleet"
        known = ", ".join(f"{f.name} ({f.model})" for f in review.fleets)
        return Answer(
            status=REFUSED,
            body={"refused": f"no {which} serves model {event.name}; there are {known}"},
        )
    now = review.registry.find(event.name, tags={}, alias=event.alias)
    if now is None or now.version != event.version:
        points = "nowhere" if now is None else f"at version {now.version}"
        return Answer(
            status=STALE,
            body={"refused": f"stale: the alias {event.alias} points {points} by now"},
        )
    return _carry_out(review, event, fleets, start)


def _carry_out(
    review: Review, event: AliasSet | TagSet, fleets: Sequence[Fleet], start: StartRun
) -> Answer:
    wishes = [wish for fleet in fleets if (wish := review.wish(fleet))]
    decisions = [review.decide(wish) for wish in wishes if wish.version == event.version]
    if not decisions:
        return Answer(status=NOTHING, body={"ignored": "no fleet wants this version"})
    started = [d for d in decisions if d.run_id and start(DEPLOY_DAG, run_id=d.run_id, conf=d.conf)]
    review.note(decisions)
    if started:
        status = STARTED
    elif all(d.verdict is Verdict.REFUSE for d in decisions):
        status = REFUSED
    else:
        status = NOTHING
    body = {"decisions": [d.to_json() | {"is_new": d in started} for d in decisions]}
    return Answer(status=status, body=body)
