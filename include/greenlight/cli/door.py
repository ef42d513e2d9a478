"""How to ask what is live, for whoever has just brought it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from greenlight.cli.console import say

if TYPE_CHECKING:
    from greenlight.adapters.stack.services import StackAddresses
    from greenlight.core.settings import Settings


def show_door(settings: Settings, addresses: StackAddresses, *, model: str) -> None:
    """Ask through the gateway, and print how, with a key that is shown this once."""
    from greenlight.entrypoints import demo_gateway

    door = demo_gateway.open_door(settings, url=addresses.gateway_url, model=model)
    say(f"The gateway answered ({door.tokens} tokens): {door.answer.strip()}")
    say("Ask it yourself; the key is good for a week and is shown this once:")
    typer.echo(f"  {door.curl}")
