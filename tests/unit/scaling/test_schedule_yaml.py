import pytest
import yaml
from scaling_worlds import LONDON, at, constant, local, size

from greenlight.core.errors import ConfigError, InputError
from greenlight.scaling.schedule import Blackout, DatedEntry, Expected, Override, WeeklyEntry
from greenlight.scaling.schedule_file import read_schedule, write_schedule


def full():
    return constant(
        zone=LONDON,
        expected=Expected(slo_pct=99.9, gpu_hours=123.5),
        weekly=(
            WeeklyEntry(
                start=0,
                end=540,
                size=size(2),
                reason="night",
                expected=Expected(slo_pct=100.0, gpu_hours=18.0),
            ),
            WeeklyEntry(start=540, end=0, size=size(3, 4, 9), reason="day: P99 → 3.2"),
        ),
        dated=(
            DatedEntry(
                start=local("2026-12-25"),
                end=local("2026-12-26 06:30"),
                size=size(1),
                reason="Christmas",
            ),
        ),
        overrides=(
            Override(
                start=at("2026-03-23T08:00"),
                expires=at("2026-03-24T08:00"),
                minimum=5,
                maximum=None,
                reason="launch",
                by="ana",
            ),
        ),
        blackouts=(Blackout(start=6000, end=0, reason="freeze"),),
    )


@pytest.mark.parametrize("schedule", [full(), constant()], ids=["full", "bare"])
def test_a_schedule_is_read_back_as_it_was(schedule):
    text = write_schedule(schedule)
    assert read_schedule(text, where="x") == schedule
    assert write_schedule(read_schedule(text, where="x")) == text


def test_an_entry_is_one_line_in_the_words_of_people():
    lines = write_schedule(full()).splitlines()
    assert (
        "- {from: 'mon 09:00', to: 'mon 00:00', min: 3, desired: 4, max: 9, "
        "reason: 'day: P99 → 3.2'}"
    ) in lines
    assert any(
        line.startswith("- {from: '2026-12-25 00:00', to: '2026-12-26 06:30',") for line in lines
    )


def test_one_changed_size_changes_one_line():
    before = write_schedule(full()).splitlines()
    after = write_schedule(
        constant(
            **{
                **{
                    f: getattr(full(), f)
                    for f in ("zone", "dated", "overrides", "blackouts", "expected")
                },
                "weekly": (
                    full().weekly[0],
                    WeeklyEntry(start=540, end=0, size=size(3, 5, 9), reason="day: P99 → 3.2"),
                ),
            }
        )
    ).splitlines()
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def broken(**changes):
    values = yaml.safe_load(write_schedule(full()))
    for path, value in changes.items():
        target = values
        *parents, last = path.split("__")
        for key in parents:
            target = target[int(key) if key.isdigit() else key]
        target[last] = value
    return yaml.safe_dump(values, sort_keys=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"desird": 3}, "unknown key 'desird'"),
        ({"week__0__hosts": 3}, "unknown key 'week.0.hosts'"),
        ({"overrides__0__until": "x"}, "unknown key 'overrides.0.until'"),
        ({"week__0__from": "monday 9"}, "'monday 9' is no time of the week"),
        ({"week__0__to": "mon 24:00"}, "'mon 24:00' is no time of the week"),
        ({"dated__0__from": "25.12.2026"}, "'25.12.2026' is no local time"),
        ({"week__1__min": 7}, "min 7, desired 4, max 9: must rise"),
        ({"week__1__min": -1}, "greater than or equal to 0"),
        ({"overrides__0__expires": "2026-03-24T08:00"}, "timezone"),
        ({"week": []}, "at least 1 item"),
        ({"week__0__to": "mon 08:00"}, "no weekly entry for mon 08:00"),
        ({"floor": 60}, "floor 60 and ceiling 50"),
    ],
)
def test_what_cannot_be_read_is_named(changes, said):
    with pytest.raises(InputError, match=said):
        read_schedule(broken(**changes), where="chat.yaml")


def test_an_unknown_zone_is_refused():
    with pytest.raises(ConfigError, match="Mars"):
        read_schedule(broken(zone="Mars"), where="x")


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "just words"])
def test_what_is_no_schedule_at_all_is_refused(text):
    with pytest.raises(InputError):
        read_schedule(text, where="x")
