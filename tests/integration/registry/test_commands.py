"""The commands on a real MLflow and a real PostgreSQL, from an import to a decision."""

import json
import uuid

import pytest
from typer.testing import CliRunner

from greenlight.adapters import database
from greenlight.adapters.mlflow_registry import MlflowRegistry
from greenlight.cli import approvals, evidence, models
from greenlight.core.clock import SystemClock
from greenlight.core.errors import InputError, RefusedError
from greenlight.testing.candidates import register_candidate, register_parent
from greenlight.testing.model_folders import write_llama
from greenlight.testing.servers import postgres_binaries, postgres_server, shared_mlflow_server

BINARIES = postgres_binaries()
pytestmark = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def database_url():
    with postgres_server(BINARIES) as url:
        database.migrate(url)
        yield url


@pytest.fixture
def model():
    return f"model-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def run(monkeypatch, tmp_path, database_url):
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GREENLIGHT_MLFLOW_URL", shared_mlflow_server())
    monkeypatch.setenv("GREENLIGHT_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")

    def run(noun, *arguments, code=0):
        result = CliRunner().invoke(noun.app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout

    return run


@pytest.fixture
def candidate(model, tmp_path):
    registry = MlflowRegistry(shared_mlflow_server(), attempts=2, wait_s=0.1)
    parent = register_parent(registry, tmp_path, model=model)
    now = SystemClock().now()
    return register_candidate(registry, parent, tmp_path, created_at=now)


def test_a_model_is_imported_shown_and_verified(run, model, tmp_path):
    folder = write_llama(tmp_path / "smol")
    made = json.loads(run(models, "import", folder, "--name", model, "--json"))
    assert json.loads(run(models, "import", folder, "--name", model, "--json")) == made
    shown = json.loads(run(models, "show", model, 1, "--json"))
    assert shown["digest"] == made["digest"]
    assert shown["here"] is True
    assert made["digest"][:12] in run(models, "list")
    assert "imported from `folder:smol`" in run(models, "show", model, 1)
    assert run(models, "verify", model) == f"{model} version 1: unchanged\n"


def test_a_refused_model_is_told_every_reason(run, model, tmp_path):
    folder = write_llama(tmp_path / "smol", licence=None)
    (folder / "model.bin").touch()
    report = json.loads(
        run(models, "import", folder, "--name", model, "--dry-run", "--json", code=1)
    )
    assert [r["cause"] for r in report["refusals"]] == ["pickle", "licence"]
    with pytest.raises(InputError, match=r"model\.bin(.|\n)*no licence"):
        run(models, "import", folder, "--name", model)
    with pytest.raises(InputError, match="no version 1"):
        run(models, "show", model, 1)


def test_evidence_is_shown_and_holds(run, candidate):
    text = run(evidence, "show", candidate.model, candidate.version)
    assert "perplexity_ratio" in text
    assert "Verdict: pass" in text
    assert "holds" in run(evidence, "verify", candidate.model, candidate.version)


def test_evidence_that_does_not_hold_ends_with_1(run, candidate):
    registry = MlflowRegistry(shared_mlflow_server())
    registry.set_tags(
        candidate.model, version=candidate.version, tags={"greenlight.recipe": "other"}
    )
    found = json.loads(
        run(evidence, "verify", candidate.model, candidate.version, "--json", code=1)
    )
    assert found["problems"] == ["tag greenlight.recipe says other, the evidence says q4"]


def test_a_version_is_approved_and_then_rejected(run, candidate):
    name, number = candidate.model, candidate.version
    assert "nobody decided" in run(approvals, "standing", name, number, code=1)
    run(approvals, "approve", name, number, "--by", "ana", "--reason", "good numbers")
    run(approvals, "approve", name, number, "--by", "ana", "--reason", "good numbers")
    assert "may go live: approved by ana" in run(approvals, "standing", name, number)
    assert json.loads(run(models, "show", name, number, "--json"))["aliases"] == ["approved"]
    run(approvals, "reject", name, number, "--by", "ben", "--reason", "too terse")
    assert "too terse" in run(approvals, "standing", name, number, code=1)
    assert json.loads(run(models, "show", name, number, "--json"))["aliases"] == []
    decisions = json.loads(run(approvals, "list", name, "--json"))
    assert [d["decision"] for d in decisions] == ["approved", "rejected"]
    assert "too terse" in run(approvals, "list", name)


def test_the_parent_has_no_evidence_and_cannot_be_approved(run, candidate):
    with pytest.raises(RefusedError, match="no evidence to decide on"):
        run(approvals, "approve", candidate.model, 1, "--by", "ana")
