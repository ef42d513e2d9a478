"""A signed token, taken apart without trusting any of it, and its signature.

What a header could steer, it doesn't: the algorithm is one of the issuer's, the key is one that the
issuer publishes, and `jku`, `x5u`, `jwk` and `x5c` are not read. Each part is parsed once, and
strictly: what was checked is what is used.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from greenlight.core.types import JsonDict

MAX_TOKEN = 8 * 1024
"""Characters; what is longer isn't looked at."""
PARTS = 3
MAX_KEY_ID = 256
CRITICAL = ("crit", "b64")
"""Headers that change what the rest means (RFC 7515 4.1.11, RFC 7797)."""


class BadTokenError(ValueError):
    """Why a token is none; the message is for its sender, and shows nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedToken:
    """A token's parts. Nothing is known about the signature yet."""

    header: JsonDict
    claims: JsonDict
    algorithm: str
    key_id: str
    signed: bytes
    signature: bytes


def read_token(token: str) -> SignedToken:
    """Take a token apart.

    Raises:
        BadTokenError: it is malformed, or asks for what nobody should.
    """
    if len(token) > MAX_TOKEN:
        raise BadTokenError(f"it has {len(token)} characters, the limit is {MAX_TOKEN}")
    parts = token.encode(errors="replace").split(b".")
    if len(parts) != PARTS:
        raise BadTokenError("it is no signed JWT: three parts with dots between them")
    header = _object(parts[0], "header")
    algorithm, key_id = header.get("alg"), header.get("kid")
    if any(name in header for name in CRITICAL):
        raise BadTokenError("its header has `crit` or `b64`, which is not supported")
    if not isinstance(algorithm, str):
        raise BadTokenError("its header names no algorithm (`alg`)")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_KEY_ID:
        raise BadTokenError(f"its header needs a `kid` of at most {MAX_KEY_ID} characters")
    return SignedToken(
        header=header,
        claims=_object(parts[1], "payload"),
        algorithm=algorithm,
        key_id=key_id,
        signed=parts[0] + b"." + parts[1],
        signature=_bytes(parts[2], "signature"),
    )


def check_algorithm(token: SignedToken, *, allowed: Collection[str]) -> None:
    """Refuse a token that is signed in another way than the issuer does.

    Raises:
        BadTokenError: its algorithm is not one of these.
    """
    if token.algorithm not in allowed:
        raise BadTokenError(f"its algorithm (`alg`) must be one of {', '.join(allowed)}")


def check_signature(token: SignedToken, key: Key) -> None:
    """Refuse a token that the key didn't sign.

    Raises:
        BadTokenError: it is forged or changed, or the key is for something else.
    """
    algorithm = JWSRegistry.algorithms[token.algorithm]
    try:
        algorithm.check_key(key)  # type, curve, `use` and `alg` of the key
        good = algorithm.verify(token.signed, token.signature, key)
    except (JoseError, ValueError) as error:
        raise BadTokenError("its key is not for this algorithm") from error
    if not good:
        raise BadTokenError("its signature is wrong")


def _object(part: bytes, name: str) -> JsonDict:
    try:
        found = json.loads(
            _bytes(part, name).decode(),  # bytes could be UTF-16, or begin with a BOM
            object_pairs_hook=_once_each,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as error:
        raise BadTokenError(f"its {name} is no JSON object") from error
    if not isinstance(found, dict):
        raise BadTokenError(f"its {name} is no JSON object")
    return found


def _bytes(part: bytes, name: str) -> bytes:
    try:
        return urlsafe_b64decode(part)
    except ValueError as error:
        raise BadTokenError(f"its {name} is not base64url") from error


def _once_each(pairs: list[tuple[str, Any]]) -> JsonDict:
    """RFC 7519 4: of two claims of one name, two parsers may see different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
