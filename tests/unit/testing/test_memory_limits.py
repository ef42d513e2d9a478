"""The fake against a model that forgets nothing; on Redis: tests/contract/test_limits.py."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from greenlight.gateway.limits import Charge, Reservation
from greenlight.testing.limits_contract import Caller, Windows, tokens
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_limits import MemoryLimits

AMOUNT = 100
pauses = st.one_of(
    st.just(0.0), st.floats(0, 2), st.sampled_from([0.999, 1.0, 59.999, 60.0, 60.001, 61.0])
)
steps = st.lists(
    st.tuples(pauses, st.integers(0, AMOUNT + 5), st.booleans(), st.integers(0, 120)), max_size=40
)


@given(steps)
def test_every_decision_is_the_models_and_every_wait_is_exact(steps):
    clock, model = ManualClock(), Windows(AMOUNT)
    limit, open_calls = tokens(AMOUNT), []
    with asyncio.Runner() as runner:
        caller = Caller(MemoryLimits(clock), runner.run)
        for pause, asked, settles, used in steps:
            clock.advance(round(pause, 3))
            now = clock.now().timestamp()
            decision = caller.reserve(limit, charge=Charge(tokens=asked), expires_s=10**6)
            if isinstance(decision, Reservation):
                assert not asked or model.admits(asked, now)
                open_calls.append((decision, model.add(asked, now)))
            elif decision.retry_after_s is None:
                assert asked > AMOUNT
            else:
                assert not model.admits(asked, now)
                then = round(now + decision.retry_after_s, 3)
                assert model.admits(asked, then)
                assert not model.admits(asked, then - 0.001)
            if settles and open_calls:
                call, number = open_calls.pop(used % len(open_calls))
                used = min(used, call.charge.tokens)
                caller.settle(call, Charge(tokens=used))
                model.settle(number, used)
    assert model.most_in_a_window() <= AMOUNT
