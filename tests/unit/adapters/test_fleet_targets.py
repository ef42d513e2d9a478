"""Which engines and routers Prometheus is told to ask."""

from __future__ import annotations

from pathlib import Path

from greenlight.adapters.fleet_targets import targets_of
from greenlight.core.settings import Settings, read_config
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet, FleetFile
from greenlight.deploy.journal import History, Outcome, Progress
from greenlight.testing.haproxy_worlds import a_fleet
from greenlight.testing.rollout_contract import a_rollout


def fleet(**router: object) -> Fleet:
    keys = [("gpu-1", "blue"), ("gpu-1", "green"), ("gpu-2", "blue"), ("gpu-2", "green")]
    return a_fleet({key: 20000 + n for n, key in enumerate(keys)}, **router)  # type: ignore[arg-type]


def history(*ends: tuple[Colour, Outcome | None]) -> History:
    return [
        (
            a_rollout(f"r{number}", fleet="lab", colour=colour),
            Progress(done=frozenset(), share=0, outcome=end, reason=None, breached=False),
        )
        for number, (colour, end) in enumerate(ends)
    ]


def slots(found: list[JsonDict]) -> list[tuple[str, str]]:
    return [(one["labels"]["host"], one["labels"]["colour"]) for one in found]


LIVE = (Colour.BLUE, Outcome.LIVE)


def test_the_live_colour_is_asked_on_every_host() -> None:
    found = targets_of([(fleet(), history(LIVE))])
    assert found[1] == {
        "targets": ["127.0.0.1:20002"],
        "labels": {
            "kind": "engine", "fleet": "lab", "model": "tiny", "host": "gpu-2",
            "colour": "blue", "region": "local",
        },
    }  # fmt: skip
    assert slots(found) == [("gpu-1", "blue"), ("gpu-2", "blue")]


def test_both_colours_are_asked_while_a_rollout_is_on_its_way_and_one_when_it_went_back() -> None:
    running = targets_of([(fleet(), history(LIVE, (Colour.GREEN, None)))])
    assert len(slots(running)) == 4
    back = targets_of([(fleet(), history(LIVE, (Colour.GREEN, Outcome.ROLLED_BACK)))])
    assert {colour for _, colour in slots(back)} == {"blue"}


def test_nobody_is_asked_where_nothing_was_deployed() -> None:
    assert targets_of([(fleet(metrics_port=7005), [])]) == []
    first = targets_of([(fleet(), history((Colour.GREEN, None)))])
    assert {colour for _, colour in slots(first)} == {"green"}


def test_a_router_is_asked_when_it_has_a_port_for_that() -> None:
    assert targets_of([(fleet(metrics_port=7005), history(LIVE))])[-1] == {
        "targets": ["127.0.0.1:7005"],
        "labels": {"kind": "router", "fleet": "lab", "model": "tiny"},
    }
    assert {one["labels"]["kind"] for one in targets_of([(fleet(), history(LIVE))])} == {"engine"}
    elsewhere = targets_of([(fleet(metrics_port=7005, metrics_address="router"), history(LIVE))])
    assert elsewhere[-1]["targets"] == ["router:7005"]


def test_no_two_targets_of_the_example_share_an_address(tmp_path: Path) -> None:
    fleets = read_config(Settings(home=tmp_path).config_file("fleet"), FleetFile).fleets
    deployed = history(LIVE, (Colour.GREEN, None))
    found = targets_of((fleet, deployed) for fleet in fleets)
    addresses = [target for group in found for target in group["targets"]]
    assert len(addresses) == len(set(addresses)) > 6
