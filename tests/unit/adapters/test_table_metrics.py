"""Ages and numbers of the gateway's keys, and the end of the audit log, as metrics."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from greenlight.adapters.table_metrics import of_audit, of_keys
from greenlight.gateway.api_keys import ApiKey

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
