"""The steps of a rollout: what the DAG's tasks and `greenlight deploy` call.

Each is idempotent and written to the journal before and after, so a retry after a crash goes on
where the killed one stopped. Each takes the lease anew, with a higher fence: whatever still runs of
an earlier attempt is refused by the journal and by the router from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenlight.core.errors import LostLeaseError, RefusedError, UnavailableError
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import (
    Outcome,
    Progress,
    Rollout,
    Step,
    history_of,
    progress,
    unfinished,
)
from greenlight.deploy.ports import EngineState, ModelFolder
from greenlight.entrypoints import rollout_engines as engines
from greenlight.entrypoints.rollout_hold import Hold, Way, held
from greenlight.entrypoints.rollout_watch import Watch
from greenlight.registry.tags import Alias

if TYPE_CHECKING:
    from greenlight.entrypoints.rollout_tools import Tools

log = logging.getLogger(__name__)


class Steps:
    """One fleet's rollouts. Every method but `outcome` takes the fleet's lease."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def prepare(self, rollout_id: str, host: str) -> None:
        """Bring the model to a host, start the idle colour there, wait until it is ready.

        For `rolling`, only the model is brought: the host has no room for a second engine yet. What
        is left of a version that was given up is stopped first.

        Raises:
            GateError: the engine ended while it started.
            InputError: a file on the host is damaged.
            RefusedError: the engine serves another digest than it was given, or the version that
                was given up answers again.
            UnavailableError: the host does not answer, or the engine is not ready in time.
        """
        with held(self._tools, rollout_id, way=Way.SIDE_BY_SIDE) as hold:
            hold.require_forward()
            hold.do(Step.PREPARE, host, lambda: self._prepare(hold, host))

    def smoke(self, rollout_id: str) -> None:
        """Ask every new engine golden prompts one by one, then warm them up.

        Raises:
            GateError: an engine answers otherwise than the evidence recorded, or not at all.
        """
        with held(self._tools, rollout_id) as hold:
            hold.require_forward()
            if not hold.host_by_host:  # else there is no engine yet: `move` does it, host by host
                hosts = tuple(self._tools.hosts)
                hold.do(Step.SMOKE, "", lambda: self._smoke(hold, hosts))
                hold.do(Step.WARM_UP, "", lambda: self._warm_up(hold, hosts))

    def move(self, rollout_id: str, subject: str) -> JsonDict:
        """Shift traffic, and compare the colours until green is proven; on a breach go back.

        `subject`: a share in percent; with `rolling`, a host. Returns `{"done": subject}`, or
        `{"skipped": reason}` when the rollout is going back already.

        Raises:
            GateError: a metric broke its limit, or could not be judged in time; everything is back
                on the old colour.
            UnavailableError: an earlier move is not done yet.
        """
        made = self._progress(rollout_id)
        if made.breached or made.outcome:
            return {"skipped": made.reason or str(made.outcome)}
        with held(self._tools, rollout_id) as hold:
            self._require_earlier_moves(hold, subject)
            if hold.host_by_host:
                hold.do(Step.SHIFT, subject, lambda: self._exchange(hold, subject))
            else:
                hold.do(Step.SHIFT, subject, lambda: self._shift(hold, int(subject)))
            watch = Watch(hold, go_back=self._go_back)
            hold.do(Step.ANALYSE, subject, lambda: watch.compare(subject))
        return {"done": subject}

    def bake(self, rollout_id: str) -> None:
        """Keep the old colour warm and go on comparing, for the bake time.

        Raises:
            GateError: as `move`.
        """
        with held(self._tools, rollout_id) as hold:
            hold.require_forward()
            wanted = hold.settings.bake_s > 0 and not hold.rollout.is_alone
            if wanted and not hold.host_by_host:
                hold.do(Step.BAKE, "", Watch(hold, go_back=self._go_back).bake)

    def promote(self, rollout_id: str) -> None:
        """Point the alias `champion` at the version."""
        with held(self._tools, rollout_id) as hold:
            hold.require_forward()
            hold.do(Step.PROMOTE, "", lambda: self._point_champion_at(hold, hold.rollout.version))

    def retire(self, rollout_id: str) -> JsonDict:
        """Drain the old colour until its streams end, stop it, and end the rollout."""
        if self._progress(rollout_id).outcome is None:
            with held(self._tools, rollout_id) as hold:
                hold.require_forward()
                if not hold.rollout.is_first:
                    hold.do(Step.RETIRE, "", lambda: engines.retire(hold, hold.old))
                hold.finish(Outcome.LIVE, _live_because(hold.rollout))
        return self.outcome(rollout_id)

    def roll_back(
        self, rollout_id: str, reason: str = "a step failed", *, without_old: bool = False
    ) -> JsonDict:
        """Make the old colour serve everybody, stop the new one, and end the rollout.

        A rollout that has ended stays as it ended. Taking the lease shuts out whoever carries the
        rollout on at the moment. `without_old`: the old colour is given up and not started.
        """
        made = self._progress(rollout_id)
        if made.outcome is None:
            with held(self._tools, rollout_id, way=Way.BACK) as hold:
                why = made.reason or reason
                self._go_back(hold, why, without_old=without_old)
                hold.do(Step.CLEAN_UP, "", lambda: self._clean_up(hold))
                hold.finish(Outcome.ROLLED_BACK, why)
        return self.outcome(rollout_id)

    def recover(self, fleet: str, *, by: str, without_old: bool = False) -> None:
        """Bring a rollout that was left unfinished to its end: forward if it was promoted.

        `without_old`: what it would go back to is given up.

        Raises:
            RefusedError: it is not left: its lease is alive.
        """
        left = unfinished(history_of(self._tools.journal, fleet))
        if left is None or left.id == by:
            return
        if lease := self._tools.leases.current(fleet):
            raise RefusedError(str(lease))
        log.warning("rollout %s was left unfinished; %s brings it to its end", left.id, by)
        if self._progress(left.id).has(Step.PROMOTE):
            self.retire(left.id)
        else:
            why = f"left unfinished; {by} took over"
            self.roll_back(left.id, reason=why, without_old=without_old)

    def restore(self, rollout_id: str) -> None:
        """Start again what a rollout made live: after a reboot, a crash, or `deploy stop`.

        Engines that serve it are left alone.

        Raises:
            RefusedError: a rollout is on its way.
            UnavailableError: a host does not answer, or an engine is not ready in time.
        """
        with held(self._tools, rollout_id) as hold:
            try:
                self._serve(hold, hold.new, self._model(hold, hold.rollout.version))
                self._tools.router.shift({hold.new: 100, hold.old: 0}, fence=hold.fence)
            finally:  # one that can't start leaves nothing that others must wait for
                self._tools.leases.release(hold.keeper.lease)

    def outcome(self, rollout_id: str) -> JsonDict:
        """Return how a rollout stands: `{"rollout_id", "outcome", "reason", "share", …}`."""
        rollout, made = self._tools.journal.rollout(rollout_id), self._progress(rollout_id)
        return {
            "rollout_id": rollout.id,
            "fleet": rollout.fleet,
            "model": rollout.model,
            "version": rollout.version,
            "digest": rollout.digest,
            "colour": str(rollout.colour),
            "strategy": rollout.strategy,
            "replaces_dead": rollout.replaces_dead,
            "started_at": rollout.started_at.isoformat(timespec="seconds"),
            "started_by": rollout.started_by,
            "share": made.share,
            "outcome": None if made.outcome is None else str(made.outcome),
            "reason": made.reason,
        }

    def _prepare(self, hold: Hold, host: str) -> JsonDict:
        model = self._model(hold, hold.rollout.version)
        self._tools.hosts[host].put_model(model)
        if hold.host_by_host:
            return {"digest": model.manifest.digest}
        if hold.rollout.replaces_dead:
            self._give_up_old(hold, host)
        return engines.start(hold, host, hold.new, model)

    def _give_up_old(self, hold: Hold, host: str) -> None:
        """Stop what is left of the old engine, which may hang and hold memory."""
        runner = self._tools.hosts[host]
        if runner.status(hold.old).state is EngineState.READY:
            raise RefusedError(
                f"the {hold.old} engine of host {host} answers again, so version "
                f"{hold.rollout.previous_version} is not given up; deploy without --replace-dead"
            )
        runner.stop(hold.old)

    def _smoke(self, hold: Hold, hosts: Sequence[str]) -> JsonDict:
        golden = self._tools.models.golden(hold.rollout.model, hold.rollout.version)
        asked = [(host, self._tools.target(hold.new, host)) for host in hosts]
        return self._tools.smoke_test(asked, golden, at_most=hold.settings.smoke_prompts)

    def _warm_up(self, hold: Hold, hosts: tuple[str, ...]) -> JsonDict:
        return Watch(hold, go_back=self._go_back).warm_up(hosts)

    def _shift(self, hold: Hold, share: int) -> JsonDict:
        engines.open_to_router(hold, hold.new, list(self._tools.hosts))
        shares = {hold.new: share, hold.old: 100 - share}
        self._tools.router.shift(shares, fence=hold.fence)
        return {"share": share}

    def _exchange(self, hold: Hold, host: str) -> JsonDict:
        """Prove the new engine before anybody is sent to it; the other hosts serve meanwhile."""
        model = self._model(hold, hold.rollout.version)
        detail = engines.exchange(hold, host, hold.new, model)
        detail |= self._smoke(hold, [host])
        detail |= self._warm_up(hold, (host,))
        engines.admit(hold, host, hold.new)
        return detail | {"share": round(100 * (hold.moves.index(host) + 1) / len(hold.moves))}

    def _go_back(self, hold: Hold, reason: str, *, without_old: bool = False) -> None:
        """Send everything to the old colour at once; without a journal too, when it's away."""
        alone = without_old or hold.rollout.is_alone

        def back() -> JsonDict:
            if hold.host_by_host and not alone:
                engines.exchange_back(hold, self._previous(hold))
            elif not alone:
                self._send_all_to_old(hold)
            return {"share": 0}

        try:
            hold.do(Step.ROLL_BACK, "", back, reason=reason)
        except UnavailableError:
            back()
            raise

    def _send_all_to_old(self, hold: Hold) -> None:
        """Change the weights; where the old engines are down, start them first."""
        all_old = {hold.old: 100, hold.new: 0}
        try:
            self._tools.router.shift(all_old, fence=hold.fence)
        except LostLeaseError:
            raise
        except RefusedError as nobody:
            log.warning("rollout %s: %s", hold.rollout.id, nobody)
            self._serve(hold, hold.old, self._previous(hold))
            self._tools.router.shift(all_old, fence=hold.fence)

    def _serve(self, hold: Hold, colour: Colour, model: ModelFolder) -> None:
        """Start a colour on every host, and let the router send requests to it."""
        for host, runner in self._tools.hosts.items():
            runner.put_model(model)
            engines.start(hold, host, colour, model)
        engines.open_to_router(hold, colour, list(self._tools.hosts))

    def _previous(self, hold: Hold) -> ModelFolder:
        assert hold.rollout.previous_version is not None
        return self._model(hold, hold.rollout.previous_version)

    def _clean_up(self, hold: Hold) -> JsonDict:
        """Make the rest true again: the alias, and no engine of the new colour."""
        previous, model = hold.rollout.previous_version, hold.rollout.model
        champion = self._tools.models.registry.find(model, tags={}, alias=Alias.CHAMPION)
        if champion and champion.version == hold.rollout.version:
            if previous is not None:
                self._point_champion_at(hold, previous)
            else:
                self._tools.models.registry.remove_alias(model, alias=Alias.CHAMPION)
        return engines.retire(hold, hold.new)

    def _point_champion_at(self, hold: Hold, version: int) -> JsonDict:
        registry = self._tools.models.registry
        registry.set_alias(hold.rollout.model, alias=Alias.CHAMPION, version=version)
        return {"alias": str(Alias.CHAMPION), "version": version}

    def _require_earlier_moves(self, hold: Hold, subject: str) -> None:
        made = hold.progress()
        for earlier in hold.moves:
            if earlier == subject:
                return
            if not made.has(Step.ANALYSE, earlier):
                raise UnavailableError(f"move {earlier} comes before {subject} and is not done")

    def _model(self, hold: Hold, version: int) -> ModelFolder:
        return self._tools.models.folder(hold.rollout.model, version)

    def _progress(self, rollout_id: str) -> Progress:
        return progress(self._tools.journal.events(rollout_id))


def _live_because(rollout: Rollout) -> str:
    serves = f"version {rollout.version} serves everybody"
    if not rollout.replaces_dead:
        return serves
    return f"{serves}; version {rollout.previous_version} was dead and is given up"
