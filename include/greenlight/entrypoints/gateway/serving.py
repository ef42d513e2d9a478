"""What each model's fleet serves now, and the tokenizer that counts its prompts; kept fresh."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.errors import ConfigError, InputError, UnavailableError
from greenlight.deploy.journal import live, since_live, unfinished
from greenlight.gateway.gateway_file import ServedModel
from greenlight.gateway.refusals import Refusal, try_again
from greenlight.gateway.requests import CompletionRequest
from greenlight.gateway.served import NOTHING, Served, ServedVersion
from greenlight.gateway.validation import Checked

if TYPE_CHECKING:
    from greenlight.adapters.prompt_tokens import PromptTokens
    from greenlight.deploy.journal import Live, Rollout
    from greenlight.deploy.ports import JournalStore

log = logging.getLogger(__name__)

EVERY_S = 1.0
WHOLE = 100
NOT_SERVED_S = 5.0
"""When a client may ask again for a model that isn't ready."""


class ServedModels:
    """Asks the journal again and again. While it can't be asked, nothing counts as known."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        *,
        journal: JournalStore | None,
        folder_of: Callable[[str], Path],
    ) -> None:
        """`folder_of`: where the model of a digest is on this machine."""
        self._models, self._journal, self._folder_of = models, journal, folder_of
        self._served: dict[str, Served] = dict.fromkeys(models, NOTHING)
        self._tokens: dict[Path, PromptTokens] = {}

    def of(self, model: str) -> Served:
        """Return what a model's fleet serves."""
        return self._served[model]

    async def refresh(self) -> None:
        """Look once."""
        for name, model in self._models.items():
            if model.fleet is None or self._journal is None:
                continue
            try:
                self._served[name] = await asyncio.to_thread(served_by, self._journal, model.fleet)
            except UnavailableError as error:
                log.warning("what fleet %s serves is not known: %s", model.fleet, error)
                # The tokenizer stays: it counted right a moment ago, and a wrong count costs less
                # than no service. A kept answer might be of another version: none is given.
                old = self._served[name].tokenizer_digest
                self._served[name] = Served(current=None, by_colour={}, tokenizer_digest=old)

    async def keep_fresh(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.refresh()

    async def count(self, model: str, checked: Checked) -> int | Refusal:
        """Return how many tokens a prompt has, or why it can't be counted."""
        tokens = self._tokenizer(model)
        if isinstance(tokens, Refusal):
            return tokens
        if isinstance(checked.asked, CompletionRequest):
            return await tokens.of_text(checked.asked.prompt)
        try:
            return await tokens.of_chat(checked.body["messages"], checked.body.get("tools"))
        except InputError as error:
            return Refusal(
                status=400, code="invalid_value", message=f"messages: {error}", param="messages"
            )

    def _tokenizer(self, model: str) -> PromptTokens | Refusal:
        folder = self._models[model].tokenizer
        digest = self._served[model].tokenizer_digest
        if folder is None and digest is None:
            return _not_served(model, "nothing is live on its fleet")
        folder = folder or self._folder_of(str(digest))
        if folder not in self._tokens:
            from greenlight.adapters.prompt_tokens import PromptTokens

            try:
                self._tokens[folder] = PromptTokens(folder)
            except ConfigError as error:
                log.error("%s", error)
                return _not_served(model, "its tokenizer can't be read")
        return self._tokens[folder]


def served_by(journal: JournalStore, fleet: str) -> Served:
    """Return what a fleet serves by its journal: live, and what is being rolled out.

    Raises:
        UnavailableError: the journal can't be read.
    """
    history = since_live(journal, fleet)
    alive, running = live(history), unfinished(history)
    by_colour = {str(one.colour): _version(one) for one in (alive, running) if one is not None}
    current = _version(alive) if alive else None
    share = next((made.share for rollout, made in history if rollout is running), 0)
    if running is not None and share:
        current = _version(running) if share == WHOLE else None
    counting = alive or current
    return Served(
        current=current,
        by_colour=by_colour,
        tokenizer_digest=counting.digest if counting else None,
    )


def _version(rollout: Rollout | Live) -> ServedVersion:
    return ServedVersion(digest=rollout.digest, flags_digest=rollout.flags_digest)


def _not_served(model: str, why: str) -> Refusal:
    return try_again(
        "model_not_ready",
        f"the model {model} can't be asked now: {why}",
        after_s=NOT_SERVED_S,
        param="model",
    )
