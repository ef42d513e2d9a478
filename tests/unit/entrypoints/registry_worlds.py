"""A registry with a parent and a judged candidate, without a server."""

from datetime import UTC, datetime, timedelta

from greenlight.core.clock import SystemClock
from greenlight.core.digest import manifest_of
from greenlight.core.files import write_json
from greenlight.quantize.evidence import DataEvidence, Evidence, ParentEvidence, gather
from greenlight.quantize.gate_strategies.limit import Limit
from greenlight.quantize.gates import GateSettings
from greenlight.quantize.jobs import Backend, Protocol
from greenlight.quantize.measurements import Metric
from greenlight.quantize.recipes import Recipe
from greenlight.registry.approvals import Approval
from greenlight.registry.ports import Registration, RunLog
from greenlight.registry.tags import EVIDENCE_FILE, Tag
from greenlight.testing.memory_registry import MemoryRegistry
from greenlight.testing.model_folders import write_llama

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GATES = GateSettings(
    preset="test",
    gates=(Limit(name="ratio", metric="perplexity_ratio", max=1.05),),
)


class Clock(SystemClock):
    def now(self):
        return NOW


class MemoryApprovals:
    """Decisions in a list; `away` fails once, as a database that just went."""

    def __init__(self):
        self.kept = []

    def append(self, approval: Approval):
        self.kept.append(Approval(**{**self._fields(approval), "id": len(self.kept) + 1}))
        return self.kept[-1]

    def approvals(self, *, model=None, version=None):
        return tuple(
            a for a in self.kept if model in (None, a.model) and version in (None, a.version)
        )

    @staticmethod
    def _fields(approval):
        return {name: getattr(approval, name) for name in approval.__dataclass_fields__}


def evidence_of(manifest, parent, *, ratio=1.02, created_at=NOW - timedelta(days=1)) -> Evidence:
    return gather(
        model="smollm2",
        parent=ParentEvidence(
            digest=parent.digest, dtype="float32", uri="models:/smollm2/1", bytes=1000
        ),
        candidate_digest=manifest.digest,
        candidate_bytes=260,
        recipe=Recipe(name="q4", bits=4),
        backend=Backend.GPTQMODEL,
        data=(
            DataEvidence(
                role="evaluation", name="heldout", version="1", digest="d" * 64, rows=3,
                licence="mit",
            ),
        ),
        protocol=Protocol(),
        gates=GATES,
        metrics=(
            Metric(
                name="perplexity_ratio", value=ratio, unit="ratio", n=64,
                low=ratio - 0.01, high=ratio + 0.01, baseline="parent in float32",
            ),
        ),
        tools={"gptqmodel": "7.6.0"},
        created_at=created_at,
    )  # fmt: skip


def register_parent(registry, tmp_path):
    folder = write_llama(tmp_path / "parent")
    return registry.register(
        Registration(
            model="smollm2",
            folder=folder,
            manifest=manifest_of(folder),
            run=RunLog(key="", name="import"),
            tags={Tag.KIND: "imported"},
        )
    )


def register_candidate(registry, parent, tmp_path, **changes):
    """Register a candidate with evidence and return its version."""
    folder = write_llama(tmp_path / "candidate", fill=9)
    manifest = manifest_of(folder)
    evidence = evidence_of(manifest, parent, **changes)
    file = tmp_path / f"{evidence.digest}.json"
    write_json(file, evidence.to_json())
    return registry.register(
        Registration(
            model="smollm2",
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


def world(tmp_path, **changes):
    """Return a registry, the parent's version and the candidate's."""
    registry = MemoryRegistry()
    parent = register_parent(registry, tmp_path)
    return registry, parent, register_candidate(registry, parent, tmp_path, **changes)
