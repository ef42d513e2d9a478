"""Compare both colours under the same load while traffic moves, and go back at the first breach.

Whoever looks also acts: the way back is a call from here, not a task that a scheduler may start
late. Whatever ends the watching (a breach, a cancelled task, a bug) sends traffic back first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
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
from greenlight.deploy.colours import Colour
from greenlight.deploy.samples import Sample, SampleSet
from greenlight.entrypoints.rollout_counters import Counters
from greenlight.entrypoints.rollout_hold import Hold
from greenlight.entrypoints.rollout_smoke import DEFAULT_PROMPTS

if TYPE_CHECKING:
    from greenlight.deploy.ports import Target

log = logging.getLogger(__name__)

SAY_EVERY = 15
"""Looks between two tables in the log."""

GoBack = Callable[[Hold, str], None]


class Load:
    """The seeded load in a thread of its own, and what came back so far, by colour."""

    def __init__(self, hold: Hold, colours: Sequence[Colour]) -> None:
        self.samples = {colour: SampleSet() for colour in colours}
        tools, settings, rollout = hold.tools, hold.settings.load, hold.rollout
        prompts = tools.models.golden(rollout.model, rollout.version) or DEFAULT_PROMPTS
        rate = settings.rate / len(tools.hosts)
        spread = settings.model_copy(update={"rate": rate})
        self._targets: Sequence[Target] = tuple(
            replace(target, recorded=target.colour is hold.new) for target in tools.targets(colours)
        )
        self._prober = tools.open_prober(prompts, spread)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @contextmanager
    def running(self, *, seconds: float) -> Iterator[None]:
        """Send inside the block. What is under way at its end is no longer waited for."""
        self._thread = threading.Thread(
            target=self._send, args=(seconds,), name="load", daemon=True
        )
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join(timeout=5)

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


class Watch:
    """Looks at one rollout."""

    def __init__(self, hold: Hold, *, go_back: GoBack) -> None:
        self._hold, self._go_back = hold, go_back
        self._tools, self._settings = hold.tools, hold.settings

    def warm_up(self) -> JsonDict:
        """Send the load to the new colour alone; its first answers are slow and don't count.

        Raises:
            GateError: not one request was answered.
        """
        hold, seconds = self._hold, self._settings.warm_up_s
        load = Load(hold, [hold.new])
        with load.running(seconds=seconds):
            self._wait(seconds)
            load.check()
        found = load.samples[hold.new].columns()
        if found.n and not found.ok.any():
            raise GateError(f"none of {found.n} requests of the warm-up was answered")
        return {"requests": found.n, "failed": int((~found.ok).sum())}

    def compare(self, subject: str) -> JsonDict:
        """Compare at one share until green is proven as good; on anything else go back.

        Raises:
            GateError: a rule is broken, or is undecided when the step's longest time is over.
        """
        share = float(subject) if subject.isdigit() else 50.0
        return self._watch(self._settings.analysis, share=share)

    def bake(self) -> JsonDict:
        """Go on comparing for the bake time, the old colour warm.

        Raises:
            GateError: as `compare`.
        """
        return self._watch(self._settings.analysis.lasting(self._settings.bake_s), share=100.0)

    def _watch(self, settings: AnalysisSettings, *, share: float) -> JsonDict:
        with ExitStack() as afterwards:  # ending the load takes a moment; going back comes first
            try:
                analysis = self._until_decided(settings, share=share, afterwards=afterwards)
            except BaseException as error:
                self._back_first(error)
                raise
        log.info("at %g %%: %s\n%s", share, analysis.verdict, analysis.table())
        return analysis.to_json()

    def _until_decided(
        self, settings: AnalysisSettings, *, share: float, afterwards: ExitStack
    ) -> Analysis:
        hold = self._hold
        colours = [hold.new] if hold.rollout.is_alone else [hold.new, hold.old]
        counters = Counters(self._tools, colours, engines=settings.reads_engines(share))
        load = Load(hold, colours)
        began, previous, looks = self._tools.clock.monotonic(), 0.0, 0
        seconds = settings.step_max_s + settings.interval_s
        afterwards.enter_context(load.running(seconds=seconds))
        while True:
            self._wait(settings.interval_s)
            load.check()
            counters.look()
            elapsed = self._tools.clock.monotonic() - began
            analysis = judge(
                None if hold.rollout.is_alone else load.samples[hold.old],
                load.samples[hold.new],
                counters.live,
                settings,
                look=Look(elapsed_s=elapsed, previous_s=previous),
                green_is=hold.new,
                share=share,
                first_tokens=counters.first_tokens,
            )
            decision, previous, looks = next_action(analysis), elapsed, looks + 1
            if decision.action is Action.ROLL_BACK:
                raise GateError(f"at {share:g} %: {decision.reason}\n{analysis.table()}")
            if decision.action is Action.ADVANCE:
                return analysis
            if looks % SAY_EVERY == 0:
                log.info("at %g %%, %.0f s: %s", share, elapsed, decision.reason)

    def _back_first(self, error: BaseException) -> None:
        """Send traffic back; with a lost lease it isn't ours to move, and the router says so."""
        reason = str(error).partition("\n")[0] or type(error).__name__
        try:
            self._go_back(self._hold, reason)
        except LostLeaseError as lost:
            log.error("traffic was not moved back: %s", lost)
        except UnavailableError as away:
            log.error("traffic is back, as far as it could be: %s", away)

    def _wait(self, seconds: float) -> None:
        """Sleep in pieces, so that a lost lease ends it."""
        until = self._tools.clock.monotonic() + seconds
        while (left := until - self._tools.clock.monotonic()) > 0:
            self._hold.keeper.check()
            self._tools.sleep(min(left, 1.0))
        self._hold.keeper.check()
