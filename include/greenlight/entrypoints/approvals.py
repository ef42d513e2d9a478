"""Record what people decide about a version, and tell whether a decision stands."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.digest import short
from greenlight.core.errors import InputError, RefusedError
from greenlight.core.settings import Settings, load_settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints.version_page import show_approval
from greenlight.quantize.evidence import Evidence
from greenlight.quantize.measurements import Verdict
from greenlight.registry import approvals as rules
from greenlight.registry.approvals import Approval, Decision
from greenlight.registry.description import describe_candidate
from greenlight.registry.ports import Version
from greenlight.registry.tags import Alias, Tag

if TYPE_CHECKING:
    from greenlight.registry.ports import ApprovalStore, ModelRegistry

log = logging.getLogger(__name__)

OPTIONS = {"Approve": Decision.APPROVED, "Reject": Decision.REJECTED}
"""What the approval task's buttons say."""
NO_REASON = "(no reason given)"
NOBODY = "nobody answered within the time; nothing happened, and the version stays a candidate"


def open_approvals(settings: Settings) -> ApprovalStore:
    """Return the approvals in the configured database, or in the embedded stack's.

    Raises:
        RefusedError: none is configured, and the stack is not up.
    """
    from greenlight.adapters.approval_store import DatabaseApprovals
    from greenlight.entrypoints import stack

    return DatabaseApprovals(stack.open_database(settings))


def record(
    settings: Settings,
    *,
    model: str,
    version: int,
    decision: str,
    by: str,
    reason: str,
    shown: Mapping[str, str] | None = None,
    baseline: bool = False,
    registry: ModelRegistry | None = None,
    store: ApprovalStore | None = None,
    clock: Clock | None = None,
) -> JsonDict:
    """Keep a decision, then make the registry show it. Idempotent.

    `shown`: the `digest` and `evidence_digest` that the person saw; with them, a version that
    changed meanwhile is refused. `baseline`: approve an imported version without evidence, as what
    a fleet that serves nothing starts with. The row comes first: the registry's tags and its alias
    `approved` are copies that a second call writes again.

    Raises:
        InputError: no such version or decision, no name, or a rejection without a reason.
        RefusedError: there is no evidence that passed, or not the one that was shown.
    """
    registry, store = _opened(settings, registry, store)
    found = registry.get(model, version)
    wanted = _approval(
        found, decision=decision, by=by, reason=reason, clock=clock, baseline=baseline
    )
    _refuse_if_changed(wanted, shown)
    if wanted.decision is Decision.APPROVED and not baseline:
        _require_evidence(registry, found)
    kept = _newest(store, wanted)
    if kept is None or not kept.same_as(wanted):
        kept = store.append(wanted)
    _show(registry, kept)
    log.info(
        "%s version %d (%s) was %s by %s: %s",
        model, version, short(kept.digest), kept.decision, kept.decided_by, kept.reason,
    )  # fmt: skip
    return kept.to_json()


def record_answer(
    candidate: JsonDict,
    answer: JsonDict,
    *,
    settings: Settings | None = None,
    registry: ModelRegistry | None = None,
    store: ApprovalStore | None = None,
) -> JsonDict:
    """Record what the approval task brought back.

    `answer` holds `chosen_options`, `params_input` and `responded_by_user`. No option means that
    nobody answered in time: nothing is recorded, and the result says so.

    Raises:
        RefusedError: the version is not any more what the task showed.
    """
    chosen = answer.get("chosen_options") or []
    if not chosen:
        log.info("%s: %s", candidate["title"], NOBODY)
        return {"decision": None, "message": f"{candidate['title']}: {NOBODY}"}
    if chosen[0] not in OPTIONS:
        raise InputError(f"answer {chosen[0]!r} is none of {', '.join(OPTIONS)}")
    user = answer.get("responded_by_user") or {}
    reason = (answer.get("params_input") or {}).get("reason") or ""
    return record(
        settings or load_settings(),
        model=candidate["model"],
        version=candidate["version"],
        decision=OPTIONS[chosen[0]],
        by=user.get("name") or user.get("id") or "unknown Airflow user",
        reason=reason.strip() or NO_REASON,
        shown={key: candidate[key] for key in ("digest", "evidence_digest")},
        registry=registry,
        store=store,
    )


def list_approvals(
    settings: Settings,
    *,
    model: str | None = None,
    version: int | None = None,
    store: ApprovalStore | None = None,
) -> list[JsonDict]:
    """Return decisions, oldest first."""
    store = store or open_approvals(settings)
    return [approval.to_json() for approval in store.approvals(model=model, version=version)]


def standing(
    settings: Settings,
    *,
    model: str,
    version: int,
    registry: ModelRegistry | None = None,
    store: ApprovalStore | None = None,
    clock: Clock | None = None,
) -> JsonDict:
    """Return whether a version may go live now, and why.

    `{"approved", "reason", "approval", "baseline"}`; `baseline`: it has no evidence, and only a
    fleet that serves nothing may start with it.

    Raises:
        InputError: there is no such version, or its evidence cannot be read.
    """
    registry, store = _opened(settings, registry, store)
    found = registry.get(model, version)
    decisions = store.approvals(model=model)
    baseline = found.tag(Tag.EVIDENCE_DIGEST) is None
    if baseline:
        made = [a.decided_at for a in decisions if a.evidence_digest == found.digest]
        if not made:
            return _not_approved("it has no evidence, and nobody approved it as a baseline")
        evidence_digest, created_at = found.digest, max(made)
    else:
        evidence = _evidence(registry, found)
        evidence_digest, created_at = evidence.digest, evidence.created_at
    result = rules.standing(
        decisions,
        digest=found.digest,
        evidence_digest=evidence_digest,
        evidence_created_at=created_at,
        now=(clock or SystemClock()).now(),
        max_age=timedelta(days=settings.evidence_days),
    )
    return {
        "approved": result.approved,
        "reason": result.reason,
        "approval": result.approval.to_json() if result.approval else None,
        "baseline": baseline,
    }


def question(
    settings: Settings,
    *,
    model: str,
    version: int,
    registry: ModelRegistry | None = None,
    store: ApprovalStore | None = None,
) -> JsonDict | None:
    """Return what a person is asked about a version; `None` when there is nothing to ask.

    There is nothing to ask when its approval stands, or when it has no evidence to look at.
    `record_answer` takes the question with the answer.
    """
    registry, store = _opened(settings, registry, store)
    found = registry.get(model, version)
    if found.tag(Tag.EVIDENCE_DIGEST) is None:
        return None
    now = standing(settings, model=model, version=version, registry=registry, store=store)
    if now["approved"]:
        return None
    evidence = _evidence(registry, found)
    return {
        "title": f"{model} version {version} ({evidence.candidate.recipe.name})",
        "model": model,
        "version": version,
        "digest": found.digest,
        "evidence_digest": evidence.digest,
        "description": f"{now['reason']}\n\n{describe_candidate(evidence)}",
    }


def _not_approved(reason: str) -> JsonDict:
    return {"approved": False, "reason": reason, "approval": None, "baseline": True}


def _opened(
    settings: Settings, registry: ModelRegistry | None, store: ApprovalStore | None
) -> tuple[ModelRegistry, ApprovalStore]:
    from greenlight.entrypoints.models import open_registry

    return registry or open_registry(settings), store or open_approvals(settings)


def _approval(
    found: Version, *, decision: str, by: str, reason: str, clock: Clock | None, baseline: bool
) -> Approval:
    if decision not in set(Decision):
        raise InputError(f"decision {decision!r} is none of {', '.join(Decision)}")
    if not by.strip():
        raise InputError("a decision needs the name of who made it (--by)")
    if decision == Decision.REJECTED and not reason.strip():
        raise InputError("a rejection needs its reason (--reason)")
    evidence_digest = found.tag(Tag.EVIDENCE_DIGEST)
    if baseline and evidence_digest is not None:
        raise RefusedError(
            f"{found.model} version {found.version} has evidence: decide on it, without --baseline"
        )
    if evidence_digest is None and not baseline:
        raise RefusedError(
            f"{found.model} version {found.version} has no evidence to decide on; "
            "quantize_and_validate makes versions that have. What a fleet that serves nothing "
            "starts with is approved with --baseline"
        )
    return Approval(
        decided_at=(clock or SystemClock()).now(),
        decided_by=by.strip(),
        decision=Decision(decision),
        reason=reason.strip(),
        model=found.model,
        version=found.version,
        digest=found.digest,
        evidence_digest=evidence_digest or found.digest,
    )


def _refuse_if_changed(wanted: Approval, shown: Mapping[str, str] | None) -> None:
    for key, now in (("digest", wanted.digest), ("evidence_digest", wanted.evidence_digest)):
        before = (shown or {}).get(key, now)
        if before != now:
            raise RefusedError(
                f"{wanted.model} version {wanted.version} was shown with {key} {short(before)}, "
                f"but now has {short(now)}; look at it again"
            )


def _require_evidence(registry: ModelRegistry, found: Version) -> None:
    """Refuse to approve what the gates did not let pass, or evidence that was exchanged."""
    evidence = _evidence(registry, found)
    recorded = found.tag(Tag.EVIDENCE_DIGEST) or ""
    if evidence.digest != recorded:
        raise RefusedError(
            f"{found.model} version {found.version}: the evidence that is kept has digest "
            f"{short(evidence.digest)}, but the version says {short(recorded)}"
        )
    if evidence.candidate.digest != found.digest:
        raise RefusedError(
            f"{found.model} version {found.version} is {short(found.digest)}, but its evidence is "
            f"about {short(evidence.candidate.digest)}"
        )
    if evidence.verdict is not Verdict.PASS:
        raise RefusedError(
            f"{found.model} version {found.version}: its gates say {evidence.verdict}, and a "
            "person cannot approve past them; validate again with other gates or more data"
        )


def _evidence(registry: ModelRegistry, found: Version) -> Evidence:
    from greenlight.entrypoints.evidence import fetch

    with tempfile.TemporaryDirectory(prefix="greenlight-") as scratch:
        return fetch(registry, found, folder=Path(scratch))


def _newest(store: ApprovalStore, about: Approval) -> Approval | None:
    """Return the last decision about the same files and evidence."""
    kept = [
        approval
        for approval in store.approvals(model=about.model, version=about.version)
        if (approval.digest, approval.evidence_digest) == (about.digest, about.evidence_digest)
    ]
    return kept[-1] if kept else None


def _show(registry: ModelRegistry, kept: Approval) -> None:
    tags = {
        str(Tag.APPROVAL): str(kept.decision),
        str(Tag.APPROVED_BY): kept.decided_by,
        str(Tag.APPROVED_AT): kept.decided_at.isoformat(timespec="seconds"),
        str(Tag.APPROVAL_REASON): kept.reason[:1000] or NO_REASON,
    }
    show_approval(registry, kept)
    registry.set_tags(kept.model, version=kept.version, tags=tags)
    if kept.decision is Decision.APPROVED:
        registry.set_alias(kept.model, alias=Alias.APPROVED, version=kept.version)
        return
    if Alias.APPROVED in registry.get(kept.model, kept.version).aliases:
        registry.remove_alias(kept.model, alias=Alias.APPROVED)
