import json

import pytest
from registry_worlds import world

from greenlight.core.errors import InputError
from greenlight.entrypoints.evidence import show_evidence, verify_evidence
from greenlight.registry.tags import EVIDENCE_FILE, Tag


@pytest.fixture
def settings(make_settings):
    return make_settings()


def problems(settings, registry, version):
    return verify_evidence(settings, version.model, version.version, registry=registry)["problems"]


def edit_evidence(registry, version, edit):
    document = show_evidence_of(registry, version)
    edit(document)
    data = json.dumps(document).encode()
    registry.damage(version.model, version=version.version, path=EVIDENCE_FILE, data=data)


def show_evidence_of(registry, version):
    return show_evidence(None, version.model, version.version, registry=registry)


def test_evidence_that_holds_has_no_problems(settings, tmp_path):
    registry, _, candidate = world(tmp_path)
    found = verify_evidence(settings, candidate.model, candidate.version, registry=registry)
    assert found["problems"] == []
    assert found["evidence_digest"] == candidate.tag(Tag.EVIDENCE_DIGEST)
    assert list(settings.work.iterdir()) == []


def test_evidence_is_shown_whole(tmp_path):
    registry, _, candidate = world(tmp_path)
    document = show_evidence_of(registry, candidate)
    assert document["verdict"] == "pass"
    assert document["metrics"][0]["n"] == 64


def test_a_flipped_byte_of_the_model_is_a_problem(settings, tmp_path):
    registry, _, candidate = world(tmp_path)
    registry.damage("smollm2", version=candidate.version, path="model/config.json", data=b"{}")
    assert any("not what its digest says" in p for p in problems(settings, registry, candidate))


def test_a_number_that_was_improved_is_a_problem(settings, tmp_path):
    registry, _, candidate = world(tmp_path)
    edit_evidence(registry, candidate, lambda e: e["metrics"][0].update(value=1.001))
    assert any("evidence digest" in p for p in problems(settings, registry, candidate))


def test_a_verdict_that_its_metrics_do_not_give_is_a_problem(settings, tmp_path):
    registry, _, candidate = world(tmp_path, ratio=1.3)
    edit_evidence(registry, candidate, lambda e: e.update(verdict="pass"))
    assert any("metrics give fail" in p for p in problems(settings, registry, candidate))


@pytest.mark.parametrize("tag", [Tag.VERDICT, Tag.RECIPE, Tag.RECIPE_DIGEST, Tag.PARENT_DIGEST])
def test_a_tag_that_says_otherwise_is_a_problem(settings, tmp_path, tag):
    registry, _, candidate = world(tmp_path)
    registry.set_tags("smollm2", version=candidate.version, tags={str(tag): "0" * 64})
    read = registry.get("smollm2", candidate.version)
    assert any(tag in p for p in problems(settings, registry, read))


def test_another_parent_is_a_problem(settings, tmp_path):
    registry, _, candidate = world(tmp_path)
    registry.set_tags(
        "smollm2", version=candidate.version, tags={Tag.PARENT_VERSION: str(candidate.version)}
    )
    assert any("parent version 2" in p for p in problems(settings, registry, candidate))
    registry.set_tags("smollm2", version=candidate.version, tags={Tag.PARENT_VERSION: "9"})
    assert any("cannot be found" in p for p in problems(settings, registry, candidate))


def test_a_version_without_evidence_has_none_to_show(settings, tmp_path):
    registry, parent, _ = world(tmp_path)
    with pytest.raises(InputError, match="has no evidence"):
        verify_evidence(settings, "smollm2", parent.version, registry=registry)


def test_what_is_no_evidence_is_refused(settings, tmp_path):
    registry, _, candidate = world(tmp_path)
    for data in (b"not json", b'{"schema_version": 99}'):
        registry.damage("smollm2", version=candidate.version, path=EVIDENCE_FILE, data=data)
        with pytest.raises(InputError, match="evidence"):
            problems(settings, registry, candidate)
