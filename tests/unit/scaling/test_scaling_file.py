from datetime import date

import pytest
import yaml

from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT
from greenlight.scaling.reactive import Signal
from greenlight.scaling.scaling_file import load_fleet_scaling, load_scaling

EXAMPLE = PROJECT / "include/config/scaling.example.yaml"


@pytest.fixture
def chat(tmp_path):
    """Write a fleet with changes into a file of a folder with spaces, and read it."""

    def read(**changes):
        path = tmp_path / "a folder" / "scaling.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({"fleets": {"chat": {"ceiling": 8, **changes}}}))
        return load_fleet_scaling(path, "chat")

    return read


def test_the_example_can_be_read_and_its_days_are_known():
    fleet = load_scaling(EXAMPLE).fleets["chat"]
    calendar = fleet.calendar([2026])
    assert calendar.special_day(date(2026, 11, 27)).factor == 1.8
    assert calendar.special_day(date(2026, 12, 25)).like == 6
    assert fleet.windows[0].start == 4 * 1440 + 16 * 60
    assert fleet.target.kind == "aws_autoscaling"


def test_the_example_names_every_key():
    text = EXAMPLE.read_text()
    fleet = load_scaling(EXAMPLE).fleets["chat"]
    groups = [fleet, fleet.learn, fleet.plan, fleet.nowcast, fleet.capacity, fleet.changes]
    missing = [key for group in groups for key in type(group).model_fields if key not in text]
    assert missing == []


def test_the_fast_loop_is_a_share_of_what_was_measured(chat):
    assert chat(utilisation=0.5).reactive(200.0).targets == {Signal.TOKENS: 100.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"celing": 3}, "unknown key 'fleets.chat.celing'"),
        ({"zone": "Europe/Londn"}, "no time zone"),
        ({"floor": 9}, "floor 9 is above ceiling 8"),
        ({"ceiling": 0}, "greater than or equal to 1"),
        ({"target": {"kind": "gke"}}, "gke"),
        ({"target": {"kind": "aws_autoscaling", "group": "g"}}, "region"),
        ({"blackouts": [{"from": "friday", "to": "mon 07:00", "reason": "x"}]}, "'friday'"),
        ({"regions": [{"name": "eu", "share": 0.5}]}, "add up to 0.5"),
        ({"regions": [{"name": "eu", "share": 1}]}, "region None must be one of eu"),
        ({"regions": [{"name": "eu", "share": 1}], "region": "us"}, "'us' must be one of eu"),
        (
            {"regions": [{"name": "eu", "share": 1, "floor": 9}], "region": "eu"},
            "floor of region eu is above ceiling 8",
        ),
        ({"plan": {"quantile": 1.0}}, "less than 1"),
        (
            {"own_days": [{"day": "2026-01-02", "name": n} for n in "ab"]},
            "each day may come once",
        ),
    ],
)
def test_a_mistake_is_named(chat, changes, said):
    with pytest.raises(ConfigError, match=said):
        chat(**changes)


def test_holidays_of_a_country_that_does_not_exist_are_named(chat):
    with pytest.raises(ConfigError, match="XX"):
        chat(holidays={"country": "XX"}).calendar([2026])


def test_a_fleet_that_is_not_named_has_no_schedule():
    with pytest.raises(ConfigError, match=r"no fleet 'other': it has chat, demo"):
        load_fleet_scaling(EXAMPLE, "other")


def test_a_regions_fleet_has_its_share_its_floor_and_room_for_the_loss_of_another(chat):
    regions = [
        {"name": "eu", "share": 0.5, "floor": 3},
        {"name": "us", "share": 0.25},
        {"name": "ap", "share": 0.25, "failover": {"eu": 1.0}},
    ]
    fleet = chat(regions=regions, region="eu", survive_a_region=True)
    assert (fleet.limits.floor, fleet.share) == (3, 0.5)
    assert fleet.surge == pytest.approx(0.75 / 0.5)
    assert chat(regions=regions, region="eu").surge == 1.0
    assert (chat().share, chat().surge) == (1.0, 1.0)
