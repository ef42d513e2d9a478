"""Turn the winner of a search into a version with evidence."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.clock import Clock
from greenlight.core.digest import manifest_of, short
from greenlight.core.errors import GateError, InputError
from greenlight.core.files import write_json
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints.version_page import show_evidence
from greenlight.quantize.evidence import (
    ControlEvidence,
    DataEvidence,
    Evidence,
    ParentEvidence,
    gather,
    read_evidence,
)
from greenlight.quantize.gates import GateSettings
from greenlight.quantize.jobs import Dataset
from greenlight.quantize.measurements import Metric, Verdict
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.request import parse_request
from greenlight.quantize.serving import GoldenAnswer
from greenlight.registry.description import describe_candidate
from greenlight.registry.ports import DatasetUse, ModelRegistry, Registration, RunLog, Version
from greenlight.registry.tags import EVIDENCE_FILE, Alias, Tag

if TYPE_CHECKING:
    from greenlight.adapters.work_store import WorkStore

log = logging.getLogger(__name__)


def register(
    settings: Settings,
    *,
    registry: ModelRegistry,
    work: WorkStore,
    clock: Clock,
    gates: GateSettings,
    source: JsonDict,
    data: JsonDict,
    parent: JsonDict,
    control: JsonDict,
    winner: JsonDict,
    served: tuple[Metric, ...],
    golden: tuple[GoldenAnswer, ...],
) -> JsonDict:
    """Judge everything, register the version with its evidence, and point `candidate` at it.

    Registering the same winner again finds the version. Returns what the approval task shows.

    Raises:
        GateError: a gate failed or could not decide; nothing is registered.
        InputError: the quantized files changed since they were measured.
    """
    manifest = manifest_of(Path(winner["path"]))
    if manifest.digest != winner["digest"]:
        raise InputError(
            f"{winner['path']} holds {short(manifest.digest)}, but {short(winner['digest'])} was "
            "measured; delete the folder and run again"
        )
    inputs = {
        "source": source,
        "winner": winner["digest"],
        "metrics": winner["metrics"],
        "served": [m.model_dump(mode="json") for m in served],
        "golden": [g.model_dump(mode="json") for g in golden],
        "gates": gates.digest,
    }
    evidence = read_evidence(
        work.once(
            "evidence",
            inputs,
            lambda _: _gather(
                clock, gates, source=source, data=data, control=control, winner=winner,
                served=served, golden=golden, parent_bytes=_weight_bytes(Path(source["path"])),
            ).to_json(),
        )
    )  # fmt: skip
    _refuse_unless_passed(evidence)
    file = work.folder("evidence", inputs) / "evidence.json"
    write_json(file, evidence.to_json())
    description = describe_candidate(evidence)
    version = registry.register(
        Registration(
            model=source["model"],
            folder=Path(winner["path"]),
            manifest=manifest,
            run=_run_log(evidence, data=data, winner=winner, file=file),
            tags=_tags(evidence, source=source),
            description=description,
            evidence_digest=evidence.digest,
        )
    )
    show_evidence(registry, version)
    registry.set_alias(version.model, alias=Alias.CANDIDATE, version=version.version)
    log.info("%s version %d is the candidate", version.model, version.version)
    return _answer(version, evidence, description, registry=registry, winner=winner)


def _gather(
    clock: Clock,
    gates: GateSettings,
    *,
    source: JsonDict,
    data: JsonDict,
    control: JsonDict,
    winner: JsonDict,
    served: tuple[Metric, ...],
    golden: tuple[GoldenAnswer, ...],
    parent_bytes: int,
) -> Evidence:
    request = parse_request(source["request"])
    evaluation = [Dataset.model_validate(d) for d in data["evaluation"]]
    return gather(
        model=source["model"],
        parent=ParentEvidence(
            digest=source["digest"],
            dtype=source["dtype"],
            uri=f"models:/{source['model']}/{source['version']}",
            bytes=parent_bytes,
        ),
        candidate_digest=winner["digest"],
        candidate_bytes=winner["bytes"],
        recipe=Recipe.model_validate(winner["recipe"]),
        backend=request.backend,
        data=(
            DataEvidence.of(Dataset.model_validate(data["calibration"]), role="calibration"),
            *(DataEvidence.of(d, role="evaluation") for d in evaluation),
        ),
        protocol=request.protocol,
        gates=gates,
        golden=golden,
        metrics=(*(Metric.model_validate(m) for m in winner["metrics"]), *served),
        tools=winner["tools"],
        created_at=clock.now(),
        control=ControlEvidence(
            recipe=Recipe.model_validate(control["recipe"]),
            metrics=tuple(Metric.model_validate(m) for m in control["metrics"]),
            verdict=Verdict(control["verdict"]),
        ),
    )


def _refuse_unless_passed(evidence: Evidence) -> None:
    if evidence.verdict is Verdict.PASS:
        return
    missed = "; ".join(
        f"{r.gate} on {r.metric}: {r.verdict}, {r.reason}"
        for r in evidence.results
        if r.verdict is not Verdict.PASS
    )
    raise GateError(
        f"{evidence.candidate.recipe.name} passed before it was served, but now is "
        f"{evidence.verdict}: {missed}. Nothing is registered. The measurement is kept: if the "
        "machine was busy, move the folder `served` of work/ away and run again"
    )


def _run_log(evidence: Evidence, *, data: JsonDict, winner: JsonDict, file: Path) -> RunLog:
    plot = Path(winner["plot"])
    uses = [(data["calibration"], "calibration")]
    uses += [(entry, "evaluation") for entry in data["evaluation"]]
    losses = winner["losses"]
    return RunLog(
        key="",  # the registry sets it
        name=f"{evidence.model} {evidence.candidate.recipe.name}",
        params={
            "recipe": evidence.candidate.recipe.name,
            "backend": evidence.candidate.backend,
            "parent": evidence.parent.uri,
            "gates": evidence.gates.preset,
        },
        metrics={metric.name: metric.value for metric in evidence.metrics},
        artifacts={
            EVIDENCE_FILE: file,
            "search/pareto.png": plot,
            "search/pareto.svg": plot.with_suffix(".svg"),
            "data-docs": Path(data["docs"]),
        },
        tables={
            "evidence/metrics.json": {
                "metric": [m.name for m in evidence.metrics],
                "value": [m.value for m in evidence.metrics],
                "low": [m.low for m in evidence.metrics],
                "high": [m.high for m in evidence.metrics],
                "n": [m.n for m in evidence.metrics],
                "unit": [m.unit for m in evidence.metrics],
            },
            "evidence/gates.json": {
                "gate": [r.gate for r in evidence.results],
                "metric": [r.metric for r in evidence.results],
                "verdict": [str(r.verdict) for r in evidence.results],
                "reason": [r.reason for r in evidence.results],
            },
            "evidence/layer_loss.json": {
                "module": [entry["module"] for entry in losses],
                "bits": [entry["bits"] for entry in losses],
                "loss": [entry["loss"] for entry in losses],
            },
        },
        datasets=tuple(
            DatasetUse(
                name=entry["name"],
                digest=entry["digest"],
                source=entry["source"],
                context=context,
                rows=entry["rows"],
            )
            for entry, context in uses
        ),
    )


def _tags(evidence: Evidence, *, source: JsonDict) -> dict[str, str]:
    return {
        Tag.KIND: "quantized",
        Tag.SOURCE: evidence.parent.uri,
        Tag.LICENCE: source["licence"],
        Tag.PARENT_VERSION: str(source["version"]),
        Tag.PARENT_DIGEST: evidence.parent.digest,
        Tag.RECIPE: evidence.candidate.recipe.name,
        Tag.RECIPE_DIGEST: evidence.candidate.recipe_digest,
        Tag.BYTES: str(evidence.candidate.bytes),
        Tag.VERDICT: evidence.verdict,
    }


def _answer(
    version: Version,
    evidence: Evidence,
    description: str,
    *,
    registry: ModelRegistry,
    winner: JsonDict,
) -> JsonDict:
    return {
        "title": f"{version.model} version {version.version} ({evidence.candidate.recipe.name})",
        "model": version.model,
        "version": version.version,
        "digest": version.digest,
        "evidence_digest": evidence.digest,
        "description": description,
        "url": registry.version_url(version.model, version.version),
        "search_url": winner["search_url"],
        "plot": winner["plot"],
    }


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
