"""`greenlight quickstart`: everything up, with two simulated engines live."""

from __future__ import annotations

from greenlight.cli.console import say
from greenlight.cli.door import show_door
from greenlight.core.settings import load_settings

NEXT = (
    ("greenlight top", "what serves, live"),
    ("greenlight doctor", "what this set-up still lacks"),
    ("greenlight deploy history simulated", "what was done"),
    ("make down", "stops everything; the data stays"),
)


def quickstart() -> None:
    """Bring up the stack with two simulated engines live; back it up, and restore it."""
    from greenlight.entrypoints import quickstart as steps
    from greenlight.entrypoints import stack

    settings = load_settings()
    addresses = stack.up(settings, report=lambda service, what: say(f"{service}: {what}"))
    steps.go_live(settings, addresses, say=say)
    show_door(settings, addresses, model=steps.MODEL)
    steps.back_up_and_restore(settings, say=say)
    say(f"Airflow: {addresses.airflow_url} (user {addresses.airflow_user}, password: "
        "greenlight stack password); open Greenlight in its menu")  # fmt: skip
    say("Next:")
    for command, what in NEXT:
        say(f"  {command:37}{what}")
