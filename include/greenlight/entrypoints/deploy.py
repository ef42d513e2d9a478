"""Plan a rollout, run it, look at it, go back: for `greenlight deploy` and for the DAG."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.digest import Manifest, short
from greenlight.core.errors import (
    GateError,
    GreenlightError,
    InputError,
    LostLeaseError,
    RefusedError,
    UnavailableError,
)
from greenlight.core.settings import Settings, load_settings
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import load_fleet
from greenlight.deploy.journal import History, Live, Outcome, history_of, live, unfinished
from greenlight.deploy.plans import Plan, Wanted, World, plan_rollout
from greenlight.deploy.ports import EngineState, ServerMode
from greenlight.deploy.request import DeployRequest, parse_deploy_request
from greenlight.deploy.rollout_file import RolloutSettings, load_rollout
from greenlight.entrypoints.rollout_hold import held
from greenlight.entrypoints.rollout_steps import Steps
from greenlight.entrypoints.version_page import airflow_pages, show_rollout
from greenlight.quantize.interface import compare_interface

if TYPE_CHECKING:
    from greenlight.entrypoints.rollout_tools import Tools

log = logging.getLogger(__name__)

POLL_S = 0.5
DONE_WITHIN_S = 60.0
STOP_GRACE_S = 5.0

OnStep = Callable[[str], None]


class Deploy:
    """One fleet and everything that happens to it."""

    def __init__(self, tools: Tools, *, rollout_file: Path) -> None:
        self.tools = tools
        self.steps = Steps(tools)
        self._rollout_file = rollout_file

    def plan(self, request: DeployRequest, *, rollout_id: str, by: str) -> Plan:
        """Find out what would be done; nothing is changed anywhere.

        Raises:
            InputError: there is no such version.
            ConfigError: the rollout file is wrong, or lacks the name.
        """
        settings = load_rollout(self._rollout_file, request.rollout)
        history = self._history()
        fleet = self.tools.fleet
        now_live = live(history)
        serves = now_live is None or self.tools.router.state().share(now_live.colour) > 0
        wanted, bytes_live = self._wanted(request, now_live, serves=serves)
        left = unfinished(history)
        resting = self._resting(now_live.colour) if now_live and left is None else ()
        away = self._unreachable()
        answers = (
            self._answering(now_live.colour, away) if request.replace_dead and now_live else ()
        )
        world = World(
            now=self.tools.clock.now(),
            live=now_live,
            live_weight_bytes=bytes_live,
            live_serves=serves,
            live_answers=answers,
            unreachable=away,
            served_before=frozenset(r.digest for r, p in history if p.outcome is Outcome.LIVE),
            unfinished=None if left is None or left.id == rollout_id else left.id,
            resting=resting,
        )
        plan = plan_rollout(
            rollout_id,
            fleet=fleet,
            settings=settings,
            wanted=wanted,
            world=world,
            by=by,
            request={},
            replace_dead=request.replace_dead,
        )
        kept = plan.rollout.request | _kept(request, settings, plan)
        return replace(plan, rollout=replace(plan.rollout, request=kept))

    def begin(self, request: DeployRequest, *, rollout_id: str, by: str) -> JsonDict:
        """Refuse, or take the lease and open the rollout; one of this id goes on as it is.

        Raises:
            RefusedError: the version may not go live, a host is away, or somebody else deploys;
                nothing was changed anywhere.
        """
        history = {r.id: r for r, _ in self._history()}
        if rollout_id not in history:
            without_old = self._gives_up(request, rollout_id=rollout_id, by=by)
            self.steps.recover(self.tools.fleet.name, by=rollout_id, without_old=without_old)
            plan = self.plan(request, rollout_id=rollout_id, by=by)
            plan.require_possible()
            if plan.nothing_to_do:
                return plan.to_json()
            self._open(plan)
        with held(self.tools, rollout_id) as hold:
            kept = hold.rollout.request
        planned: JsonDict = kept["plan"]
        return planned | {"nothing_to_do": None}

    def run(
        self, request: DeployRequest, *, rollout_id: str, by: str, on_step: OnStep = log.info
    ) -> JsonDict:
        """Do the whole rollout in this process; whatever goes wrong, the old colour serves.

        One of this id that was left half-way goes on, or goes on going back; one that is live
        already stays so.

        Raises:
            RefusedError: as `begin`; or this rollout was taken back before.
            GateError: green was worse, or could not be judged; the old version serves everybody.
            UnavailableError: something did not answer; the old version serves everybody.
            LostLeaseError: somebody took over, and brings the rollout to its end.
        """
        if ended := self._brought_to_its_end(rollout_id):
            return ended
        plan = self.begin(request, rollout_id=rollout_id, by=by)
        if plan["nothing_to_do"]:
            on_step(plan["nothing_to_do"])
            return plan | {"outcome": str(Outcome.LIVE)}
        try:
            self._forward(plan, rollout_id, on_step)
        except LostLeaseError:
            raise
        except GreenlightError as error:
            on_step(f"going back: {error}")
            self.steps.roll_back(rollout_id, reason=str(error))
            raise
        return self.steps.outcome(rollout_id)

    def start(self) -> Live:
        """Start again what is live: after a reboot, a crash, or `stop`. Serving engines stay.

        Raises:
            RefusedError: nothing was ever live, or a rollout is on its way.
        """
        history = self._history()
        now, running = live(history), unfinished(history)
        if now is None:
            raise RefusedError(f"fleet {self.tools.fleet.name} never served anything: deploy first")
        if running is not None:
            raise RefusedError(
                f"rollout {running.id} is on its way on fleet {self.tools.fleet.name}: wait for "
                "its end, or go back with `greenlight deploy rollback`"
            )
        self.steps.restore(now.rollout_id)
        return now

    def go_back(self, *, reason: str) -> JsonDict:
        """Make the version before serve again.

        While a rollout is on its way (its bake too) that is a change of weights. After its end the
        old engines are gone, and a person deploys the version before.

        Raises:
            RefusedError: no rollout is on its way; the message says what to deploy.
        """
        history = self._history()
        running = unfinished(history)
        if running is not None:
            return self._roll_back(running.id, reason=reason)
        now = live(history)
        before = live([h for h in history if now and h[0].id != now.rollout_id])
        if now is None or before is None:
            raise RefusedError(f"fleet {self.tools.fleet.name} has nothing to go back to")
        raise RefusedError(
            f"no rollout is on its way on fleet {self.tools.fleet.name}: version {now.version} "
            f"serves alone. Deploy the one before: greenlight deploy run {self.tools.fleet.name} "
            f"--version {before.version} --rollout blue_green"
        )

    def go_back_from(self, rollout_id: str, *, reason: str) -> JsonDict:
        """Go back, if this is still the rollout that is on its way. Doing it twice changes nothing.

        Raises:
            RefusedError: it went live meanwhile; the version before it is deployed instead.
            InputError: there is no such rollout of this fleet.
        """
        asked = self.steps.outcome(rollout_id)
        if asked["fleet"] != self.tools.fleet.name:
            raise InputError(
                f"rollout {rollout_id} is of fleet {asked['fleet']}, not of {self.tools.fleet.name}"
            )
        if asked["outcome"] == Outcome.LIVE:
            raise RefusedError(
                f"rollout {rollout_id} ended meanwhile: {asked['reason']}. Deploy the version "
                "before it instead"
            )
        return asked if asked["outcome"] else self._roll_back(rollout_id, reason=reason)

    def _roll_back(self, rollout_id: str, *, reason: str) -> JsonDict:
        """Go back; when somebody else does it at the same time, wait until it is done."""
        try:
            return self.steps.roll_back(rollout_id, reason)
        except LostLeaseError:
            until = self.tools.clock.monotonic() + self.tools.fleet.engine.drain_s + DONE_WITHIN_S
            while (ended := self.steps.outcome(rollout_id))["outcome"] is None:
                if self.tools.clock.monotonic() > until:
                    raise
                self.tools.sleep(POLL_S)
            return ended

    def status(self) -> JsonDict:
        """Return what is live, who holds the lease, the running rollout, router and engines."""
        history = self._history()
        now, running = live(history), unfinished(history)
        lease = self.tools.leases.current(self.tools.fleet.name)
        return {
            "fleet": self.tools.fleet.name,
            "model": self.tools.fleet.model,
            "live": None if now is None else {
                "version": now.version, "digest": now.digest, "colour": str(now.colour),
            },
            "rollout": None if running is None else self.steps.outcome(running.id),
            "lease": None if lease is None else {
                "holder": lease.holder, "fence": lease.fence,
                "taken_at": lease.taken_at.isoformat(timespec="seconds"),
            },
            "servers": self._servers(),
        }  # fmt: skip

    def history(self) -> list[JsonDict]:
        """Return every rollout of the fleet, oldest first."""
        return [self.steps.outcome(rollout.id) for rollout, _ in self._history()]

    def _forward(self, plan: JsonDict, rollout_id: str, on_step: OnStep) -> None:
        on_step(f"prepare host {plan['gatekeeper']}, which proves the version")
        self.steps.prepare(rollout_id, plan["gatekeeper"])
        if plan["others"]:
            on_step(f"prepare {len(plan['others'])} more hosts side by side")
            with ThreadPoolExecutor(len(plan["others"])) as pool:
                list(pool.map(lambda host: self.steps.prepare(rollout_id, host), plan["others"]))
        by_share = plan["moves"][0].isdigit()  # else by host, each of which is asked by itself
        if by_share:
            on_step("smoke test and warm-up")
        self.steps.smoke(rollout_id)
        for move in plan["moves"]:
            on_step(f"move to {move} %, and compare" if by_share else f"exchange host {move}")
            self.steps.move(rollout_id, move)
        replaces = plan["previous_version"] is not None and not plan.get("replaces_dead")
        if replaces and by_share:
            on_step(f"bake for {plan['bake_s']:g} s, the old colour warm")
        self.steps.bake(rollout_id)
        drains = "; the old colour drains" if replaces and by_share else ""
        on_step(f"version {plan['version']} becomes the champion{drains}")
        self.steps.promote(rollout_id)
        self.steps.retire(rollout_id)

    def _brought_to_its_end(self, rollout_id: str) -> JsonDict | None:
        """Return how an earlier attempt ended; `None`: it goes forward, or there was none."""
        made = {r.id: p for r, p in self._history()}.get(rollout_id)
        if made is None or not (made.outcome or made.breached):
            return None
        ended = self.steps.roll_back(rollout_id)  # leaves one that has ended as it ended
        if ended["outcome"] != Outcome.LIVE:
            raise RefusedError(f"rollout {rollout_id} was taken back: {ended['reason']}")
        return ended

    def _gives_up(self, request: DeployRequest, *, rollout_id: str, by: str) -> bool:
        """Return whether what is live is given up, once nothing speaks against the whole plan.

        A rollout that was left half-way may be all that serves: a refused plan must not end it.
        """
        if not request.replace_dead:
            return False
        plan = self.plan(request, rollout_id=rollout_id, by=by)
        plan.require_possible()
        return plan.rollout.replaces_dead

    def _open(self, plan: Plan) -> None:
        """Take the lease first: of two that begin at once, one is refused before it is written."""
        fleet = self.tools.fleet.name
        lease_s = RolloutSettings.model_validate(plan.rollout.request["settings"]).lease_s
        lease = self.tools.leases.acquire(fleet, holder=plan.rollout.id, ttl_s=lease_s)
        if self._has_changed_since(plan):
            self.tools.leases.release(lease)
            raise RefusedError(
                f"fleet {fleet} was changed while rollout {plan.rollout.id} was planned; it "
                "changed nothing: run it again, to plan it anew"
            )
        self.tools.router.sync(self.tools.fleet, fence=lease.fence)
        self.tools.journal.open_rollout(plan.rollout)

    def _has_changed_since(self, plan: Plan) -> bool:
        """Return whether the plan looked at another world; its idle colour may serve by now."""
        history, planned = self._history(), plan.rollout
        now = live(history)
        before = None if planned.is_first else (planned.previous_digest, planned.colour.other)
        return unfinished(history) is not None or before != (now and (now.digest, now.colour))

    def _wanted(
        self, request: DeployRequest, now: Live | None, *, serves: bool
    ) -> tuple[Wanted, int | None]:
        from greenlight.entrypoints.rollout_tools import require_version

        models, model = self.tools.models, self.tools.fleet.model
        version = require_version(models.registry, model, request.version)
        folder = models.folder(model, version)
        standing = models.standing(model, version)
        changes: tuple[str, ...] = ()
        bytes_live = unknown = None
        if now is not None:
            try:
                before = models.folder(model, now.version)
            except InputError as lost:
                if serves:
                    raise
                unknown = str(lost)  # one more reason why it can never start again
            else:
                bytes_live = _weight_bytes(before.manifest)
                changes = tuple(str(d) for d in compare_interface(before.path, folder.path))
        allowed = request.allow_interface_change
        refusal = None if standing["approved"] else f"it is not approved: {standing['reason']}"
        wanted = Wanted(
            model=model,
            version=version,
            digest=folder.manifest.digest,
            weight_bytes=_weight_bytes(folder.manifest),
            refusal=refusal,
            interface_changes=() if allowed else changes,
            interface_unknown=None if allowed else unknown,
            golden_prompts=len(models.golden(model, version)),
            is_baseline=bool(standing.get("baseline")),
        )
        return wanted, bytes_live

    def _unreachable(self) -> dict[str, str]:
        def ask(host: str) -> str | None:
            try:
                self.tools.hosts[host].ping()
            except GreenlightError as error:
                return str(error)
            return None

        with ThreadPoolExecutor(len(self.tools.hosts)) as pool:
            answers = dict(zip(self.tools.hosts, pool.map(ask, self.tools.hosts), strict=True))
        return {host: why for host, why in answers.items() if why is not None}

    def _answering(self, colour: Colour, away: Collection[str]) -> tuple[str, ...]:
        """Return the hosts on which an engine of a colour answers its host, or the router."""
        seen = {s.host for s in self.tools.router.state().of(colour) if s.up}
        asked = [name for name in self.tools.hosts if name not in away]
        with ThreadPoolExecutor(len(self.tools.hosts)) as pool:
            found = pool.map(lambda name: self.tools.hosts[name].status(colour).state, asked)
            seen |= {n for n, s in zip(asked, found, strict=True) if s is EngineState.READY}
        return tuple(sorted(seen))

    def _resting(self, colour: Colour) -> tuple[str, ...]:
        """Return the hosts whose engine of a colour the router was told to send nothing to."""
        servers = self.tools.router.state().of(colour)
        return tuple(s.host for s in servers if s.mode is not ServerMode.READY)

    def _servers(self) -> list[JsonDict]:
        try:
            servers = self.tools.router.state().servers
        except UnavailableError as error:
            return [{"error": str(error)}]
        return [
            {
                "host": s.host, "colour": str(s.colour), "mode": str(s.mode), "weight": s.weight,
                "up": s.up, "sessions": s.sessions, "requests": s.requests, "errors": s.errors,
            }
            for s in servers
        ]  # fmt: skip

    def _history(self) -> History:
        return history_of(self.tools.journal, self.tools.fleet.name)


def open_deploy(fleet: str, *, settings: Settings | None = None) -> Deploy:
    """Open a fleet for this machine's settings.

    Raises:
        ConfigError: the fleet file is wrong, or lacks the fleet.
        RefusedError: no database or registry is configured, and the embedded stack is not up.
    """
    from greenlight.entrypoints.rollout_tools import open_tools

    settings = settings or load_settings()
    return Deploy(open_tools(settings, fleet), rollout_file=settings.config_file("rollout"))


def question(params: JsonDict) -> JsonDict | None:
    """Return what a person must be asked before a rollout; `None`: nothing.

    Raises:
        InputError: a parameter is unknown or not allowed, or there is no such version.
    """
    from greenlight.entrypoints import approvals
    from greenlight.entrypoints.models import open_registry
    from greenlight.entrypoints.rollout_tools import require_version

    settings, request = load_settings(), parse_deploy_request(params)
    fleet = load_fleet(settings.config_file("fleet"), request.fleet)
    registry = open_registry(settings)
    version = require_version(registry, fleet.model, request.version)
    return approvals.question(settings, model=fleet.model, version=version, registry=registry)


def begin(params: JsonDict, *, rollout_id: str, by: str) -> JsonDict:
    """Begin what the DAG's form asks for.

    Raises:
        InputError: a parameter is unknown or not allowed.
    """
    request = parse_deploy_request(params)
    return open_deploy(request.fleet).begin(request, rollout_id=rollout_id, by=by)


def go_back(params: JsonDict) -> JsonDict:
    """Do what the form of the DAG `deploy_roll_back` asks for: fleet, rollout, reason, by.

    Raises:
        RefusedError, InputError: as `Deploy.go_back_from`.
    """
    deploy = open_deploy(params["fleet"])
    return deploy.go_back_from(params["rollout"], reason=f"{params['by']}: {params['reason']}")


def stop(fleet: str, *, settings: Settings | None = None) -> None:
    """Stop a fleet's engines and its router, at once and without a database; nobody is served.

    What is live stays written down: `Deploy.start` starts it again.
    """
    from greenlight.adapters.haproxy.router import HaproxyRouter
    from greenlight.adapters.hosts import open_host

    settings = settings or load_settings()
    found = load_fleet(settings.config_file("fleet"), fleet)
    HaproxyRouter(found, folder=settings.home / "router" / found.name).stop(grace_s=STOP_GRACE_S)
    for host in found.hosts:
        with open_host(host, found.engine, settings=settings) as runner:
            for colour in Colour:
                runner.stop(colour)


def step(plan: JsonDict, name: str, *arguments: str) -> JsonDict:
    """Do one step of `Steps` for the rollout of a plan; `{"skipped": …}` when it has nothing to do.

    A step that returns nothing returns `{}`.
    """
    if plan["nothing_to_do"]:
        return {"skipped": plan["nothing_to_do"]}
    made: JsonDict | None = getattr(open_deploy(plan["fleet"]).steps, name)(
        plan["rollout_id"], *arguments
    )
    return made or {}


def finish(plan: JsonDict | None) -> JsonDict:
    """Return how the rollout ended.

    Raises:
        GateError: it went back; the message says why.
        RefusedError: it never began.
    """
    from greenlight.entrypoints.models import open_registry

    if plan is None:
        raise RefusedError(
            "the rollout was refused; the last line of `preflight` or `begin` says why"
        )
    if plan["nothing_to_do"]:
        log.info("%s", plan["nothing_to_do"])
        return plan
    settings = load_settings()
    ended = open_deploy(plan["fleet"], settings=settings).steps.outcome(plan["rollout_id"])
    pages = airflow_pages(settings.airflow_url)
    show_rollout(open_registry(settings), ended, airflow_url=pages)
    if ended["outcome"] != Outcome.LIVE:
        raise GateError(
            f"{ended['model']} version {ended['version']} ({short(ended['digest'])}) is not live: "
            f"{ended['outcome'] or 'unfinished'}: {ended['reason']}"
        )
    return ended


def _kept(request: DeployRequest, settings: RolloutSettings, plan: Plan) -> JsonDict:
    """Return what a retry must find again, whatever the configuration says by then."""
    return {
        "request": request.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "moves": list(plan.moves),
        "plan": plan.to_json(),
    }


def _weight_bytes(manifest: Manifest) -> int:
    found = sum(f.size for f in manifest.files if f.path.endswith(".safetensors"))
    if found == 0:
        raise InputError(f"model {short(manifest.digest)} has no safetensors files")
    return found
