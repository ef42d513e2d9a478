"""What the calls cost that every request or every look of a rollout makes.

Run it with `make bench-calls`. Beside each stands what it saves or replaces: a key that is known
beside one HMAC-SHA-256 of its text, the least that any look-up of a hashed key takes; a token that
is known beside the checking of its signature by joserfc; a look at 20,000 samples beside one sort
of their times by NumPy. Best of many rounds, each side in turn. The last line is one JSON object.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable

import numpy as np
from joserfc import jwt

from greenlight.adapters.gateway_auth.jwt import TokenAuthenticator, TrustedIssuer
from greenlight.adapters.gateway_auth.key_sets import KeySet
from greenlight.adapters.gateway_auth.keys import KeyAuthenticator
from greenlight.core.types import JsonDict
from greenlight.deploy.analysis import AnalysisSettings, LiveCounts, Look, Sample, SampleSet, judge
from greenlight.deploy.colours import Colour
from greenlight.testing.gateway_access import AUDIENCE, ISSUER, PEPPER, a_gateway, a_key, an_event
from greenlight.testing.manual_clock import NOON, ManualClock
from greenlight.testing.memory_gateway import MemoryAudit, MemoryKeys
from greenlight.testing.oidc_issuer import new_key, sign

ROUNDS, CALLS = 40, 200
SAMPLES = 10_000
ALGORITHM = "RS256"


def known_key() -> tuple[float, float]:
    """Return the seconds of asking for a known key, and of one HMAC of its text."""
    store = MemoryKeys(MemoryAudit())
    key, text = a_key()
    store.add(key, event=an_event())
    asked = KeyAuthenticator(a_gateway(), store, pepper=PEPPER, clock=ManualClock())

    def hashed() -> None:
        hmac.new(PEPPER.encode(), text.text.encode(), hashlib.sha256).digest()

    async def measure() -> tuple[float, float]:
        async with asked as open_:
            return await both(lambda: open_.authenticate(text.text), hashed)

    return asyncio.run(measure())


def known_token() -> tuple[float, float]:
    """Return the seconds of asking for a known token, and of checking its signature."""
    key, now = new_key(ALGORITHM, "one"), int(NOON.timestamp())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300,
              "scope": "chat", "tenant": "acme"}  # fmt: skip
    text = sign(claims, key)
    named: JsonDict = {"issuer": ISSUER, "audience": AUDIENCE, "algorithms": [ALGORITHM]}
    gateway, clock = a_gateway(issuers=(named,)), ManualClock()
    (found,) = gateway.issuers

    async def published() -> JsonDict:
        return {"keys": [key.as_dict(private=False)]}

    keys = KeySet(ISSUER, published, clock=clock, max_age_s=found.max_age_s)
    asked = TokenAuthenticator(
        gateway,
        issuers={ISSUER: TrustedIssuer(settings=found, keys=keys)},
        pepper=PEPPER,
        clock=clock,
        identify=lambda *_: None,
    )

    def verified() -> None:
        jwt.decode(text, key, algorithms=[ALGORITHM])

    return asyncio.run(both(lambda: asked.authenticate(text), verified))


async def both(
    ours: Callable[[], Awaitable[object]], other: Callable[[], object]
) -> tuple[float, float]:
    """Return the best mean seconds of each; the first call of ours is not counted."""
    await ours()
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            await ours()
        between = time.perf_counter()
        for _ in range(CALLS):
            other()
        ended = time.perf_counter()
        best = [min(best[0], between - began), min(best[1], ended - between)]
    return best[0] / CALLS, best[1] / CALLS


def one_look() -> tuple[float, float]:
    """Return the processor's seconds of judging two colours, and of sorting their times once."""
    colours = [_samples(colour, seed=seed) for seed, colour in enumerate(Colour)]
    quiet = dict.fromkeys(Colour, LiveCounts(requests=0, errors=0))
    settings, look = AnalysisSettings.of(), Look(elapsed_s=60.0)
    gathered = [SampleSet(each) for each in colours]
    times = np.array([[one.ttft_s for one in each] for each in colours])
    for each in gathered:
        each.columns()
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        began = time.process_time()
        judge(*gathered, quiet, settings, look=look)
        between = time.process_time()
        np.sort(times, axis=1)
        best = [min(best[0], between - began), min(best[1], time.process_time() - between)]
    return best[0], best[1]


def _samples(colour: Colour, *, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    ttft, gap = rng.lognormal(-2, 0.5, SAMPLES), rng.lognormal(-4, 0.1, SAMPLES)
    return [
        Sample(
            colour=colour, prompt=n % 50, at_s=n / 20, ok=n > SAMPLES // 1000, tokens=16,
            ttft_s=float(ttft[n]), gap_s=float(gap[n]), total_s=float(ttft[n] + 16 * gap[n]),
            finish="stop",
        )
        for n in range(SAMPLES)
    ]  # fmt: skip


def main() -> None:
    """Measure, print a line each, and end with one JSON object."""
    found: JsonDict = {}
    for name, (ours, other), what in (
        ("known_key", known_key(), "one HMAC-SHA-256"),
        ("known_token", known_token(), f"checking its {ALGORITHM} signature"),
        ("one_look", one_look(), "sorting both colours' times once"),
    ):
        print(f"{name:12} {ours * 1e6:10,.1f} us; {what}: {other * 1e6:,.1f} us")
        found[f"{name}_us"] = round(ours * 1e6, 2)
        found[f"{name}_ratio"] = round(ours / other, 4)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
