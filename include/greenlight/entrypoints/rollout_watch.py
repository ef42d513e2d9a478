"""Compare both colours under the same load while traffic moves, and go back at the first breach.

Whoever looks also acts: the way back is a call from here, not a task that a scheduler may start
late. Whatever ends the watching (a breach, a cancelled task, a bug) sends traffic back first.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greenlight.core.errors import GateError, GreenlightError, LostLeaseError, UnavailableError
from greenlight.core.types import JsonDict
from greenlight.deploy.analysis import (
    Action,
    Analysis,
    AnalysisSettings,
    Look,
    judge,
    next_action,
)
from greenlight.deploy.journal import Step
from greenlight.deploy.samples import Sample, SampleSet
from greenlight.deploy.serving_hosts import Serving, rate_of_each
from greenlight.entrypoints.rollout_counters import Counters
from greenlight.entrypoints.rollout_hold import Hold
from greenlight.entrypoints.rollout_notes import EVERY_S, Notes
from greenlight.entrypoints.rollout_smoke import DEFAULT_PROMPTS

if TYPE_CHECKING:
    from greenlight.deploy.ports import Target

log = logging.getLogger(__name__)

SAY_EVERY = 15
"""Looks between two tables in the log."""

GoBack = Callable[[Hold, str], None]


class Load:
    """The seeded load in a thread of its own, and what came back so far, by colour."""

    def __init__(self, hold: Hold, serving: Serving) -> None:
        self.samples = {colour: SampleSet() for colour in serving}
        tools, settings, rollout = hold.tools, hold.settings.load, hold.rollout
        prompts = tools.models.golden(rollout.model, rollout.version) or DEFAULT_PROMPTS
        spread = settings.model_copy(update={"rate": rate_of_each(settings.rate, serving)})
        self._targets: Sequence[Target] = tuple(
            replace(target, recorded=target.colour is hold.new) for target in tools.targets(serving)
        )
        self._prober = tools.open_prober(prompts, spread)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def running(self, *, seconds: float) -> Iterator[None]:
        """Send inside the block, within its trace. What is under way at its end is given up."""
        in_this_trace = contextvars.copy_context()
        self._thread = threading.Thread(
            target=in_this_trace.run, args=(self._send, seconds), name="load", daemon=True
        )
        self._thread.start()
        try:
            yield
        finally:
            self.stop()
            self._thread.join(timeout=5)

    def stop(self) -> None:
        """Send no more; does not wait."""
        self._stop.set()

    def check(self) -> None:
        """Raise what ended the load early."""
        if self._error is not None:
            raise UnavailableError(f"the load ended: {self._error}") from self._error

    def _send(self, seconds: float) -> None:
        try:
            self._prober.run(self._targets, seconds=seconds, on_sample=self._keep, stop=self._stop)
        except (GreenlightError, OSError) as error:
            self._error = error

    def _keep(self, sample: Sample) -> None:
        self.samples[sample.colour].add(sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a rollout stands while it is looked at. `share`: green's part of a host's traffic.

    `step`, `subject`: what the journal calls it.
    """

    name: str
    serving: Serving
    share: float
    step: Step
    subject: str

    @classmethod
    def moved_to(cls, hold: Hold, subject: str) -> Stage:
        """Return what a move makes: a share in percent, or one more host with the new engine."""
        serving = hold.serving(subject)
        if hold.host_by_host:  # every host gets as much, so engines carry what they do at a half
            moved = f"{len(serving[hold.new])} of {len(hold.moves)} hosts"
            name, share = f"on {subject}, {moved}", 50.0
        else:
            name, share = f"at {subject} %", float(subject)
        return cls(name=name, serving=serving, share=share, step=Step.ANALYSE, subject=subject)


class Watch:
    """Looks at one rollout."""

    def __init__(self, hold: Hold, *, go_back: GoBack, note_every_s: float = EVERY_S) -> None:
        self._hold, self._go_back, self._note_every_s = hold, go_back, note_every_s
        self._tools, self._settings = hold.tools, hold.settings

    def warm_up(self, hosts: tuple[str, ...]) -> JsonDict:
        """Send the load to the new colour alone; its first answers are slow and don't count.

        Raises:
            GateError: not one request was answered.
        """
        hold, seconds = self._hold, self._settings.warm_up_s
        load = Load(hold, {hold.new: hosts})
        with load.running(seconds=seconds):
            self._wait(seconds)
            load.check()
        found = load.samples[hold.new].columns()
        if found.n and not found.ok.any():
            raise GateError(f"none of {found.n} requests of the warm-up was answered")
        return {"requests": found.n, "failed": int((~found.ok).sum())}

    def compare(self, subject: str) -> JsonDict:
        """Compare after one move until green is proven as good; on anything else go back.

        Raises:
            GateError: a rule is broken, or is undecided when the step's longest time is over.
        """
        stage = Stage.moved_to(self._hold, subject)
        return self._watch(self._settings.analysis, stage)

    def bake(self) -> JsonDict:
        """Go on comparing for the bake time, the old colour warm.

        Raises:
            GateError: as `compare`.
        """
        stage = Stage(
            name="at 100 %",
            serving=self._hold.serving(),
            share=100.0,
            step=Step.BAKE,
            subject="",
        )
        return self._watch(self._settings.analysis.lasting(self._settings.bake_s), stage)

    def _watch(self, settings: AnalysisSettings, stage: Stage) -> JsonDict:
        with ExitStack() as afterwards:  # ending the load takes a moment; going back comes first
            try:
                analysis = self._until_decided(settings, stage, afterwards)
            except BaseException as error:
                self._back_first(error)
                raise
        log.info("%s: %s\n%s", stage.name, analysis.verdict, analysis.table())
        return analysis.to_json()

    def _until_decided(
        self, settings: AnalysisSettings, stage: Stage, afterwards: ExitStack
    ) -> Analysis:
        hold, serving = self._hold, stage.serving
        counters = Counters(self._tools, serving, engines=settings.reads_engines(stage.share))
        load = Load(hold, serving)
        notes = Notes(hold, every_s=self._note_every_s)
        began, previous, looks = self._tools.clock.monotonic(), 0.0, 0
        seconds = settings.step_max_s + settings.interval_s
        afterwards.enter_context(load.running(seconds=seconds))
        while True:
            self._wait(settings.interval_s)
            load.check()
            counters.look()
            elapsed = self._tools.clock.monotonic() - began
            analysis = judge(
                load.samples.get(hold.old),
                load.samples[hold.new],
                counters.live,
                settings,
                look=Look(elapsed_s=elapsed, previous_s=previous),
                green_is=hold.new,
                share=stage.share,
                first_tokens=counters.first_tokens,
                engines={colour: len(hosts) for colour, hosts in serving.items()},
            )
            decision, previous, looks = next_action(analysis), elapsed, looks + 1
            if decision.action is Action.ROLL_BACK:
                load.stop()  # going back may take as long as engines take to start
                raise GateError(f"{stage.name}: {decision.reason}\n{analysis.table()}")
            if decision.action is Action.ADVANCE:
                return analysis
            if looks % SAY_EVERY == 0:
                log.info("%s, %.0f s: %s", stage.name, elapsed, decision.reason)
            notes.offer(analysis, step=stage.step, subject=stage.subject, where=stage.name)

    def _back_first(self, error: BaseException) -> None:
        """Send traffic back; with a lost lease it isn't ours to move, and the router says so."""
        reason = str(error).partition("\n")[0] or type(error).__name__
        try:
            self._go_back(self._hold, reason)
        except LostLeaseError as lost:
            log.error("traffic was not moved back: %s", lost)
        except (GateError, UnavailableError) as away:
            log.error("traffic is back, as far as it could be: %s", away)

    def _wait(self, seconds: float) -> None:
        """Sleep in pieces, so that a lost lease ends it."""
        until = self._tools.clock.monotonic() + seconds
        while (left := until - self._tools.clock.monotonic()) > 0:
            self._hold.keeper.check()
            self._tools.sleep(min(left, 1.0))
        self._hold.keeper.check()
