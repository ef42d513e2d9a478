"""What every store of costs must do. Subclass it and give it a fixture `costs`."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest

from greenlight.core.errors import InputError
from greenlight.cost.allocation import CostLine
from greenlight.cost.bill import HOUR, ItemKind
from greenlight.cost.claims import Part
from greenlight.cost.hours import CostHour, HourState
from greenlight.cost.ports import CostStore
from greenlight.cost.savings import Recorded, State
from greenlight.cost.totals import Dimension, total_by

FIRST = datetime(2026, 11, 24, 10, tzinfo=UTC)
_DAYS = count()


def a_day() -> datetime:
    """Return the first hour of a day that no other test uses."""
    return FIRST + timedelta(days=2 * next(_DAYS))


def a_line(hour: datetime, part: Part = Part.SERVING, *, cost: int = 540_000_000) -> CostLine:
    """Return a line of a host."""
    serves = part in (Part.SERVING, Part.WARM)
    return CostLine(
        hour=hour, part=part, item=ItemKind.HOST, name="gpu-1", sku="g5.xlarge", term="on_demand",
        unit="hour", region="eu-central-1", environment="production", currency="USD", cost=cost,
        list_cost=cost + 1, used_cost=cost // 2, quantity=Decimal("0.450000000"), share=0.45,
        model="chat" if serves else None, version="7" if serves else None,
        slot="green" if serves else None, tenant="a" if part is Part.SERVING else None,
        input_tokens=3 * 10**12 if serves else None, output_tokens=None,
    )  # fmt: skip


def an_hour(hour: datetime, *lines: CostLine, state: HourState = HourState.COMPUTED) -> CostHour:
    """Return an hour with its lines."""
    computed = state is HourState.COMPUTED
    return CostHour(
        hour=hour, state=state, computed_at=hour + 2 * HOUR, inputs="a" * 64,
        bill=sum(line.cost for line in lines) if computed else None,
        currency="USD" if computed else None,
        reasons=() if computed else ("less than 50% of the hosts' time was measured",),
        warnings=("gpu-1 lost tokens",), lines=lines,
    )  # fmt: skip


def some_advice(name: str, state: State = State.OPEN) -> Recorded:
    """Return advice with a detail."""
    return Recorded(
        id=name, resources=frozenset({"gpu-1", "gpu-2"}), strategy="percentile_headroom",
        monthly_saving=Decimal("123.456789"), currency="USD", detail={"risk": 1, "why": ["a"]},
        state=state, made_at=FIRST, changed_at=FIRST, changed_by="ana",
        reason="planned" if state is State.DISMISSED else "", hourly_before=Decimal("1.2"),
    )  # fmt: skip


class CostsContract:
    """Hours are replaced whole, sums are those of the lines, alerts are sent once."""

    def test_an_hour_is_read_back_as_it_was_saved(self, costs: CostStore) -> None:
        """What is not known stays unknown: `None`, not 0."""
        start = a_day()
        hour = an_hour(start, *(a_line(start, part) for part in Part))
        costs.save_hour(hour)
        assert costs.hours(start, start + HOUR) == (replace(hour, lines=()),)
        assert costs.lines(start, start + HOUR) == hour.lines
        assert costs.lines(start, start + HOUR)[0].output_tokens is None

    def test_saving_an_hour_again_replaces_it_whole(self, costs: CostStore) -> None:
        """Late samples leave nothing of the first computation behind."""
        start = a_day()
        costs.save_hour(an_hour(start, a_line(start), a_line(start, Part.IDLE)))
        late = an_hour(start, a_line(start, cost=10))
        costs.save_hour(late)
        costs.save_hour(late)
        assert costs.lines(start, start + HOUR) == late.lines
        assert costs.hours(start, start + HOUR)[0].bill == 10

    def test_an_hour_kept_aside_says_why_and_has_no_lines(self, costs: CostStore) -> None:
        """It is there, so that a report can say that it is missing."""
        start = a_day()
        aside = an_hour(start, state=HourState.ASIDE)
        costs.save_hour(aside)
        costs.save_hour(an_hour(start + HOUR, a_line(start + HOUR)))
        assert costs.hours(start, start + HOUR) == (aside,)
        assert costs.states(start, start + 2 * HOUR) == {
            start: HourState.ASIDE,
            start + HOUR: HourState.COMPUTED,
        }
        assert costs.lines(start, start + HOUR) == ()

    def test_a_time_has_its_first_hour_and_not_its_last(self, costs: CostStore) -> None:
        """Days and months follow each other without counting an hour twice."""
        start = a_day()
        for n in (2, 0, 1):
            costs.save_hour(an_hour(start + n * HOUR, a_line(start + n * HOUR, cost=n)))
        assert [line.cost for line in costs.lines(start, start + 2 * HOUR)] == [0, 1]
        assert [hour.hour for hour in costs.hours(start + HOUR, start + 3 * HOUR)] == [
            start + HOUR,
            start + 2 * HOUR,
        ]

    @pytest.mark.parametrize("dimension", list(Dimension))
    def test_sums_are_those_of_the_lines(self, costs: CostStore, dimension: Dimension) -> None:
        """By every dimension; lines without a value are a group of their own."""
        start = a_day()
        costs.save_hour(an_hour(start, *(a_line(start, p, cost=10**14 + 7) for p in Part)))
        costs.save_hour(an_hour(start + HOUR, a_line(start + HOUR, Part.WARM)))
        lines = costs.lines(start, start + 2 * HOUR)
        assert costs.sums(start, start + 2 * HOUR, [dimension]) == total_by(lines, dimension)
        both = [Dimension.MODEL, dimension]
        assert costs.sums(start, start + 2 * HOUR, both) == total_by(lines, *both)

    def test_hours_are_summed_by_themselves_for_who_has_all_that_is_named(
        self, costs: CostStore
    ) -> None:
        """A scope that cost nothing in an hour has no sum there."""
        start = a_day()
        costs.save_hour(an_hour(start, *(a_line(start, p, cost=10**14 + 7) for p in Part)))
        other = replace(a_line(start + HOUR), tenant="somebody else")
        costs.save_hour(an_hour(start + HOUR, other, a_line(start + HOUR, Part.WARM)))
        lines = costs.lines(start, start + 2 * HOUR)
        whole = costs.hourly(start, start + 2 * HOUR, {})
        assert whole == {
            hour: total_by([line for line in lines if line.hour == hour])[()]
            for hour in (start, start + HOUR)
        }
        scope = {Dimension.TENANT: "somebody else", Dimension.MODEL: str(other.model)}
        assert costs.hourly(start, start + 2 * HOUR, scope) == {start + HOUR: total_by([other])[()]}

    def test_nothing_sums_up_to_nothing(self, costs: CostStore) -> None:
        """A time without lines has no groups."""
        start = a_day()
        assert costs.sums(start, start + HOUR, [Dimension.MODEL]) == {}

    def test_two_currencies_are_not_added(self, costs: CostStore) -> None:
        """A sum of dollars and euros means nothing."""
        start = a_day()
        euros = replace(a_line(start), currency="EUR")
        costs.save_hour(an_hour(start, a_line(start), euros))
        with pytest.raises(InputError, match="EUR and USD"):
            costs.sums(start, start + HOUR, [Dimension.MODEL])

    def test_advice_is_kept_by_its_id(self, costs: CostStore) -> None:
        """The newest state counts; amounts are exact."""
        name = _unique()
        costs.save_advice(some_advice(name))
        dismissed = some_advice(name, State.DISMISSED)
        costs.save_advice(dismissed)
        assert [one for one in costs.advice() if one.id == name] == [dismissed]
        assert name not in [one.id for one in costs.advice(states=[State.OPEN])]

    def test_advice_comes_by_id(self, costs: CostStore) -> None:
        """So that two reports of the same hour are the same."""
        name = _unique()
        for end in ("b", "B", "a"):
            costs.save_advice(some_advice(f"{name}-{end}"))
        mine = [one.id[-1] for one in costs.advice() if one.id.startswith(name)]
        assert mine == ["B", "a", "b"]

    def test_an_alert_is_noted_once(self, costs: CostStore) -> None:
        """Whoever notes it first sends it; the time is that of the first."""
        key = f"budget_{_unique()}%/2026-11/80"
        assert costs.note_alert(key, FIRST)
        assert not costs.note_alert(key, FIRST + HOUR)
        assert costs.alerts(key[:10]) == {key: FIRST}
        assert costs.alerts(f"{key}x") == {}


def _unique() -> str:
    return uuid.uuid4().hex[:12]
