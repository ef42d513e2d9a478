"""Names that a model version carries in the registry: tags, aliases and folders of its run."""

from __future__ import annotations

from enum import StrEnum


class Tag(StrEnum):
    """Tags of a model version. All values are text."""

    DIGEST = "greenlight.digest"
    """The model digest: what the version *is*."""
    COMPLETE = "greenlight.complete"
    """`yes`, set last. A version without it is the residue of a killed registration."""
    KIND = "greenlight.kind"
    """`imported` or `quantized`."""
    SOURCE = "greenlight.source"
    LICENCE = "greenlight.licence"
    ARCHITECTURE = "greenlight.architecture"
    PARAMETERS = "greenlight.parameters"
    DTYPE = "greenlight.dtype"
    BYTES = "greenlight.bytes"
    QUANTIZE = "greenlight.quantize"
    """`requested`: `quantize_reconcile` starts a run for the version."""
    PARENT_VERSION = "greenlight.parent_version"
    PARENT_DIGEST = "greenlight.parent_digest"
    RECIPE = "greenlight.recipe"
    RECIPE_DIGEST = "greenlight.recipe_digest"
    REQUEST_DIGEST = "greenlight.request_digest"
    """The inputs that led to it: finished work is found by it."""
    EVIDENCE_DIGEST = "greenlight.evidence_digest"
    VERDICT = "greenlight.verdict"
    APPROVAL = "greenlight.approval"
    """`approved` or `rejected`: a copy for readers; Greenlight's database decides."""
    APPROVED_BY = "greenlight.approval_by"
    APPROVED_AT = "greenlight.approval_at"
    APPROVAL_REASON = "greenlight.approval_reason"
    PERFORMANCE = "greenlight.performance"
    """Followed by a dot and a fleet's name: the last benchmark there, as JSON."""
    PERFORMANCE_RUN = "greenlight.performance_run"
    """The run of the last benchmark of the live version."""
    PERFORMANCE_RESULT = "greenlight.performance_result"
    PERFORMANCE_SUMMARY = "greenlight.performance_summary"
    DEPLOY_ANSWER = "greenlight.deploy_answer"
    """What was done when the alias `deploy` was pointed at it: started, or refused and why."""


class Alias(StrEnum):
    """Aliases: pointers that move from version to version."""

    CANDIDATE = "candidate"
    APPROVED = "approved"
    CHAMPION = "champion"
    DEPLOY = "deploy"
    """A person sets it: this version should be live on every fleet of its model. Followed by a dash
    and a fleet's name: on that fleet, whatever `deploy` says."""


COMPLETE = "yes"
REQUESTED = "requested"
MODEL_FOLDER = "model"
"""Where the run keeps the model's files."""
EVIDENCE_FILE = "evidence/evidence.json"
"""Where the run keeps the evidence."""
RUN_KEY = "greenlight.run_key"
"""Tag of a run: two runs with one key are the same work done twice."""
EXPERIMENT = "greenlight"
