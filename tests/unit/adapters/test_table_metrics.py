"""Keys of the gateway, the end of the audit log, and schedules, as metrics."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from greenlight.adapters.table_metrics import (
    FleetSchedule,
    of_audit,
    of_keys,
    of_log_lines,
    of_schedules,
)
from greenlight.gateway.api_keys import ApiKey
from greenlight.scaling.kept import as_applied
from greenlight.scaling.schedule import Size
from greenlight.testing.schedules_contract import a_day, a_schedule

NOW = datetime(2026, 11, 26, tzinfo=UTC)
DAY = timedelta(days=1)


def key(name: str, **changes: object) -> ApiKey:
    made = ApiKey(
        id=name, tenant="acme", name=name, scopes=(), hash="h", pepper="p",
        created_at=NOW - 90 * DAY, created_by="ana",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def values(keys: list[ApiKey]) -> dict[str, dict[str, float]]:
    return {
        family.name: {sample.labels.get("state", ""): sample.value for sample in family.samples}
        for family in of_keys(keys, now=NOW)
    }


def test_keys_are_counted_by_what_they_are_now() -> None:
    keys = [key("a"), key("b", revoked_at=NOW - DAY), key("c", expires_at=NOW - DAY)]
    assert values(keys)["greenlight_api_keys"] == {"active": 1, "expired": 1, "revoked": 1}


def test_only_secrets_in_use_grow_old_and_a_rotated_one_is_young() -> None:
    keys = [
        key("old", revoked_at=NOW - DAY),
        key("rotated", rotated_at=NOW - 2 * DAY),
        key("ends", created_at=NOW - 9 * DAY, expires_at=NOW + 3 * DAY),
    ]
    found = values(keys)
    oldest = found["greenlight_api_key_oldest_secret_timestamp_seconds"]
    assert oldest == {"": (NOW - 9 * DAY).timestamp()}
    ends = found["greenlight_api_key_next_expiry_timestamp_seconds"]
    assert ends == {"": (NOW + 3 * DAY).timestamp()}


def test_without_keys_there_is_no_age_instead_of_zero() -> None:
    found = values([])
    assert found["greenlight_api_key_oldest_secret_timestamp_seconds"] == {}
    assert found["greenlight_api_keys"]["active"] == 0


def test_an_empty_log_has_no_last_record() -> None:
    number, last = of_audit(None)
    assert [sample.value for sample in number.samples] == [0]
    assert last.samples == []


def told(fleet: FleetSchedule) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(s.labels.values()): s.value for s in family.samples}
        for family in of_schedules([fleet])
    }


def test_a_schedule_tells_what_it_wants_now_since_when_and_how_yesterday_went() -> None:
    kept = a_schedule("f", waits_for=("large",))
    found = told(
        FleetSchedule(
            fleet="f",
            applied=as_applied(kept, by="t", at=NOW),
            size=Size(minimum=1, desired=2, maximum=4),
            waiting=kept,
            day=a_day(NOW.date() - DAY, slo_pct=98.5, planned_slo_pct=99.5),
        )
    )
    assert found["greenlight_schedule_hosts"] == {
        ("f", "minimum"): 1, ("f", "desired"): 2, ("f", "maximum"): 4,
    }  # fmt: skip
    assert found["greenlight_schedule_applied_timestamp_seconds"] == {("f",): NOW.timestamp()}
    waiting = found["greenlight_schedule_waiting_since_timestamp_seconds"]
    assert waiting == {("f",): kept.made_at.timestamp()}
    assert found["greenlight_schedule_slo_ratio"] == {("f", "planned"): 0.995, ("f", "real"): 0.985}
    day = found["greenlight_schedule_looked_back_timestamp_seconds"]
    assert day == {("f",): (NOW - DAY).timestamp()}


def test_a_fleet_without_a_schedule_has_no_numbers_instead_of_zero() -> None:
    found = told(FleetSchedule(fleet="f", applied=None, size=None, waiting=None, day=None))
    assert all(samples == {} for samples in found.values())


def test_lines_are_counted_by_level_and_one_without_any_is_zero() -> None:
    (family,) = of_log_lines({"error": 2, "warning": 0})
    found = {sample.labels["level"]: sample.value for sample in family.samples}
    assert {sample.name for sample in family.samples} == {"greenlight_log_lines_total"}
    assert found == {"error": 2, "warning": 0}
