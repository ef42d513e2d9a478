"""`greenlight evaluate` and `greenlight gate`: measure and judge any two folders, without a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console
from greenlight.core.errors import GateError
from greenlight.core.settings import load_settings
from greenlight.quantize.measurements import GateResult, Metric, Verdict, overall

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INSUFFICIENT: "yellow"}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def evaluate(
    candidate: Annotated[Path, typer.Argument(help="Folder of the candidate.")],
    parent: Annotated[Path, typer.Option(help="Folder of the model it is compared with.")],
    evaluation: Annotated[
        list[str] | None, typer.Option("--evaluation", help="Name of a set; may be repeated.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, measure nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a candidate beside its parent, on the same items, with intervals."""
    from greenlight.entrypoints import evaluate as steps

    metrics = steps.evaluate(
        load_settings(), candidate, parent=parent, evaluation=evaluation, device=device,
        dry_run=dry_run,
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps([m.model_dump(mode="json") for m in metrics], indent=2))
    else:
        console.print(metric_table(metrics))


def gate(
    metrics: Annotated[Path, typer.Argument(help="What `greenlight evaluate --json` printed.")],
    gates: Annotated[str, typer.Option(help="strict, standard or lenient.")] = "standard",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Exit 0 whatever it says.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge measured metrics; exit code 1 unless every gate passes."""
    from greenlight.entrypoints import evaluate as steps

    results = steps.judge_file(load_settings(), metrics, preset=gates)
    verdict = overall(results)
    if as_json:
        typer.echo(
            json.dumps(
                {"verdict": verdict, "results": [r.model_dump(mode="json") for r in results]},
                indent=2,
            )
        )
    else:
        console.print(gate_table(results))
    if verdict is not Verdict.PASS and not dry_run:
        raise GateError(f"the verdict is {verdict}")


def metric_table(metrics: tuple[Metric, ...]) -> Table:
    """Return the metrics with their one-sided bounds."""
    table = Table("metric", "value", "95 % bounds", "n", "unit")
    for metric in metrics:
        bounds = "exact" if metric.low is None or metric.high is None else (
            f"{metric.low:.4g} … {metric.high:.4g}"
        )  # fmt: skip
        table.add_row(metric.name, f"{metric.value:.5g}", bounds, str(metric.n), metric.unit)
    return table


def gate_table(results: tuple[GateResult, ...]) -> Table:
    """Return what each gate said and why."""
    table = Table("gate", "metric", "verdict", "why")
    for result in results:
        style = STYLES[result.verdict]
        table.add_row(result.gate, result.metric, f"[{style}]{result.verdict}[/]", result.reason)
    return table
