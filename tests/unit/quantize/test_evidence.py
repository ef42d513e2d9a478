import json
from datetime import UTC, datetime

import jsonschema
import pytest
from pydantic import ValidationError
from quantize_worlds import elsewhere, items, metric

from greenlight.core.errors import InputError
from greenlight.core.settings import PROJECT
from greenlight.quantize.compare import compare
from greenlight.quantize.evidence import (
    SCHEMA_FILE,
    DataEvidence,
    Evidence,
    ParentEvidence,
    evidence_schema,
    gather,
    read_evidence,
    schema_text,
    verify,
)
from greenlight.quantize.gates import load_gates
from greenlight.quantize.jobs import Backend, Protocol
from greenlight.quantize.measurements import Verdict
from greenlight.quantize.recipes import Recipe

GATES = PROJECT / "include/config/gates.example.yaml"


def evidence(**changes) -> Evidence:
    healthy = items(loss=0.015, kl=0.03, disagree=0.06, flips=0.06)
    values = {
        "model": "smollm2",
        "parent": ParentEvidence(digest="a" * 64, dtype="float32", uri="models:/x/1", bytes=100),
        "candidate_digest": "b" * 64,
        "candidate_bytes": 26,
        "recipe": Recipe(name="q4", bits=4),
        "backend": Backend.GPTQMODEL,
        "data": (
            DataEvidence(
                role="calibration",
                name="c",
                version="1",
                digest="c" * 64,
                rows=64,
                licence="psf-2.0",
            ),
        ),
        "protocol": Protocol(),
        "gates": load_gates(GATES, "standard"),
        "metrics": (*compare(items(), healthy, seed=1), *elsewhere()),
        "tools": {"torch": "2.13.0"},
        "created_at": datetime(2026, 11, 24, tzinfo=UTC),
    }
    return gather(**(values | changes))


def edited(document: Evidence, path: tuple, value) -> Evidence:
    data = document.to_json()
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return read_evidence(data)


def test_fresh_evidence_verifies():
    made = evidence()
    assert made.verdict is Verdict.PASS
    assert verify(made, evidence_digest=made.digest, candidate_digest="b" * 64) == ()


def test_evidence_survives_being_written_and_read():
    made = evidence()
    again = read_evidence(json.loads(json.dumps(made.to_json(), indent=4)))
    assert again == made
    assert again.digest == made.digest


def test_an_edited_metric_is_found_although_the_verdict_was_left_alone():
    made = evidence()
    position = next(i for i, m in enumerate(made.metrics) if m.name == "perplexity_ratio.handbook")
    changed = edited(made, ("metrics", position, "high"), 1.3)
    assert any("gate perplexity on perplexity_ratio.handbook" in p for p in verify(changed))
    assert any("says pass" in p for p in verify(changed))
    assert any("evidence digest" in p for p in verify(changed, evidence_digest=made.digest))


def test_a_verdict_that_was_talked_up_is_found():
    poor = evidence(metrics=elsewhere(interface_differences=1.0))
    assert poor.verdict is Verdict.FAIL
    problems = verify(edited(poor, ("verdict",), "pass"))
    assert problems == ("the evidence says pass, but its metrics give fail",)


def test_a_gate_result_that_was_taken_out_is_found():
    made = evidence()
    data = made.to_json()
    del data["results"][0]
    assert any("recorded nothing" in p for p in verify(read_evidence(data)))


def test_gates_softened_inside_the_evidence_are_found():
    made = evidence()
    position = next(i for i, g in enumerate(made.gates.gates) if g.name == "perplexity")
    changed = edited(made, ("gates", "gates", position, "margin"), 0.5)
    assert any(problem.startswith("gates digest") for problem in verify(changed))


def test_another_recipe_or_protocol_than_recorded_is_found():
    made = evidence()
    recipe = verify(edited(made, ("candidate", "recipe", "seed"), 7))
    assert [p.split(":")[0] for p in recipe] == ["recipe digest"]
    protocol = verify(edited(made, ("protocol", "window"), 64))
    assert [p.split(":")[0] for p in protocol] == ["protocol digest"]


def test_another_model_than_the_one_measured_is_found():
    problems = verify(evidence(), candidate_digest="e" * 64, parent_digest="f" * 64)
    assert [p.split(":")[0] for p in problems] == ["candidate digest", "parent digest"]


def test_gates_that_were_tightened_since_are_said_with_their_verdict():
    strict = load_gates(GATES, "strict")
    (problem,) = verify(evidence(), gates=strict)
    assert "judged by other gates (standard) than strict" in problem
    assert verify(evidence(), gates=load_gates(GATES, "standard")) == ()


def test_metrics_of_the_serving_benchmark_are_judged_too():
    quality = tuple(m for m in evidence().metrics if not m.name.startswith("served"))
    served = tuple(m for m in elsewhere() if m.name.startswith("served"))
    assert evidence(metrics=quality).verdict is Verdict.INSUFFICIENT
    assert evidence(metrics=quality, serving=served).verdict is Verdict.PASS


def test_the_published_schema_is_the_models_own():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "regenerate it: SCHEMA_FILE.write_text(schema_text())"
    )


def test_evidence_fulfils_its_published_schema_and_a_changed_one_does_not():
    schema = evidence_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    document = evidence().to_json()
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document | {"verdict": "fine"}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document | {"extra": 1}, schema)


def test_what_json_cannot_carry_is_refused():
    with pytest.raises(ValidationError, match="perplexity holds inf"):
        evidence(metrics=(metric("perplexity", float("inf")),))


def test_an_unknown_key_or_another_schema_version_is_refused_by_name():
    document = evidence().to_json()
    with pytest.raises(InputError, match="'approved_by'"):
        read_evidence(document | {"approved_by": "me"})
    with pytest.raises(InputError, match="schema_version"):
        read_evidence(document | {"schema_version": 2})
