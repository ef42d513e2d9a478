"""What every store of limits must do. Subclass it and give it fixtures `store` and `clock`.

`clock` is the store's own time. Times are compared to a microsecond.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from greenlight.gateway.limits import (
    RATE_WINDOW_S,
    Charge,
    Decision,
    Exceeded,
    Holder,
    Limit,
    LimitKind,
    Reservation,
)
from greenlight.gateway.ports import LimitStore
from greenlight.testing.manual_clock import ManualClock

T = TypeVar("T")
Run = Callable[[Awaitable[T]], T]
LEASE_S = 600.0
ONE = Charge(tokens=1, spend=1)


def a_limit(
    kind: LimitKind, amount: int, *, subject: str = "ana", holder: Holder = Holder.KEY
) -> Limit:
    """Return a limit of one key."""
    return Limit(kind=kind, holder=holder, subject=subject, amount=amount)


def requests(amount: int, *, subject: str = "ana") -> Limit:
    """Return a limit of requests."""
    return a_limit(LimitKind.REQUESTS, amount, subject=subject)


def tokens(amount: int, *, subject: str = "ana") -> Limit:
    """Return a limit of tokens."""
    return a_limit(LimitKind.TOKENS, amount, subject=subject)


def admitted(decision: Decision) -> Reservation:
    """Return the reservation; a refusal fails the test."""
    assert isinstance(decision, Reservation), decision
    return decision


def refused(decision: Decision) -> Exceeded:
    """Return the refusal; a reservation fails the test."""
    assert isinstance(decision, Exceeded), decision
    return decision


class Caller:
    """Calls a store from a test that isn't a coroutine."""

    def __init__(self, store: LimitStore, run: Run[object]) -> None:
        self.store, self._run = store, run

    def reserve(
        self, *limits: Limit, charge: Charge = ONE, name: str = "call", expires_s: float = LEASE_S
    ) -> Decision:
        """Reserve under all of the limits."""
        decision = self._run(
            self.store.reserve(limits, charge, request_id=name, expires_s=expires_s)
        )
        assert isinstance(decision, Reservation | Exceeded)
        return decision

    def settle(self, decision: Decision, actual: Charge) -> None:
        """Settle what was admitted."""
        self._run(self.store.settle(admitted(decision), actual))

    def used(self, *limits: Limit) -> list[int]:
        """Return what is used of each."""
        found = self._run(self.store.standing(limits))
        assert isinstance(found, list)
        return found


class Windows:
    """What a window of a minute may hold, told again from every call there was."""

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self._calls: list[list[float]] = []

    def admits(self, asked: int, now: float) -> bool:
        """Whether so many tokens fit beside all calls of the last minute and its first second."""
        counted = [used for at, used in self._calls if int(at) >= int(now) - RATE_WINDOW_S]
        return sum(counted) + asked <= self.amount

    def add(self, asked: int, now: float) -> int:
        """Note an admitted call, and return its number."""
        self._calls.append([now, asked])
        return len(self._calls) - 1

    def settle(self, number: int, used: int) -> None:
        """Note what a call used."""
        self._calls[number][1] = used

    def most_in_a_window(self) -> float:
        """Return the most that was used in any window: one that ends with a call holds the most."""
        return max(
            (
                sum(used for at, used in self._calls if end - RATE_WINDOW_S < at <= end)
                for end, _ in self._calls
            ),
            default=0,
        )


def live_a_while(
    caller: Caller, clock: ManualClock, *, chance: random.Random, calls: int, amount: int = 100
) -> Windows:
    """Make calls at random times and settle most of them late; every decision must be the model's.

    Returns what the windows held.
    """
    limit, model = tokens(amount), Windows(amount)
    open_calls: list[tuple[Reservation, int]] = []
    for _ in range(calls):
        clock.advance(chance.choice((0, 0.001, 0.4, 1, 7.3, 59.5)) * chance.random())
        now, asked = clock.now().timestamp(), chance.randint(0, amount // 2)
        decision = caller.reserve(limit, charge=Charge(tokens=asked), expires_s=3600)
        assert isinstance(decision, Reservation) == (not asked or model.admits(asked, now))
        if isinstance(decision, Reservation):
            open_calls.append((decision, model.add(asked, now)))
        if open_calls and chance.random() < 0.5:
            reservation, number = open_calls.pop(chance.randrange(len(open_calls)))
            used = chance.randint(0, reservation.charge.tokens)
            caller.settle(reservation, Charge(tokens=used))
            model.settle(number, used)
    return model


class LimitsContract:
    """Never more than the limit, never less without a reason, and the reason is exact."""

    @pytest.fixture
    def run(self) -> Iterator[Run[object]]:
        """Runs a coroutine, all of a test's on one event loop."""
        with asyncio.Runner() as runner:

            async def awaited(awaitable: Awaitable[object]) -> object:
                return await awaitable

            yield lambda awaitable: runner.run(awaited(awaitable))

    @pytest.fixture
    def caller(self, store: LimitStore, run: Run[object]) -> Caller:
        """The store under test."""
        return Caller(store, run)

    def test_a_call_is_admitted_with_what_remains(self, caller: Caller, clock: ManualClock) -> None:
        """Of every limit, in their order."""
        limits = (requests(5), tokens(100), a_limit(LimitKind.STREAMS, 2))
        found = admitted(caller.reserve(*limits, charge=Charge(tokens=30)))
        assert [standing.limit for standing in found.standings] == list(limits)
        assert [standing.remaining for standing in found.standings] == [4, 70, 1]
        assert found.at_s == pytest.approx(clock.now().timestamp(), abs=1e-6)

    def test_one_more_than_the_limit_is_refused_until_exactly_then(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """Not a millisecond earlier; the message can be trusted."""
        clock.advance(0.25)
        for _ in range(3):
            admitted(caller.reserve(requests(3)))
            clock.advance(5)
        found = refused(caller.reserve(requests(3)))
        assert (found.limit, found.asked, found.remaining) == (requests(3), 1, 0)
        assert found.retry_after_s == pytest.approx(61 - 15 - 0.25, abs=1e-5)
        clock.advance(61 - 15 - 0.25 - 0.001)
        refused(caller.reserve(requests(3)))
        clock.advance(0.001)
        admitted(caller.reserve(requests(3)))
        refused(caller.reserve(requests(3)))

    def test_a_large_call_waits_until_enough_steps_have_fallen_out(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """Not for the first of them only."""
        for _ in range(4):
            admitted(caller.reserve(tokens(100), charge=Charge(tokens=25)))
            clock.advance(10)
        found = refused(caller.reserve(tokens(100), charge=Charge(tokens=60)))
        assert found.retry_after_s == pytest.approx(20 + 61 - 40, abs=1e-5)
        assert found.remaining == 0

    def test_what_a_call_can_cost_is_taken_before_it_runs(self, caller: Caller) -> None:
        """Calls in flight together can't spend the same allowance."""
        decisions = [caller.reserve(tokens(100), charge=Charge(tokens=40)) for _ in range(5)]
        assert [isinstance(one, Reservation) for one in decisions] == [True, True] + [False] * 3
        assert refused(decisions[-1]).remaining == 20

    def test_a_refused_call_changes_nothing_anywhere(self, caller: Caller) -> None:
        """All limits or none."""
        limits = (
            requests(9), a_limit(LimitKind.STREAMS, 9), a_limit(LimitKind.SPEND_DAY, 9),
            a_limit(LimitKind.SPEND_MONTH, 9), tokens(10),
        )  # fmt: skip
        admitted(caller.reserve(*limits, charge=Charge(tokens=8, spend=2)))
        before = caller.used(*limits)
        assert refused(caller.reserve(*limits, charge=Charge(tokens=8, spend=2))).limit == limits[4]
        assert caller.used(*limits) == before == [1, 1, 2, 2, 8]

    def test_what_was_not_used_is_given_back_to_its_step(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """The rest falls out when the call was made a minute ago, not when it was settled."""
        call = caller.reserve(tokens(100), charge=Charge(tokens=100))
        clock.advance(30)
        caller.settle(call, Charge(tokens=10))
        assert caller.used(tokens(100)) == [10]
        admitted(caller.reserve(tokens(100), charge=Charge(tokens=90)))
        clock.advance(31)
        assert caller.used(tokens(100)) == [90]

    def test_a_call_settled_to_nothing_leaves_nothing(self, caller: Caller) -> None:
        """But that it was made."""
        limits = (requests(5), tokens(100), a_limit(LimitKind.STREAMS, 2))
        call = admitted(caller.reserve(*limits, charge=Charge(tokens=100)))
        caller.settle(call, Charge(tokens=0))
        assert caller.used(*limits) == [1, 0, 0]
        again = admitted(caller.reserve(tokens(100), charge=Charge(tokens=100)))
        assert again.standings[0].remaining == 0

    def test_settling_twice_is_settling_once(self, caller: Caller) -> None:
        """A retry gives nothing back a second time."""
        limits = (tokens(100), a_limit(LimitKind.SPEND_DAY, 100))
        admitted(caller.reserve(*limits, charge=Charge(tokens=40, spend=40)))
        call = caller.reserve(*limits, charge=Charge(tokens=40, spend=40))
        for _ in range(2):
            caller.settle(call, Charge(tokens=10, spend=10))
        assert caller.used(*limits) == [50, 50]

    def test_a_call_that_took_more_than_it_reserved_counts_as_what_it_took(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """The limit is then exceeded by it, and the next call waits longer."""
        call = caller.reserve(tokens(100), charge=Charge(tokens=0))
        clock.advance(1)
        other = caller.reserve(tokens(100), charge=Charge(tokens=50))
        caller.settle(call, Charge(tokens=80))
        assert caller.used(tokens(100)) == [130]
        caller.settle(other, Charge(tokens=50))
        found = refused(caller.reserve(tokens(100)))
        assert found.remaining == 0
        assert found.retry_after_s == pytest.approx(60, abs=1e-5)

    def test_a_late_settlement_does_not_touch_what_came_after(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """Its step left the window."""
        call = caller.reserve(tokens(100), charge=Charge(tokens=100), expires_s=600)
        clock.advance(61)
        admitted(caller.reserve(tokens(100), charge=Charge(tokens=100)))
        caller.settle(call, Charge(tokens=0))
        assert caller.used(tokens(100)) == [100]

    def test_a_stream_holds_its_place_until_it_ends(self, caller: Caller) -> None:
        """And a waiting client may ask again soon: nobody knows when."""
        limit = a_limit(LimitKind.STREAMS, 2)
        calls = [caller.reserve(limit) for _ in range(3)]
        assert refused(calls[2]).retry_after_s == pytest.approx(1.0)
        assert refused(calls[2]).standings[0].next_s is None
        caller.settle(calls[0], ONE)
        admitted(caller.reserve(limit))

    def test_the_stream_of_a_dead_worker_ends_by_itself(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """A longer one beside it goes on."""
        limit = a_limit(LimitKind.STREAMS, 2)
        admitted(caller.reserve(limit, expires_s=10))
        longer = admitted(caller.reserve(limit, expires_s=50))
        assert longer.standings[0].reset_s == pytest.approx(50)
        clock.advance(9.9)
        refused(caller.reserve(limit))
        clock.advance(0.2)
        admitted(caller.reserve(limit))
        assert caller.used(limit) == [2]

    def test_money_of_a_call_that_nobody_settled_is_spent(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """Also when somebody settles it too late."""
        limit = a_limit(LimitKind.SPEND_DAY, 100)
        call = caller.reserve(limit, charge=Charge(tokens=0, spend=60), expires_s=5)
        clock.advance(6)
        caller.settle(call, Charge(tokens=0, spend=1))
        assert caller.used(limit) == [60]

    def test_money_is_counted_by_utc_day_and_month(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """What is left of the day, or of the month, is how long a client must wait."""
        day, month = a_limit(LimitKind.SPEND_DAY, 100), a_limit(LimitKind.SPEND_MONTH, 150)
        clock.set(datetime(2028, 2, 28, 23, 59, 50, tzinfo=UTC))
        spend = Charge(tokens=0, spend=90)
        late = caller.reserve(day, month, charge=spend, expires_s=3600)
        found = refused(caller.reserve(day, charge=spend))
        assert found.retry_after_s == pytest.approx(10, abs=1e-5)
        clock.advance(10)
        found = refused(caller.reserve(day, month, charge=spend))
        assert (found.limit, found.remaining) == (month, 60)
        assert found.retry_after_s == pytest.approx(86400, abs=1e-5)  # 2028 has a 29 February
        admitted(caller.reserve(day, charge=Charge(tokens=0, spend=70)))
        caller.settle(late, Charge(tokens=0, spend=30))
        assert caller.used(day, month) == [70, 30], "yesterday's call is yesterday's money"
        clock.advance(86400)
        admitted(caller.reserve(day, month, charge=spend))
        assert caller.used(day, month) == [90, 90]

    @pytest.mark.parametrize(
        ("begins", "days"),
        [
            (datetime(2026, 1, 1, tzinfo=UTC), 31), (datetime(2026, 2, 1, tzinfo=UTC), 28),
            (datetime(2026, 4, 30, 23, 59, 59, tzinfo=UTC), 1 / 86400),
            (datetime(2027, 12, 31, tzinfo=UTC), 1), (datetime(2100, 2, 1, tzinfo=UTC), 28),
            (datetime(2096, 2, 1, tzinfo=UTC), 29), (datetime(2028, 3, 1, tzinfo=UTC), 31),
        ],
    )  # fmt: skip
    def test_a_month_ends_when_the_calendar_says(
        self, caller: Caller, clock: ManualClock, begins: datetime, days: float
    ) -> None:
        """Leap years, short months, the end of a year."""
        clock.set(begins)
        limit = a_limit(LimitKind.SPEND_MONTH, 10)
        found = admitted(caller.reserve(limit, charge=Charge(tokens=0, spend=10)))
        assert found.standings[0].reset_s == pytest.approx(days * 86400, abs=1e-5)
        clock.advance(days * 86400 - 0.5)
        refused(caller.reserve(limit))
        clock.advance(0.5)
        admitted(caller.reserve(limit))

    def test_a_call_that_costs_nothing_is_not_refused_for_money(self, caller: Caller) -> None:
        """A model without a price works when the budget is gone."""
        limit = a_limit(LimitKind.SPEND_DAY, 10)
        call = caller.reserve(limit, charge=Charge(tokens=5, spend=10))
        caller.settle(call, Charge(tokens=5, spend=12))
        admitted(caller.reserve(limit, charge=Charge(tokens=5)))
        refused(caller.reserve(limit, charge=Charge(tokens=5, spend=1)))

    def test_a_call_that_can_never_fit_is_told_so(self, caller: Caller) -> None:
        """Waiting doesn't help, whatever else is exceeded."""
        found = refused(
            caller.reserve(tokens(100), requests(1), charge=Charge(tokens=101), name="large")
        )
        assert (found.limit, found.asked, found.remaining) == (tokens(100), 101, 100)
        assert found.retry_after_s is None

    @pytest.mark.parametrize("kind", [LimitKind.SPEND_DAY, LimitKind.SPEND_MONTH])
    def test_a_call_that_costs_more_than_a_whole_budget_is_told_so(
        self, caller: Caller, kind: LimitKind
    ) -> None:
        """Tomorrow is no better."""
        found = refused(caller.reserve(a_limit(kind, 10), charge=Charge(tokens=1, spend=11)))
        assert (found.asked, found.retry_after_s) == (11, None)

    def test_of_several_limits_the_one_that_takes_longest_is_named(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """Else a client would wait, and be refused again."""
        fast, slow = requests(1), tokens(10, subject="tenant")
        admitted(caller.reserve(fast))
        clock.advance(20)
        admitted(caller.reserve(slow, charge=Charge(tokens=10)))
        for order in ((fast, slow), (slow, fast)):
            assert refused(caller.reserve(*order)).limit == slow

    def test_the_same_request_id_twice_is_two_calls(self, caller: Caller) -> None:
        """A client may choose it."""
        limit = a_limit(LimitKind.STREAMS, 2)
        one, two = (caller.reserve(limit, name="same") for _ in range(2))
        refused(caller.reserve(limit, name="same"))
        caller.settle(one, ONE)
        assert caller.used(limit) == [1]
        caller.settle(two, ONE)
        assert caller.used(limit) == [0]

    def test_holders_subjects_and_kinds_are_counted_apart(self, caller: Caller) -> None:
        """Whatever a subject is called."""
        names = ["a", "b", "a:b", "a b", "{a}", "a\nb", "ü" * 300, "key"]
        limits = [requests(1, subject=name) for name in names]
        limits += [tokens(1, subject="a"), a_limit(LimitKind.STREAMS, 1, subject="a")]
        limits += [a_limit(LimitKind.REQUESTS, 1, subject="a", holder=Holder.TENANT)]
        for limit in limits:
            admitted(caller.reserve(limit))
        assert caller.used(*limits) == [1] * len(limits)

    def test_standings_say_when_some_and_when_all_is_free(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """A limit that nothing was taken of is free now."""
        admitted(caller.reserve(tokens(100)))
        clock.advance(20.5)
        found = admitted(caller.reserve(tokens(100), a_limit(LimitKind.SPEND_DAY, 5)))
        rate, money = found.standings
        assert rate.next_s == pytest.approx(61 - 20.5, abs=1e-5)
        assert rate.reset_s == pytest.approx(20 + 61 - 20.5, abs=1e-5)
        assert money.reset_s == money.next_s == pytest.approx(12 * 3600 - 20.5, abs=1e-5)
        free = admitted(caller.reserve(tokens(9, subject="new"), charge=Charge(tokens=0)))
        assert (free.standings[0].reset_s, free.standings[0].next_s) == (0, 0)

    def test_a_clock_that_goes_back_admits_nothing_more(
        self, caller: Caller, clock: ManualClock
    ) -> None:
        """Calls of a later second stay counted."""
        admitted(caller.reserve(tokens(100), charge=Charge(tokens=60)))
        clock.advance(-2)
        refused(caller.reserve(tokens(100), charge=Charge(tokens=60)))
        call = admitted(caller.reserve(tokens(100), charge=Charge(tokens=40)))
        caller.settle(call, Charge(tokens=40))
        assert caller.used(tokens(100)) == [100]

    @pytest.mark.parametrize("seed", range(3))
    def test_every_decision_is_that_of_a_model_that_forgets_nothing(
        self, caller: Caller, clock: ManualClock, seed: int
    ) -> None:
        """Calls and settlements at random times: no window holds more than the limit."""
        chance = random.Random(seed)  # noqa: S311 - a seeded test
        model = live_a_while(caller, clock, chance=chance, calls=200)
        assert 0 < model.most_in_a_window() <= model.amount
