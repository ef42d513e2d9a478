"""Carry on one rollout: under the lease, every step written before and after."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from greenlight.core.errors import GreenlightError, LostLeaseError, PermanentError, RefusedError
from greenlight.core.logs import labelled
from greenlight.core.traces import Fact, TraceContext, trace_of, within
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Outcome, Phase, Progress, Rollout, Step, progress
from greenlight.deploy.rollout_file import RolloutSettings, Strategy
from greenlight.deploy.serving_hosts import Serving, everywhere, up_to_host
from greenlight.entrypoints.lease_keeper import LeaseKeeper

if TYPE_CHECKING:
    from greenlight.deploy.ports import Lease
    from greenlight.entrypoints.rollout_tools import Tools

log = logging.getLogger(__name__)

BACK = (Step.ROLL_BACK, Step.CLEAN_UP)
"""Steps that are tried again until they succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A rollout that this process may carry on, and the lease that says so."""

    tools: Tools
    rollout: Rollout
    settings: RolloutSettings
    keeper: LeaseKeeper

    @property
    def new(self) -> Colour:
        """The colour that the version goes to."""
        return self.rollout.colour

    @property
    def old(self) -> Colour:
        """The colour that is live, if any."""
        return self.rollout.colour.other

    @property
    def fence(self) -> int:
        """The number that every change carries."""
        return self.keeper.fence

    @property
    def trace(self) -> TraceContext:
        """The one trace of the rollout: by its id, so that every process finds it."""
        return trace_of("rollout", self.rollout.id)

    @property
    def host_by_host(self) -> bool:
        """Whether hosts are exchanged one after the other, each without both colours."""
        return self.settings.strategy is Strategy.ROLLING and not self.rollout.is_alone

    @property
    def moves(self) -> Sequence[str]:
        """What traffic is moved by, in order: shares in percent, or hosts."""
        found: Sequence[str] = self.rollout.request["moves"]
        return found

    def serving(self, subject: str = "") -> Serving:
        """Return who serves once a move is made; when baking, after all of them."""
        if self.host_by_host:
            return up_to_host(self.rollout, self.moves, last=subject)
        return everywhere(self.rollout, tuple(self.tools.hosts))

    def progress(self) -> Progress:
        """Return what the journal says now."""
        return progress(self.tools.journal.events(self.rollout.id))

    def do(
        self,
        step: Step,
        subject: str,
        action: Callable[[], JsonDict],
        *,
        reason: str | None = None,
    ) -> None:
        """Do a step once: written to the journal before and after; done before is not repeated.

        A permanent error is written too: from then on the rollout only goes back.
        """
        if self.progress().has(step, subject):
            log.info("rollout %s: %s %s is done already", self.rollout.id, step, subject)
            return
        told: JsonDict = {} if reason is None else {"reason": reason}
        with self._span(step, subject):
            self._write(step, Phase.BEGAN, subject, told)
            try:
                detail = action()
            except PermanentError as error:
                if step not in BACK:
                    self._write_failure(step, subject, error)
                raise
            self._write(step, Phase.DONE, subject, detail | told)
            log.info("rollout %s: %s %s done", self.rollout.id, step, subject)

    def note(self, step: Step, subject: str, detail: JsonDict) -> None:
        """Write how a step that goes on stands, for readers; nothing is decided by it."""
        self._write(step, Phase.BEGAN, subject, detail)

    def finish(self, outcome: Outcome, reason: str) -> None:
        """Write how it ended, and give the lease back."""
        detail: JsonDict = {"outcome": str(outcome), "reason": reason}
        if not self.progress().has(Step.FINISH):
            self.do(Step.FINISH, "", lambda: detail)
            self._tell_of_all(outcome)
        self.tools.leases.release(self.keeper.lease)
        log.info("rollout %s: %s: %s", self.rollout.id, outcome, reason)

    def require_forward(self) -> None:
        """Return while the rollout goes on.

        Raises:
            RefusedError: it has ended, or is going back.
        """
        made = self.progress()
        if made.outcome is not None or made.breached:
            raise RefusedError(
                f"rollout {self.rollout.id} does not go on: "
                f"{made.outcome or 'it is going back'} ({made.reason})"
            )

    @contextmanager
    def _span(self, step: Step, subject: str) -> Iterator[None]:
        """Make a step a span of the rollout's trace; the requests it sends belong to it."""
        span = self.tools.tracer.begin(f"rollout: {step}", parent=self.trace)
        facts = self._facts() | {"greenlight.rollout.subject": subject}
        failed: str | None = None
        try:
            with within(span.context), labelled(run_id=self.rollout.id):
                yield
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            span.end(facts, failed=failed)

    def _tell_of_all(self, outcome: Outcome) -> None:
        """Tell of the rollout itself, under the id that its steps name as their parent."""
        self.tools.tracer.tell(
            self.trace,
            "rollout",
            began=self.rollout.started_at,
            facts=self._facts() | {"greenlight.rollout.outcome": str(outcome)},
            failed=None if outcome is Outcome.LIVE else str(outcome),
        )

    def _facts(self) -> dict[str, Fact]:
        return {
            "greenlight.rollout.id": self.rollout.id,
            "greenlight.fleet": self.rollout.fleet,
            "greenlight.colour": str(self.rollout.colour),
            "gen_ai.request.model": self.rollout.model,
            "greenlight.version": self.rollout.version,
        }

    def _write_failure(self, step: Step, subject: str, error: GreenlightError) -> None:
        """Note why a step failed, unless the lease is lost: then it isn't ours to write."""
        try:
            reason = str(error).partition("\n")[0]  # the rest, such as a table, is in the log
            self._write(step, Phase.FAILED, subject, {"reason": reason})
        except LostLeaseError as refused:
            log.warning("rollout %s: the failure is not noted: %s", self.rollout.id, refused)

    def _write(self, step: Step, phase: Phase, subject: str, detail: JsonDict) -> None:
        self.keeper.check()
        self.tools.journal.append(
            Event(
                rollout_id=self.rollout.id,
                at=self.tools.clock.now(),
                step=step,
                phase=phase,
                subject=subject,
                fence=self.fence,
                detail=detail,
            )
        )


class Way(StrEnum):
    """How the lease is taken."""

    FORWARD = "forward"
    """The fence rises: whatever an earlier attempt still does is refused."""
    SIDE_BY_SIDE = "side by side"
    """The fence stays: for work on several hosts at once that doesn't touch the router."""
    BACK = "back"
    """The lease is taken from whoever goes forward, and they can't take it again."""


@contextmanager
def held(tools: Tools, rollout_id: str, *, way: Way = Way.FORWARD) -> Iterator[Hold]:
    """Take the lease of a rollout's fleet and keep it alive inside the block.

    Raises:
        LostLeaseError: this rollout is going back, and this is a step forward.
        RefusedError: another rollout holds it; the message says which and since when.
        InputError: there is no such rollout.
    """
    rollout = tools.journal.rollout(rollout_id)
    settings = RolloutSettings.model_validate(rollout.request["settings"])
    lease = _take(tools, rollout, way, ttl_s=settings.lease_s)
    try:
        with (
            LeaseKeeper(tools.leases, lease, ttl_s=settings.lease_s) as keeper,
            labelled(run_id=rollout_id),
        ):
            yield Hold(tools=tools, rollout=rollout, settings=settings, keeper=keeper)
    finally:
        tools.tracer.flush()  # Airflow ends a task's process without a goodbye


def _take(tools: Tools, rollout: Rollout, way: Way, *, ttl_s: float) -> Lease:
    leases, back = tools.leases, f"{rollout.id} (going back)"
    if way is Way.BACK:
        return leases.acquire(rollout.fleet, holder=back, ttl_s=ttl_s, instead_of=rollout.id)
    take = leases.acquire if way is Way.FORWARD else leases.join
    try:
        return take(rollout.fleet, holder=rollout.id, ttl_s=ttl_s)
    except RefusedError as error:
        now = leases.current(rollout.fleet)
        if now and now.holder == back:
            raise LostLeaseError(str(error)) from error
        raise
