"""What a search leaves behind: the table, the Pareto plot, and the run in MLflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.digest import digest_json
from greenlight.core.files import write_json
from greenlight.core.types import JsonDict
from greenlight.quantize.measurements import GateResult, Metric, Verdict
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.search import Attempt, Choice
from greenlight.quantize.shapes import read_shape
from greenlight.quantize.sizes import plain_bytes
from greenlight.registry.ports import ModelRegistry, RunLog, Table

if TYPE_CHECKING:
    from greenlight.adapters.pareto import ParetoPoint

PPL = "perplexity_ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """Where the search can be read."""

    table: str
    plot: Path
    url: str


def attempt(trial: JsonDict) -> Attempt:
    """Return a trial as the value that `search.choose` compares."""
    return Attempt(
        recipe=Recipe.model_validate(trial["recipe"]),
        file_bytes=trial["bytes"],
        results=tuple(GateResult.model_validate(r) for r in trial["results"]),
    )


def log_search(
    source: JsonDict,
    *,
    control: JsonDict,
    trials: Sequence[JsonDict],
    choice: Choice,
    registry: ModelRegistry,
    folder: Path,
) -> SearchReport:
    """Draw the plot and log everything that was tried, passed or not. Idempotent."""
    from greenlight.adapters.pareto import draw_pareto

    text_set = _first_text_set(trials)
    key = digest_json([source["digest"], control, list(trials)])
    where = folder / key[:32]
    plot = where / "pareto.png"
    draw_pareto(
        _points(source, control, trials, text_set=text_set),
        plot,
        metric=f"Perplexity on {text_set}, relative to the parent",
    )
    write_json(where / "trials.json", {"control": control, "trials": list(trials)})
    table = _table(trials, text_set=text_set)
    run = registry.log_run(
        RunLog(
            key=f"search/{key}",
            name=f"search {source['model']} v{source['version']}",
            params={
                "model": source["model"],
                "version": str(source["version"]),
                "parent_digest": source["digest"],
                "recipes": json.dumps([t["recipe"]["name"] for t in trials]),
                "choice": choice.reason[:500],
            },
            metrics={"recipes_tried": len(trials), "passed": float(choice.winner is not None)},
            artifacts={
                "search/pareto.png": plot,
                "search/pareto.svg": plot.with_suffix(".svg"),
                "search/trials.json": where / "trials.json",
            },
            tables={"search/table.json": table},
            tags={"greenlight.parent_digest": source["digest"]},
        )
    )
    return SearchReport(table=_text(table), plot=plot, url=run.url)


def metric_of(entries: Sequence[JsonDict], name: str) -> Metric | None:
    """Return the metric called `name`, or `None`."""
    return next((Metric.model_validate(e) for e in entries if e["name"] == name), None)


def _first_text_set(trials: Sequence[JsonDict]) -> str:
    names = [m["name"] for t in trials for m in t["metrics"] if m["name"].startswith(f"{PPL}.")]
    return names[0].removeprefix(f"{PPL}.") if names else ""


def _points(
    source: JsonDict, control: JsonDict, trials: Sequence[JsonDict], *, text_set: str
) -> list[ParetoPoint]:
    from greenlight.adapters.pareto import ParetoPoint

    parent_bytes = plain_bytes(read_shape(Path(source["path"])), dtype="BF16")
    points = [ParetoPoint(name="parent BF16", size=parent_bytes, value=1.0, role="parent")]
    for entry in (control, *trials):
        ratio = metric_of(entry["metrics"], f"{PPL}.{text_set}")
        if ratio is not None:
            points.append(
                ParetoPoint(
                    name=entry["recipe"]["name"],
                    size=entry["bytes"],
                    value=ratio.value,
                    low=ratio.low,
                    high=ratio.high,
                    verdict=entry["verdict"],
                    role="control" if entry is control else "recipe",
                )
            )
    return points


def _table(trials: Sequence[JsonDict], *, text_set: str) -> Table:
    columns: dict[str, list[str | int | float | None]] = {
        name: []
        for name in ("recipe", "MB", "vs FP32", "PPL ratio", "KL", "top-1", "verdict", "why")
    }
    for trial in sorted(trials, key=lambda t: t["bytes"]):
        values = {m["name"]: m["value"] for m in trial["metrics"]}
        ratio = values.get("file_bytes_vs_fp32")
        row = (
            trial["recipe"]["name"],
            round(trial["bytes"] / 1e6, 1),
            None if ratio is None else f"{ratio - 1:.1%}",
            _rounded(values.get(f"{PPL}.{text_set}")),
            _rounded(values.get(f"kl_mean.{text_set}")),
            _rounded(values.get(f"top1_agreement.{text_set}")),
            trial["verdict"],
            _why(trial),
        )
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return columns


def _why(trial: JsonDict) -> str:
    missed = [r for r in trial["results"] if r["verdict"] != Verdict.PASS]
    return ", ".join(dict.fromkeys(f"{r['gate']} {r['verdict']}" for r in missed)) or "all gates"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _text(table: Table) -> str:
    rows = [list(table), *(list(row) for row in zip(*table.values(), strict=True))]
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
