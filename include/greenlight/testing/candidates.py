"""A parent and a judged candidate in any registry, without a model that could be run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from greenlight.core.digest import Manifest, manifest_of
from greenlight.core.files import write_json
from greenlight.quantize.evidence import DataEvidence, Evidence, ParentEvidence, gather
from greenlight.quantize.gate_strategies.limit import Limit
from greenlight.quantize.gates import GateSettings
from greenlight.quantize.jobs import Backend, Protocol
from greenlight.quantize.measurements import Metric
from greenlight.quantize.recipes import Recipe
from greenlight.registry.ports import ModelRegistry, Registration, RunLog, Version
from greenlight.registry.tags import EVIDENCE_FILE, Tag
from greenlight.testing.model_folders import write_llama

CREATED = datetime(2026, 11, 23, 12, tzinfo=UTC)
LIMIT = 1.05
GATES = GateSettings(
    preset="test", gates=(Limit(name="ratio", metric="perplexity_ratio", max=LIMIT),)
)


def evidence_of(
    manifest: Manifest, *, model: str, parent: Version, ratio: float, created_at: datetime
) -> Evidence:
    """Return evidence whose only number is `ratio` ± 0.01, held against a limit of 1.05."""
    heldout = DataEvidence(
        role="evaluation", name="heldout", version="1", digest="d" * 64, rows=3, licence="mit"
    )
    return gather(
        model=model,
        parent=ParentEvidence(
            digest=parent.digest,
            dtype="float32",
            uri=f"models:/{model}/{parent.version}",
            bytes=1000,
        ),
        candidate_digest=manifest.digest,
        candidate_bytes=260,
        recipe=Recipe(name="q4", bits=4),
        backend=Backend.GPTQMODEL,
        data=(heldout,),
        protocol=Protocol(),
        gates=GATES,
        metrics=(
            Metric(
                name="perplexity_ratio",
                value=ratio,
                unit="ratio",
                n=64,
                low=ratio - 0.01,
                high=ratio + 0.01,
                baseline="parent in float32",
            ),
        ),
        tools={"gptqmodel": "7.6.0"},
        created_at=created_at,
    )


def register_parent(registry: ModelRegistry, root: Path, *, model: str = "smollm2") -> Version:
    """Register an imported version."""
    folder = write_llama(root / "parent")
    return registry.register(
        Registration(
            model=model,
            folder=folder,
            manifest=manifest_of(folder),
            run=RunLog(key="", name="import"),
            tags={Tag.KIND: "imported"},
        )
    )


def register_candidate(
    registry: ModelRegistry,
    parent: Version,
    root: Path,
    *,
    ratio: float = 1.02,
    created_at: datetime = CREATED,
    extra: Mapping[str, str] | None = None,
) -> Version:
    """Register a quantized version of the parent's model with its evidence.

    `extra`: more files of its folder, such as a simulated engine's settings.
    """
    folder = write_llama(root / "candidate", fill=9)
    for name, text in (extra or {}).items():
        (folder / name).write_text(text)
    manifest = manifest_of(folder)
    evidence = evidence_of(
        manifest, model=parent.model, parent=parent, ratio=ratio, created_at=created_at
    )
    file = root / f"{evidence.digest}.json"
    write_json(file, evidence.to_json())
    return registry.register(
        Registration(
            model=parent.model,
            folder=folder,
            manifest=manifest,
            run=RunLog(key="", name="q4", artifacts={EVIDENCE_FILE: file}),
            tags={
                Tag.KIND: "quantized",
                Tag.PARENT_VERSION: str(parent.version),
                Tag.PARENT_DIGEST: parent.digest,
                Tag.RECIPE: "q4",
                Tag.RECIPE_DIGEST: evidence.candidate.recipe_digest,
                Tag.VERDICT: str(evidence.verdict),
            },
            evidence_digest=evidence.digest,
        )
    )
