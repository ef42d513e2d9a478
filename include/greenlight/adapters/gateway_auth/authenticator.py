"""One door for both credentials: an API key is told by its prefix, all else must be a token."""

from __future__ import annotations

from greenlight.gateway.credentials import refused
from greenlight.gateway.key_format import PREFIX
from greenlight.gateway.ports import Authenticator
from greenlight.gateway.principals import Principal
from greenlight.gateway.refusals import Refusal


class CredentialAuthenticator:
    """`gateway.ports.Authenticator`. What gateway.yaml doesn't allow has none here."""

    def __init__(self, *, keys: Authenticator | None, tokens: Authenticator | None) -> None:
        self._keys, self._tokens = keys, tokens

    async def authenticate(self, bearer: str) -> Principal | Refusal:
        """Return who it is, or why nobody. `bearer`: as `credentials.bearer_of` gives it.

        Raises:
            UnavailableError: it could not be checked; nobody is let in.
        """
        if bearer.startswith(PREFIX):
            if self._keys is None:
                return refused("API keys are not accepted here; send an access token")
            return await self._keys.authenticate(bearer)
        if self._tokens is None:
            return refused("access tokens are not accepted here; send an API key")
        return await self._tokens.authenticate(bearer)
