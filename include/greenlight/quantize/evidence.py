"""The evidence of one validated version: everything a decision was based on, in one JSON.

`evidence.schema.json` is published beside this module and generated from it (`schema_text`). The
digest covers the whole document, its time included: an approval names it, and any edit breaks it.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from greenlight.core.digest import digest_json
from greenlight.core.errors import InputError
from greenlight.core.settings import explain
from greenlight.core.types import JsonDict, Value
from greenlight.quantize.gates import GateSettings, judge
from greenlight.quantize.jobs import Backend, Dataset, Protocol
from greenlight.quantize.measurements import GateResult, Metric, Verdict, overall
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.serving import GoldenAnswer

SCHEMA_VERSION: Final = 1
SCHEMA_FILE = Path(__file__).with_name("evidence.schema.json")

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ParentEvidence(Value):
    """The model that was made smaller. `dtype` is the checkpoint's, such as `float32`."""

    digest: Digest
    dtype: str
    uri: str
    bytes: Annotated[int, Field(ge=0)]


class CandidateEvidence(Value):
    """The model that was made. `bytes` are its weight files."""

    digest: Digest
    recipe: Recipe
    recipe_digest: Digest
    backend: Backend
    bytes: Annotated[int, Field(ge=0)]


class DataEvidence(Value):
    """One data set that was used, and for what."""

    role: Literal["calibration", "evaluation"]
    name: str
    version: str
    digest: Digest
    rows: int
    licence: str

    @classmethod
    def of(cls, dataset: Dataset, *, role: Literal["calibration", "evaluation"]) -> DataEvidence:
        """Return the evidence of a data set."""
        return cls(
            role=role,
            name=dataset.name,
            version=dataset.version,
            digest=dataset.digest,
            rows=dataset.rows,
            licence=dataset.licence,
        )


class ControlEvidence(Value):
    """What the same gates said about a model that should not pass (rounding to nearest)."""

    recipe: Recipe
    metrics: tuple[Metric, ...]
    verdict: Verdict


class Evidence(Value):
    """Everything about one candidate. Metric values are finite; times are in UTC."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model: Annotated[str, Field(min_length=1)]
    parent: ParentEvidence
    candidate: CandidateEvidence
    data: Annotated[tuple[DataEvidence, ...], Field(min_length=1)]
    protocol: Protocol
    protocol_digest: Digest
    gates: GateSettings
    gates_digest: Digest
    metrics: tuple[Metric, ...]
    results: tuple[GateResult, ...]
    verdict: Verdict
    control: ControlEvidence | None = None
    serving: tuple[Metric, ...] = ()
    """What the serving benchmark measured; the gates see it too."""
    golden: tuple[GoldenAnswer, ...] = ()
    """What the served candidate answered; every host must answer the same."""
    tools: dict[str, str]
    created_at: AwareDatetime

    @model_validator(mode="after")
    def _numbers_are_numbers(self) -> Self:
        control = self.control.metrics if self.control else ()
        for metric in (*self.metrics, *self.serving, *control):
            for number in (metric.value, metric.low, metric.high, metric.deviation):
                if number is not None and not math.isfinite(number):
                    raise ValueError(f"{metric.name} holds {number}, which JSON cannot carry")
        return self

    @property
    def measured(self) -> tuple[Metric, ...]:
        """Every metric that the gates see."""
        return (*self.metrics, *self.serving)

    @property
    def digest(self) -> str:
        """The SHA-256 of the canonical JSON of the whole document."""
        return digest_json(self.model_dump(mode="json"))

    def to_json(self) -> JsonDict:
        """Return the document as plain JSON."""
        return self.model_dump(mode="json")


def gather(
    *,
    model: str,
    parent: ParentEvidence,
    candidate_digest: str,
    candidate_bytes: int,
    recipe: Recipe,
    backend: Backend,
    data: tuple[DataEvidence, ...],
    protocol: Protocol,
    gates: GateSettings,
    metrics: tuple[Metric, ...],
    tools: dict[str, str],
    created_at: datetime,
    control: ControlEvidence | None = None,
    serving: tuple[Metric, ...] = (),
    golden: tuple[GoldenAnswer, ...] = (),
) -> Evidence:
    """Judge the metrics and return the evidence with every digest filled in."""
    results = judge((*metrics, *serving), gates)
    return Evidence(
        model=model,
        parent=parent,
        candidate=CandidateEvidence(
            digest=candidate_digest,
            recipe=recipe,
            recipe_digest=recipe.digest,
            backend=backend,
            bytes=candidate_bytes,
        ),
        data=data,
        protocol=protocol,
        protocol_digest=protocol_digest(protocol),
        gates=gates,
        gates_digest=gates.digest,
        metrics=metrics,
        results=results,
        verdict=overall(results),
        control=control,
        serving=serving,
        golden=golden,
        tools=tools,
        created_at=created_at,
    )


def read_evidence(data: JsonDict) -> Evidence:
    """Read the JSON of an evidence document.

    Raises:
        InputError: a key is unknown or missing, or a value is not what the schema allows.
    """
    try:
        return Evidence.model_validate(data)
    except ValidationError as error:
        raise InputError(explain(error, where="evidence")) from error


def protocol_digest(protocol: Protocol) -> str:
    """Return the digest of how quality was measured: two results with the same are comparable."""
    return digest_json(protocol.model_dump(mode="json"))


def verify(
    evidence: Evidence,
    *,
    evidence_digest: str | None = None,
    candidate_digest: str | None = None,
    parent_digest: str | None = None,
    gates: GateSettings | None = None,
) -> tuple[str, ...]:
    """Return everything that is wrong with `evidence`; nothing, when it holds.

    The gates are judged anew from the metrics, and every digest in the document is computed anew.
    What is known from elsewhere is compared where it is given: the digest that a registry or an
    approval recorded, the digests of the model folders as they are now, and the gates as the
    configuration has them now.
    """
    results = judge(evidence.measured, evidence.gates)
    problems = [
        *_unequal("recipe", evidence.candidate.recipe_digest, evidence.candidate.recipe.digest),
        *_unequal("protocol", evidence.protocol_digest, protocol_digest(evidence.protocol)),
        *_unequal("gates", evidence.gates_digest, evidence.gates.digest),
        *_unequal("evidence", evidence_digest, evidence.digest),
        *_unequal("candidate", candidate_digest, evidence.candidate.digest),
        *_unequal("parent", parent_digest, evidence.parent.digest),
        *_changed_results(evidence.results, results),
    ]
    if evidence.verdict is not overall(results):
        problems.append(
            f"the evidence says {evidence.verdict}, but its metrics give {overall(results)}"
        )
    if gates is not None and gates.digest != evidence.gates_digest:
        problems.append(
            f"judged by other gates ({evidence.gates.preset}) than {gates.preset} is now; "
            f"they say {overall(judge(evidence.measured, gates))}"
        )
    return tuple(problems)


def evidence_schema() -> JsonDict:
    """Return the JSON Schema of the document."""
    schema = Evidence.model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:greenlight:evidence:{SCHEMA_VERSION}",
    } | schema


def schema_text() -> str:
    """Return the text of the published schema file."""
    return json.dumps(evidence_schema(), indent=2, sort_keys=True) + "\n"


def _unequal(what: str, recorded: str | None, found: str) -> list[str]:
    if recorded is None or recorded == found:
        return []
    return [f"{what} digest: recorded {recorded}, found {found}"]


def _changed_results(recorded: tuple[GateResult, ...], found: tuple[GateResult, ...]) -> list[str]:
    before = {(r.gate, r.metric): r.verdict for r in recorded}
    after = {(r.gate, r.metric): r.verdict for r in found}
    return [
        f"gate {gate} on {metric}: recorded {before.get((gate, metric), 'nothing')}, "
        f"its metrics give {after.get((gate, metric), 'nothing')}"
        for gate, metric in sorted(before.keys() | after.keys())
        if before.get((gate, metric)) != after.get((gate, metric))
    ]
