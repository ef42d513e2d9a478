"""`greenlight quantize`: the pipeline without Airflow."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console
from greenlight.core.types import JsonDict
from greenlight.quantize.request import QuantizeRequest, parse_request

app = typer.Typer(help="Make a model smaller and prove that it is as good.", no_args_is_help=True)
DEFAULTS = QuantizeRequest(model="unnamed")

Model = Annotated[str, typer.Argument(help="Name of a registered model.")]
VersionOption = Annotated[
    int | None, typer.Option("--version", help="Default: the newest imported version.")
]
Recipes = Annotated[
    list[str] | None, typer.Option("--recipe", help="Name from recipes.yaml; may be repeated.")
]
Search = Annotated[bool, typer.Option("--search", help="Add recipes from a sensitivity pass.")]
BackendOption = Annotated[str, typer.Option(help="gptqmodel or auto-gptq.")]
DeviceOption = Annotated[str, typer.Option(help="cpu or cuda.")]
EngineOption = Annotated[str, typer.Option(help="vllm-cpu, vllm-gpu or transformers.")]
Calibration = Annotated[str, typer.Option(help="Name of the calibration set.")]
Evaluation = Annotated[
    list[str] | None, typer.Option("--evaluation", help="Name of a set; may be repeated.")
]
Gates = Annotated[str, typer.Option(help="strict, standard or lenient.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@app.command()
def plan(
    context: typer.Context,
    model: Model,
    version: VersionOption = None,
    recipes: Recipes = None,
    search: Search = False,
    backend: BackendOption = DEFAULTS.backend,
    device: DeviceOption = DEFAULTS.device,
    engine: EngineOption = DEFAULTS.engine,
    calibration: Calibration = DEFAULTS.calibration,
    evaluation: Evaluation = None,
    gates: Gates = DEFAULTS.gates,
    as_json: AsJson = False,
) -> None:
    """Check the model, the data and the recipes, and show what would be tried. Changes nothing."""
    request = _request(context)
    _show_plan(_plan(request), as_json=as_json)


@app.command()
def run(
    context: typer.Context,
    model: Model,
    version: VersionOption = None,
    recipes: Recipes = None,
    search: Search = False,
    backend: BackendOption = DEFAULTS.backend,
    device: DeviceOption = DEFAULTS.device,
    engine: EngineOption = DEFAULTS.engine,
    calibration: Calibration = DEFAULTS.calibration,
    evaluation: Evaluation = None,
    gates: Gates = DEFAULTS.gates,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="As `plan`.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run every step of the DAG here; ends with a candidate version, or exit code 1."""
    from greenlight.core.logs import configure_logging
    from greenlight.entrypoints import quantize

    request = _request(context)
    if dry_run:
        _show_plan(_plan(request), as_json=as_json)
        return
    configure_logging()  # the steps tell how far they are
    candidate = quantize.run_all(request.model_dump(mode="json"))
    if as_json:
        typer.echo(json.dumps(candidate, indent=2))
    else:
        console.print(f"[bold]{candidate['title']}[/] is the candidate: {candidate['url']}")
        console.print(f"Evidence: greenlight evidence show {model} {candidate['version']}")


def _request(context: typer.Context) -> QuantizeRequest:
    """Read the request from the options: they are named after its fields."""
    chosen = {
        name: value
        for name, value in context.params.items()
        if name in QuantizeRequest.model_fields and value not in (None, [], ())
    }
    return parse_request(chosen)


def _plan(request: QuantizeRequest) -> list[JsonDict]:
    from greenlight.entrypoints import quantize

    steps = quantize.steps()
    source = steps.resolve_source(request.model_dump(mode="json"))
    data = steps.validate_data(source)
    return steps.plan_recipes(source, data)


def _show_plan(planned: list[JsonDict], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(planned, indent=2))
        return
    table = Table("order", "recipe", "about", "bits", "group", "left in 16 bit")
    for entry in planned:
        recipe = entry["recipe"]
        kept = [", ".join(rule["match"]) for rule in recipe["modules"] if rule["bits"] == 16]
        table.add_row(
            str(entry["position"] + 1),
            recipe["name"],
            f"{entry['predicted_bytes'] / 1e6:.1f} MB",
            str(recipe["bits"]),
            str(recipe["group_size"]),
            "; ".join(kept) or "-",
        )
    console.print(table)
