"""Plan a rollout: everything that can be refused is refused before anything changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from greenlight.core.digest import short
from greenlight.core.errors import RefusedError
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import Live, Rollout
from greenlight.deploy.rollout_file import RolloutSettings, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The version that should go live, and what is known about it.

    `refusal`: why it may not go live (nobody approved it, its evidence is too old); `None`: it may.
    `interface_changes`: what clients would notice beside the weights, such as another tokenizer.
    `interface_unknown`: why that could not be found out. `golden_prompts`: answers that its
    evidence recorded. `is_baseline`: approved without evidence, as what a fleet starts with.
    """

    model: str
    version: int
    digest: str
    weight_bytes: int
    refusal: str | None
    interface_changes: tuple[str, ...] = ()
    interface_unknown: str | None = None
    golden_prompts: int = 0
    is_baseline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is true before the rollout. `unreachable`: hosts that did not answer, with the reason.

    `live_serves`: whether the router sends anybody to what is live. `live_answers`: hosts on which
    one of its engines answers, sent to or not; looked for only when it should be given up.
    `live_weight_bytes` belongs to `live`. `served_before`: digests that the fleet served once.
    `unfinished`: the id of a rollout that was left half-way. `resting`: hosts whose live engine was
    taken out of traffic, by a schedule or by a person.
    """

    now: datetime
    live: Live | None
    live_weight_bytes: int | None
    unreachable: Mapping[str, str]
    live_serves: bool = True
    live_answers: tuple[str, ...] = ()
    served_before: frozenset[str] = frozenset()
    unfinished: str | None = None
    resting: tuple[str, ...] = ()

    @property
    def live_is_dead(self) -> bool:
        """Whether something is live, and nobody gets an answer from it."""
        return self.live is not None and not (self.live_serves or self.live_answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be done, or why nothing is.

    `nothing_to_do`: the fleet serves exactly this already.
    """

    rollout: Rollout
    shares: tuple[int, ...]
    bake_s: float
    hosts: tuple[str, ...]
    refusals: tuple[str, ...]
    nothing_to_do: str | None = None
    takes_over: str | None = None

    @property
    def moves(self) -> tuple[str, ...]:
        """What traffic is moved by, in order: shares in percent, or hosts."""
        return self.hosts if self.host_by_host else tuple(str(share) for share in self.shares)

    @property
    def host_by_host(self) -> bool:
        """Whether hosts are exchanged one after the other, each without both colours."""
        return self.rollout.strategy == Strategy.ROLLING and not self.rollout.is_alone

    @property
    def gatekeeper(self) -> str:
        """The host that proves the version before the others start."""
        return self.hosts[0]

    def require_possible(self) -> None:
        """Return when the plan may be carried out.

        Raises:
            RefusedError: it may not; the message lists every reason.
        """
        if self.refusals:
            raise RefusedError(
                f"{self.rollout.model} version {self.rollout.version} does not go to fleet "
                f"{self.rollout.fleet}: {'; '.join(self.refusals)}; nothing was changed"
            )

    def steps(self) -> tuple[str, ...]:
        """Return the plan as lines a person can read."""
        rollout = self.rollout
        old = rollout.colour.other
        version = f"version {rollout.version} ({short(rollout.digest)})"
        lines = []
        if self.takes_over:
            back = "end" if rollout.replaces_dead else "go back from"
            lines.append(f"{back} rollout {self.takes_over}, which was left unfinished")
        if rollout.replaces_dead:
            lines.append(
                f"give up version {rollout.previous_version}, of which no engine answers: stop "
                f"what is left of {old}"
            )
        lines += (
            self._hosts_exchanged(version) if self.host_by_host else self._shares_moved(version)
        )
        lines.append(f"point alias champion at {version}")
        if not (rollout.is_alone or self.host_by_host):
            lines.append(f"drain {old} until its streams end, and stop it")
        return tuple(lines)

    def _shares_moved(self, version: str) -> Iterator[str]:
        new, old = self.rollout.colour, self.rollout.colour.other
        for host in self.hosts:
            yield (
                f"on host {host}: copy and verify {version}, start it as {new}, wait until it is "
                "ready"
            )
        yield f"ask {new} golden prompts on every host, then warm it up"
        if self.rollout.is_first:
            yield f"send everything to {new}; nothing was live, so nothing is compared"
        elif self.rollout.replaces_dead:
            yield (
                f"send everything to {new}; {old} is dead, so nothing is compared, and going back "
                "means that nobody serves"
            )
        else:
            for share in self.shares:
                yield f"send {share} % to {new}, and compare it with {old}"
            yield f"keep {old} warm for {self.bake_s:g} s, comparing"

    def _hosts_exchanged(self, version: str) -> Iterator[str]:
        new, old = self.rollout.colour, self.rollout.colour.other
        for host in self.hosts:
            yield f"on host {host}: copy and verify {version}"
        for host in self.hosts:
            yield (
                f"on host {host}: drain and stop {old}, start {new}, ask it golden prompts, warm "
                "it up, send it the host's traffic"
            )
            if host != self.hosts[-1]:
                yield f"compare {new} with {old} on the hosts that still have it"
            else:
                yield f"judge {new} alone: no host has {old} any more"

    def to_json(self) -> JsonDict:
        """Return plain JSON: the rollout, its steps, and why it is refused."""
        return {
            "rollout_id": self.rollout.id,
            "fleet": self.rollout.fleet,
            "model": self.rollout.model,
            "version": self.rollout.version,
            "digest": self.rollout.digest,
            "flags_digest": self.rollout.flags_digest,
            "strategy": self.rollout.strategy,
            "colour": str(self.rollout.colour),
            "previous_version": self.rollout.previous_version,
            "replaces_dead": self.rollout.replaces_dead,
            "hosts": list(self.hosts),
            "gatekeeper": self.gatekeeper,
            "others": [host for host in self.hosts if host != self.gatekeeper],
            "moves": list(self.moves),
            "bake_s": self.bake_s,
            "steps": list(self.steps()),
            "refusals": list(self.refusals),
            "nothing_to_do": self.nothing_to_do,
        }


def plan_rollout(
    rollout_id: str,
    *,
    fleet: Fleet,
    settings: RolloutSettings,
    wanted: Wanted,
    world: World,
    by: str,
    request: JsonDict,
    replace_dead: bool = False,
) -> Plan:
    """Decide what a rollout does; nothing is touched. The idle colour is the other than the live.

    `replace_dead`: go on without what is live, if it is dead; then nothing is compared. Every
    reason to refuse is found, not only the first.
    """
    live = world.live
    dead = replace_dead and world.live_is_dead
    rollout = Rollout(
        id=rollout_id,
        fleet=fleet.name,
        model=wanted.model,
        version=wanted.version,
        digest=wanted.digest,
        flags_digest=fleet.engine.digest,
        strategy=settings.strategy,
        colour=live.colour.other if live else Colour.BLUE,
        started_at=world.now,
        started_by=by,
        previous_version=live.version if live else None,
        previous_digest=live.digest if live else None,
        request=request | ({"replaces_dead": True} if dead else {}),
    )
    same = live and (live.digest, live.flags_digest) == (rollout.digest, rollout.flags_digest)
    return Plan(
        rollout=rollout,
        shares=(100,) if rollout.is_alone else settings.shares,
        bake_s=settings.bake_s,
        hosts=tuple(host.name for host in fleet.hosts),
        refusals=tuple(_refusals(fleet, settings, wanted, world, replace_dead=replace_dead)),
        nothing_to_do=f"fleet {fleet.name} serves version {wanted.version} already"
        if same and world.unfinished is None and not dead
        else None,
        takes_over=world.unfinished,
    )


def _refusals(
    fleet: Fleet, settings: RolloutSettings, wanted: Wanted, world: World, *, replace_dead: bool
) -> Sequence[str]:
    alone = world.live is None or (replace_dead and world.live_is_dead)
    found = list(_about_version(fleet, wanted, world))
    if world.live:
        found += _about_live(world.live, fleet, world, replace_dead=replace_dead)
    if not alone:
        found += settings.out_of_reach(prompts=wanted.golden_prompts)
    return [*found, *_about_hosts(fleet, settings, wanted, world, alone=alone)]


def _about_version(fleet: Fleet, wanted: Wanted, world: World) -> Iterator[str]:
    if wanted.model != fleet.model:
        yield f"the fleet serves {fleet.model}, not {wanted.model}"
    if wanted.refusal:
        yield wanted.refusal
    if world.live:
        yield from (f"clients would notice: {change}" for change in wanted.interface_changes)
    if wanted.interface_unknown:
        yield (
            f"whether clients would notice is not known: {wanted.interface_unknown}; "
            "--allow-interface-change goes on"
        )
    if wanted.is_baseline and world.live and wanted.digest not in world.served_before:
        yield (
            "it was approved as a baseline, without evidence, which only a fleet that serves "
            "nothing may start with; validate it with quantize_and_validate"
        )


def _about_live(live: Live, fleet: Fleet, world: World, *, replace_dead: bool) -> Iterator[str]:
    start = f"`greenlight deploy start {fleet.name}`"
    if replace_dead and not world.live_is_dead:
        where = ", ".join(world.live_answers) or "the router"
        back = "" if world.live_serves else f", and bring it back: {start}"
        yield (
            f"version {live.version} is not dead: it answers on {where}. Leave --replace-dead "
            f"out{back}"
        )
    if not replace_dead and not world.live_serves:
        yield (
            f"version {live.version} is live, but none of its engines serves, so there is nothing "
            f"to compare with or to go back to: {start}; if it can never start again, give it up "
            "with --replace-dead"
        )
    if world.live_serves and world.resting:
        yield (
            f"version {live.version} doesn't serve on {', '.join(world.resting)}, so it would be "
            f"compared by engines that rest: {start}, or where a schedule lets them rest "
            f"`greenlight scaling override {fleet.name} --min {len(fleet.hosts)}`"
        )


def _about_hosts(
    fleet: Fleet, settings: RolloutSettings, wanted: Wanted, world: World, *, alone: bool
) -> Iterator[str]:
    yield from (f"host {host} cannot be used: {why}" for host, why in world.unreachable.items())
    rolling = settings.strategy is Strategy.ROLLING
    small = fleet.too_small_for_both(
        green_bytes=wanted.weight_bytes,
        blue_bytes=None if rolling or alone else world.live_weight_bytes,
    )
    if small:
        yield small + ("" if rolling or alone else "; choose the strategy rolling")
    if rolling and len(fleet.hosts) < 2:
        yield "rolling needs two hosts at least, or nobody would serve meanwhile"
