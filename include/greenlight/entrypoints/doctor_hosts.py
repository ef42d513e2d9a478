"""The doctor's look at machines: every host of fleet.yaml, and the GPUs of this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from greenlight.core.errors import ConfigError
from greenlight.core.findings import Answer, Finding, answer_if, look
from greenlight.core.settings import Settings, read_config
from greenlight.deploy.fleet import Fleet, FleetFile, Host
from greenlight.deploy.ports import Gpu, HostFacts
from greenlight.entrypoints.fleet_reconcile import deployed_fleets

PART = "hosts"
CLOCK_S = 2.0
"""Journals, certificates and signed requests of hosts are compared with ours."""
DISK_GB = 10
GB = 10**9


def look_at_hosts(settings: Settings) -> Iterator[Finding]:
    """Ask every host what it is; one that doesn't answer is not known to be fit.

    Of the example's fleets only those that something was deployed to. This machine's own GPUs may
    be what quantizes.
    """
    from greenlight.adapters.hosts.agent.machine import find_gpus

    here, problem = find_gpus()
    if here or problem:
        yield judge_gpus("this machine", [Gpu(**one) for one in here], problem=problem)
    path = settings.config_file("fleet")
    fleets = read_config(path, FleetFile).fleets
    if not path.is_relative_to(settings.home):
        used = deployed_fleets(settings)
        fleets = tuple(fleet for fleet in fleets if fleet.name in used)
    if not fleets:
        yield Finding(
            part=PART, answer=Answer.WARNING, evidence="fleet.yaml is the example: none is yours",
            fix="describe your hosts: docs/how-to/deploy.md",
        )  # fmt: skip
    for fleet in fleets:
        for host in fleet.hosts:
            yield from look(PART, partial(_look_at, settings, fleet, host))


def _look_at(settings: Settings, fleet: Fleet, host: Host) -> Iterator[Finding]:
    from greenlight.adapters.hosts import open_host

    with open_host(host, fleet.engine, settings=settings) as runner:
        try:
            yield from judge(fleet, host, runner.describe())
            runner.ping()
        except ConfigError as error:
            yield _failed(f"{fleet.name}: {error}", "or correct the host in fleet.yaml")


def judge(fleet: Fleet, host: Host, facts: HostFacts) -> Iterator[Finding]:
    """Say whether a host is what its fleet needs."""
    name = f"{fleet.name}/{host.name}"
    yield answer_if(
        PART, facts.disk_free > DISK_GB * GB,
        f"{name}: answers, Python {facts.python}, {facts.disk_free / GB:.0f} GB free of "
        f"{facts.disk_total / GB:.0f}",
        fix=f"keep {DISK_GB} GB and room for another model in {host.root}",
        otherwise=Answer.WARNING,
    )  # fmt: skip
    yield answer_if(
        PART, abs(facts.clock_ahead_s) <= CLOCK_S + facts.clock_within_s,
        f"{name}: clock {facts.clock_ahead_s:+.1f} s from ours, to {facts.clock_within_s:.1f} s",
        fix="let both machines follow a time server (systemd-timesyncd, chrony)",
    )  # fmt: skip
    for colour, port in facts.taken.items():
        yield Finding(
            part=PART, answer=Answer.FAILED,
            evidence=f"{name}: nothing is deployed as {colour}, but something listens on {port}",
            fix="stop it (`ss -ltnp` names it), or change the slot's port in fleet.yaml",
        )  # fmt: skip
    if host.gpus or facts.gpus or facts.gpu_problem:
        yield judge_gpus(
            name, facts.gpus, problem=facts.gpu_problem, wanted=host.gpus,
            wanted_gb=host.gpu_memory_gb if host.gpus else None,
        )  # fmt: skip


def judge_gpus(
    name: str,
    gpus: Sequence[Gpu],
    *,
    problem: str | None,
    wanted: int = 0,
    wanted_gb: float | None = None,
) -> Finding:
    """Say whether a machine's GPUs work, and are as many and as large as they should be."""
    fits = "correct the host in fleet.yaml, or the machine"
    if problem is not None:
        return _failed(
            f"{name}: the GPU's driver doesn't answer: {problem}",
            "restart after an update of the driver; else install it anew: `nvidia-smi` must work",
        )  # fmt: skip
    if len(gpus) < wanted:
        return _failed(f"{name}: GPUs: {len(gpus)}; fleet.yaml says {wanted}", fits)
    known = [gpu.memory_bytes for gpu in gpus if gpu.memory_bytes is not None]
    all_known = len(known) == len(gpus)
    memory = f"{sum(known) / GB:.0f} GB" if all_known else "memory unknown"
    if wanted_gb is not None and all_known and sum(known) < wanted_gb * GB:
        return _failed(f"{name}: {memory} on its GPUs, fleet.yaml says {wanted_gb:g}", fits)
    broken = sum(gpu.uncorrected_errors or 0 for gpu in gpus)
    if broken:
        return _failed(
            f"{name}: {broken} uncorrected memory errors",
            "drain the host, reset or replace the card: docs/runbooks/deploy.md#gpuerrors",
        )  # fmt: skip
    kinds = ", ".join(sorted({f"{gpu.name}, driver {gpu.driver}" for gpu in gpus}))
    counted = all(gpu.uncorrected_errors is not None for gpu in gpus)
    errors = "no uncorrected error" if counted else "errors not counted"
    return Finding(
        part=PART, answer=Answer.OK, evidence=f"{name}: {len(gpus)} × {kinds}, {memory}, {errors}"
    )


def _failed(evidence: str, fix: str) -> Finding:
    return Finding(part=PART, answer=Answer.FAILED, evidence=evidence, fix=fix)
