"""What the page of a version in the registry says first."""

from registry_worlds import NOW, Clock, MemoryApprovals, world

from greenlight.core.digest import short
from greenlight.entrypoints import approvals, version_page
from greenlight.registry.tags import Tag

ENDED = {
    "rollout_id": "alias-demo-v2-1", "fleet": "demo", "model": "smollm2", "version": 2,
    "started_by": "Airflow", "started_at": "2026-11-26T07:00:00+00:00", "outcome": "live",
    "reason": None,
}  # fmt: skip


def page(registry, version):
    return registry.get(version.model, version.version).description


def test_evidence_approval_and_rollout_are_linked_in_this_order(make_settings, tmp_path):
    registry, _, candidate = world(tmp_path)
    version_page.show_rollout(registry, ENDED, airflow_url="http://airflow/")
    approvals.record(
        make_settings(), model=candidate.model, version=candidate.version, decision="approved",
        by="ana", reason="good [really](x)", registry=registry, store=MemoryApprovals(),
        clock=Clock(),
    )  # fmt: skip
    version_page.show_evidence(registry, candidate)
    evidence, approval, rollout = page(registry, candidate).splitlines()[:3]
    digest = short(candidate.tag(Tag.EVIDENCE_DIGEST))
    assert f"[`{digest}`](#/runs/{candidate.run_id}/artifacts/evidence/evidence.json)" in evidence
    assert "pass" in evidence
    assert f"approved by ana at {NOW:%Y-%m-%d %H:%M} UTC (decision 1): good" in approval
    assert "](x)" not in approval
    assert "(http://airflow/dags/deploy_blue_green/runs/alias-demo-v2-1)" in rollout
    assert "went live" in rollout


def test_a_baseline_says_so_and_has_no_evidence(make_settings, tmp_path):
    registry, parent, _ = world(tmp_path)
    approvals.record(
        make_settings(), model=parent.model, version=parent.version, decision="approved",
        by="ana", reason="", registry=registry, store=MemoryApprovals(), clock=Clock(),
        baseline=True,
    )  # fmt: skip
    version_page.show_evidence(registry, parent)
    assert page(registry, parent).startswith("- **Approval**: approved as a baseline by ana")
    assert "no reason given" in page(registry, parent)


def test_a_rollout_that_went_back_says_why_and_one_from_a_terminal_has_no_page(tmp_path):
    registry, _, candidate = world(tmp_path)
    back = ENDED | {"outcome": "rolled back", "reason": "ttft was worse", "started_by": "ana"}
    version_page.show_rollout(registry, back, airflow_url="http://airflow")
    assert "was taken back: ttft was worse" in page(registry, candidate)
    assert "http://airflow" not in page(registry, candidate)
    version_page.show_rollout(registry, back | {"outcome": None}, airflow_url=None)
    assert "is on its way" in page(registry, candidate)


def test_airflow_says_best_where_its_pages_are(monkeypatch):
    assert version_page.airflow_pages("http://airflow-api-server:8080") == (
        "http://airflow-api-server:8080"
    )
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org")
    assert version_page.airflow_pages(None) == "https://airflow.example.org"
