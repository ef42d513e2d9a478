"""The readable description of a version: what it is, how small, how good, how to decide.

It is the version's text in MLflow and the body of the approval task, so it is Markdown that both
render: short paragraphs and one table. The evidence is read through the Protocols below: this
capability knows what it prints, not how quality is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from greenlight.core.digest import Manifest, short
from greenlight.registry.intake import IntakeReport

MARKS = {"pass": "✔ pass", "fail": "✘ fail", "insufficient": "? not enough data"}
"""Words beside the marks: neither colour nor a symbol alone should decide."""


class Parent(Protocol):
    """The model that was made smaller."""

    @property
    def digest(self) -> str:
        """The model digest."""

    @property
    def dtype(self) -> str:
        """The checkpoint's dtype."""

    @property
    def uri(self) -> str:
        """Which version it is."""

    @property
    def bytes(self) -> int:
        """The size of its weight files."""


class Recipe(Protocol):
    """How it was made smaller."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def bits(self) -> int:
        """Bits of a weight where no rule says otherwise."""

    @property
    def group_size(self) -> int:
        """Input features that share a scale; -1 means all."""


class Candidate(Protocol):
    """The model that was made."""

    @property
    def digest(self) -> str:
        """The model digest."""

    @property
    def recipe(self) -> Recipe:
        """How."""

    @property
    def backend(self) -> str:
        """By whom."""

    @property
    def bytes(self) -> int:
        """The size of its weight files."""


class Measured(Protocol):
    """One number with its interval."""

    @property
    def name(self) -> str:
        """The metric."""

    @property
    def value(self) -> float:
        """The number."""

    @property
    def unit(self) -> str:
        """Its unit."""

    @property
    def n(self) -> int:
        """How many independent things are behind it."""

    @property
    def low(self) -> float | None:
        """The lower one-sided bound."""

    @property
    def high(self) -> float | None:
        """The upper one-sided bound."""


class Judged(Protocol):
    """What one gate said about one metric."""

    @property
    def gate(self) -> str:
        """The gate."""

    @property
    def metric(self) -> str:
        """The metric it looked at."""

    @property
    def verdict(self) -> str:
        """`pass`, `fail` or `insufficient`."""

    @property
    def limit(self) -> float | None:
        """What the bound was held against."""


class Story(Protocol):
    """What a description of a candidate needs to know; the evidence is one."""

    @property
    def model(self) -> str:
        """The registered model."""

    @property
    def parent(self) -> Parent:
        """Where it comes from."""

    @property
    def candidate(self) -> Candidate:
        """What it is."""

    @property
    def measured(self) -> Sequence[Measured]:
        """Every number."""

    @property
    def results(self) -> Sequence[Judged]:
        """Every gate."""

    @property
    def verdict(self) -> str:
        """All gates together."""

    @property
    def digest(self) -> str:
        """The evidence's own digest."""

    @property
    def created_at(self) -> datetime:
        """When it was gathered."""


def describe_candidate(story: Story) -> str:
    """Return the description of a version that the pipeline made."""
    recipe, parent, candidate = story.candidate.recipe, story.parent, story.candidate
    group = "whole rows" if recipe.group_size < 0 else f"groups of {recipe.group_size}"
    change = candidate.bytes / parent.bytes - 1
    return "\n\n".join(
        [
            f"**{story.model}, quantized with recipe `{recipe.name}`**: {recipe.bits} bits in "
            f"{group}, by {candidate.backend}, from {parent.uri} ({parent.dtype}, digest "
            f"`{short(parent.digest)}`).",
            f"**Size**: {_megabytes(candidate.bytes)} of weight files, {_percent(change)} against "
            f"the parent's {_megabytes(parent.bytes)} in {parent.dtype}.",
            f"**Verdict: {MARKS.get(story.verdict, story.verdict)}**, {_tally(story.results)}. "
            "Bounds are one-sided, 95 % each; n counts independent items.",
            _gate_table(story.results, story.measured),
            f"**What an approval means**: digest `{short(candidate.digest)}` may go live on "
            f"evidence `{short(story.digest)}` of {story.created_at:%Y-%m-%d %H:%M} UTC. It lapses "
            "when either changes or the evidence grows too old. Approve or reject in Airflow "
            "(Browse → Required Actions), or with "
            f"`greenlight approvals approve {story.model} VERSION --by NAME --reason WHY`.",
        ]
    )


def describe_import(report: IntakeReport, *, name: str, source: str, manifest: Manifest) -> str:
    """Return the description of a version that came from outside."""
    weights = report.weights
    size = (
        f"{weights.parameters / 1e6:.1f} M parameters in {weights.dtype}, "
        f"{_megabytes(weights.total_bytes)} of weight files"
        if weights
        else "no weights"
    )
    lines = [
        f"**{name}**, imported from `{source}`.",
        f"{report.architecture}, {size}; {len(manifest.files)} files, "
        f"{_megabytes(manifest.total_bytes)} in all.",
        f"Licence {report.licence} ({report.licence_source} so). Digest "
        f"`{short(manifest.digest)}`. No code, no pickles; tokenizer and chat template are there.",
        "Nobody measured it yet: run `quantize_and_validate` to find its smallest good version.",
    ]
    return "\n\n".join(lines)


def _gate_table(results: Sequence[Judged], measured: Sequence[Measured]) -> str:
    known = {metric.name: metric for metric in measured}
    rows = ["| gate | measured | bounds | n | limit | verdict |", "|---|---|---|---|---|---|"]
    rows += [_gate_row(result, known) for result in results]
    return "\n".join(rows)


def _gate_row(result: Judged, known: Mapping[str, Measured]) -> str:
    metric = known.get(result.metric)
    cells = [f"{result.gate}: {result.metric}"]
    if metric is None:
        cells += ["not measured", "", ""]
    else:
        cells += [_number(metric.value, metric.unit), _interval(metric), str(metric.n)]
    limit = "" if result.limit is None else _number(result.limit, metric.unit if metric else "")
    return f"| {' | '.join([*cells, limit, MARKS.get(result.verdict, result.verdict)])} |"


def _interval(metric: Measured) -> str:
    if metric.low is None and metric.high is None:
        return "exact" if metric.unit == "bytes" else ""
    low = "−∞" if metric.low is None else _number(metric.low, metric.unit)
    high = "∞" if metric.high is None else _number(metric.high, metric.unit)
    return f"{low} to {high}"


def _number(value: float, unit: str) -> str:
    if unit == "bytes":
        return _megabytes(value)
    return f"{value:.4g}"


def _tally(results: Sequence[Judged]) -> str:
    counts = {word: sum(r.verdict == word for r in results) for word in MARKS}
    return (
        f"{counts['pass']} of {len(results)} gates passed, {counts['fail']} failed, "
        f"{counts['insufficient']} had too little data"
    )


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _percent(change: float) -> str:
    return f"{'−' if change < 0 else '+'}{abs(change):.1%}".replace("%", " %")
