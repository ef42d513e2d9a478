"""Measure two folders beside each other, and judge a file of metrics."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings, explain
from greenlight.entrypoints.quantize import SEED
from greenlight.entrypoints.workbench import Model, open_bench
from greenlight.quantize.compare import compare
from greenlight.quantize.gates import Stage, judge, load_gates
from greenlight.quantize.interface import interface_metric
from greenlight.quantize.items import read_items
from greenlight.quantize.jobs import Device
from greenlight.quantize.measurements import GateResult, Metric
from greenlight.quantize.request import parse_request

METRICS = TypeAdapter(tuple[Metric, ...])


def evaluate(
    settings: Settings,
    candidate: Path,
    *,
    parent: Path,
    evaluation: list[str] | None,
    device: str,
    dry_run: bool = False,
) -> tuple[Metric, ...]:
    """Return every quality metric of `candidate`; none with `dry_run`, which only checks.

    Raises:
        ConfigError: an unknown device.
        InputError: a folder or a data set cannot be used.
    """
    from greenlight.adapters.dataset_store import DatasetStore

    chosen = {"model": "unnamed", "device": device}
    request = parse_request(chosen | ({"evaluation": evaluation} if evaluation else {}))
    bench, store = open_bench(settings), DatasetStore(settings.datasets)
    sets = tuple(store.load(name) for name in request.evaluation)
    folders = [Model(path=p.resolve(), digest=manifest_of(p).digest) for p in (parent, candidate)]
    interface = interface_metric(parent, candidate)
    if dry_run:
        return ()
    base, made = folders
    measured = bench.evaluate(base, sets, protocol=request.protocol, device=Device(request.device))
    compared = bench.evaluate(
        made,
        sets,
        protocol=request.protocol,
        device=Device(request.device),
        parent=Path(measured["folder"]),
    )
    return (
        *compare(
            read_items(Path(measured["folder"])),
            read_items(Path(compared["folder"])),
            seed=SEED,
        ),
        interface,
    )


def judge_file(settings: Settings, path: Path, *, preset: str) -> tuple[GateResult, ...]:
    """Judge a JSON list of metrics by the gates of a candidate.

    Raises:
        ConfigError: there is no such preset.
        InputError: the file is not a list of metrics.
    """
    try:
        metrics = METRICS.validate_python(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        why = explain(error, where=str(path)) if isinstance(error, ValidationError) else error
        raise InputError(f"{path} is not a list of metrics: {why}") from error
    return judge(metrics, load_gates(settings.config_file("gates"), preset), stage=Stage.CANDIDATE)
