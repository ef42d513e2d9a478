"""`greenlight demo`: start everything, run the pipeline on a small model, show the evidence."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console, say
from greenlight.cli.door import show_door
from greenlight.core.settings import Settings, load_settings
from greenlight.core.types import JsonDict

if TYPE_CHECKING:
    from greenlight.entrypoints.demo import Demo, Snapshot

QUIET_EVERY_S = 15.0
"""How often a line is printed where there is no terminal to redraw one."""


def demo(
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve the candidate, and deploy it.")
    ] = os.environ.get("APPROVE") == "yes",
) -> None:
    """Run the whole product on this machine: about 15 minutes on two cores, then seconds."""
    from greenlight.cli.evidence import show
    from greenlight.entrypoints import demo as steps
    from greenlight.entrypoints import stack

    began = time.monotonic()
    settings = load_settings()
    addresses = stack.up(settings, report=lambda service, what: say(f"{service}: {what}"))
    request = steps.prepare(settings, say=say)
    run = steps.start(settings, addresses, request)
    page = f"{addresses.airflow_url}/dags/{steps.DAG}/runs/{run.run_id}"
    say(f"Airflow runs {steps.DAG}: {page} (user {addresses.airflow_user}, "
         "password: greenlight stack password)")  # fmt: skip
    _follow(run, began)
    candidate = run.candidate()
    show(candidate["model"], candidate["version"])
    approve = approve or _ask(candidate)
    if approve:
        _approve(run)
        _deploy(settings, run, request, candidate)
        show_door(settings, addresses, model=candidate["model"])
    _farewell(candidate, page, approved=approve, seconds=time.monotonic() - began)


def _ask(candidate: JsonDict) -> bool:
    """Ask whoever sits there; nobody does when there is no terminal."""
    return console.is_terminal and typer.confirm(
        f"Approve {candidate['title']} and deploy it on this machine?"
    )


def _approve(run: Demo) -> None:
    if run.waits_for_a_person():
        say(f"Approved; the run ended in state {run.approve(reason='make demo')}")


def _deploy(settings: Settings, run: Demo, request: JsonDict, candidate: JsonDict) -> None:
    """Make the parent live, then the candidate beside it, while clients keep asking."""
    from greenlight.entrypoints import demo_deploy as deploys
    from greenlight.entrypoints import models, rollback_drill

    parent = models.show_model(settings, request["model"], request["version"])
    deploys.approve_baseline(
        settings, model=request["model"], version=request["version"], by="make demo"
    )
    steps = deploys.DeployDemo(api=run.api, settings=settings)
    made = steps.start_with(request["version"], digest=parent["digest"], say=say)
    say("Deploying the candidate beside it, while clients keep asking")
    with deploys.clients(settings) as traffic:
        made.append(steps.go_live(candidate["version"], digest=candidate["digest"], say=say))
    say("Deploying a version with a planted fault to a shadow fleet of simulated engines")
    drill = rollback_drill.drill("slow first token", settings=settings)
    table = Table(title="What went live, and what it cost", show_header=False)
    for row in deploys.rows(made, traffic.counts, drill):
        table.add_row(row["what"], row["result"])
    console.print(table)


def _follow(run: Demo, began: float) -> None:
    """Print each task as it ends, and between them how far the run is."""
    seen: set[tuple[str, int]] = set()
    quiet_until = 0.0
    with console.status("Waiting for Airflow") as status:
        for snapshot in run.follow():
            for task in snapshot.tasks:
                key = (task.task_id, task.map_index)
                if task.ended and key not in seen:
                    seen.add(key)
                    seconds = (task.ended - (task.started or task.ended)).total_seconds()
                    label = f" [{task.label}]" if task.label else ""
                    console.print(
                        f"{_clock(began)} {task.task_id}{label}: {task.state}, {seconds:.0f} s",
                        markup=False,
                    )
            line = _line(snapshot, began)
            status.update(line)
            if not console.is_terminal and time.monotonic() >= quiet_until:
                console.print(line, markup=False)
                quiet_until = time.monotonic() + QUIET_EVERY_S


def _line(snapshot: Snapshot, began: float) -> str:
    running = [
        f"{task.task_id} {task.label or ''}".strip()
        for task in snapshot.tasks
        if task.state == "running"
    ]
    activity = f" ({snapshot.activity})" if snapshot.activity and running else ""
    return f"{_clock(began)} {snapshot.percent} %: {', '.join(running) or 'waiting'}{activity}"


def _farewell(candidate: JsonDict, page: str, *, approved: bool, seconds: float) -> None:
    name = f"{candidate['model']} {candidate['version']}"
    console.print(f"\nDone in {seconds / 60:.1f} minutes, set-up not counted.")
    for what, where in (
        ("Model version", candidate["url"]),
        ("Search", candidate["search_url"]),
        ("Plot", candidate["plot"]),
        ("Airflow run", page),
    ):
        console.print(f"  {what + ':':15}{where}", soft_wrap=True)
    console.print("Next:")
    console.print(f"  greenlight evidence verify {name}")
    if approved:
        console.print("  greenlight deploy status demo")
        console.print("  greenlight deploy history demo")
    else:
        console.print(f"  approve it at {page.rsplit('/dags', 1)[0]}/required_actions, or with")
        console.print(f"  greenlight approvals approve {name} --by YOU --reason WHY")
    console.print("  make down")


def _clock(began: float) -> str:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    return f"[{minutes:02}:{seconds:02}]"
