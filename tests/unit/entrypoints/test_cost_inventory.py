from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from greenlight.core.settings import PROJECT, read_config
from greenlight.cost.cost_file import load_cost_file
from greenlight.cost.prices import Term, read_prices
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet, FleetFile
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.entrypoints.cost_inventory import first_hour, hosts_bought, plans_of
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.rollout_contract import NOON, a_rollout

CONFIG = PROJECT / "include/config"
HOUR = NOON.replace(hour=13)


def fleet(**engine) -> Fleet:
    profile = {"kind": "simulator", "flags": {}, "kv_cache_gb": 4, "memory_gb": 2} | engine
    hosts = [
        {"name": "gpu-1", "root": "/models", "gpus": 1, "gpu_memory_gb": 24, "region": "eu",
         "runner": "ssh", "price_key": "g5.xlarge",
         "slots": {"blue": {"port": 1}, "green": {"port": 2}},
         "ssh": {"user": "u", "key_file": "k", "known_hosts": "h"}},
        {"name": "local-1", "root": "x", "slots": {"blue": {"port": 3}, "green": {"port": 4}}},
    ]  # fmt: skip
    return Fleet.model_validate(
        {"name": "f", "model": "m", "engine": profile, "router": {"port": 5}, "hosts": hosts}
    )


@pytest.fixture
def journal():
    return MemoryJournal(MemoryLeases(lambda: NOON))


def deploy(journal, number, colour, *, at, version, until="live"):
    rollout = replace(
        a_rollout(f"r{number}", fleet="f"), colour=colour, version=version, started_at=at
    )
    journal.open_rollout(rollout)

    def done(step, minutes, **detail):
        journal.append(
            Event(rollout_id=rollout.id, at=at + timedelta(minutes=minutes), step=step,
                  phase=Phase.DONE, detail=detail)
        )  # fmt: skip

    done(Step.PREPARE, 1)
    if until == "live":
        done(Step.FINISH, 20, outcome="live")
    if until == "back":
        done(Step.FINISH, 20, outcome="rolled back")


def slots(journal, hour=HOUR, **engine):
    plans = plans_of(fleet(**engine), journal, hour)
    return {slot.slot: (slot.version, slot.is_warm) for slot in plans[0].slots}


def test_nothing_was_deployed_so_nothing_runs(journal):
    assert slots(journal) == {}


def test_the_live_colour_serves_and_the_one_before_is_warm(journal):
    deploy(journal, 1, Colour.BLUE, at=NOON, version=6)
    deploy(journal, 2, Colour.GREEN, at=NOON + timedelta(minutes=30), version=7)
    assert slots(journal) == {"blue": ("6", True), "green": ("7", False)}


def test_an_hour_of_the_past_is_seen_as_it_was(journal):
    deploy(journal, 1, Colour.BLUE, at=NOON - timedelta(hours=3), version=6)
    deploy(journal, 2, Colour.GREEN, at=NOON + timedelta(hours=2), version=7)
    assert slots(journal, NOON - timedelta(hours=1)) == {"blue": ("6", False)}
    assert slots(journal, NOON - timedelta(days=1)) == {}


def test_a_version_that_is_on_its_way_is_not_warm(journal):
    deploy(journal, 1, Colour.BLUE, at=NOON, version=6)
    deploy(journal, 2, Colour.GREEN, at=NOON + timedelta(minutes=30), version=7, until="prepared")
    assert slots(journal) == {"blue": ("6", False), "green": ("7", False)}


def rests(journal, hour):
    (plan, _) = plans_of(fleet(), journal, hour)
    start = hour.timestamp()
    return {
        slot.slot: [((a - start) / 60, (b - start) / 60) for a, b in slot.rests]
        for slot in plan.slots
    }


def test_a_slot_rests_before_its_rollout_and_after_the_next_one_is_live(journal):
    deploy(journal, 1, Colour.BLUE, at=HOUR, version=6)
    deploy(journal, 2, Colour.GREEN, at=HOUR + timedelta(minutes=30), version=7)
    assert rests(journal, HOUR) == {"blue": [(50, 60)], "green": [(0, 30)]}
    assert rests(journal, HOUR + timedelta(hours=1)) == {"blue": [(0, 60)], "green": []}


def test_a_slot_rests_after_its_version_went_back_and_not_while_it_is_on_its_way(journal):
    deploy(journal, 1, Colour.BLUE, at=HOUR - timedelta(hours=2), version=6)
    deploy(journal, 2, Colour.GREEN, at=HOUR + timedelta(minutes=10), version=7, until="back")
    assert rests(journal, HOUR) == {"blue": [], "green": [(0, 10), (30, 60)]}
    deploy(journal, 3, Colour.GREEN, at=HOUR + timedelta(minutes=40), version=8, until="prepared")
    assert rests(journal, HOUR) == {"blue": [], "green": [(0, 10), (30, 40)]}


def test_memory_is_what_the_flag_says_or_else_the_profile(journal):
    deploy(journal, 1, Colour.BLUE, at=NOON, version=6)
    (remote, local) = plans_of(fleet(), journal, HOUR)
    assert remote.slots[0].reserved == pytest.approx(6 / 24)
    assert local.slots[0].reserved is None
    (flagged, _) = plans_of(fleet(flags={"gpu-memory-utilization": 0.45}), journal, HOUR)
    assert flagged.slots[0].reserved == 0.45


def test_this_machines_exporter_has_no_label_and_others_have_their_name(journal):
    assert [plan.exporter for plan in plans_of(fleet(), journal, HOUR)] == ["gpu-1", ""]


def test_hosts_are_paid_for_as_cost_yaml_says(tmp_path):
    path = tmp_path / "cost.yaml"
    path.write_text(
        "account: {id: a, name: a, provider: a, publisher: a, issuer: a}\n"
        "hosts: {gpu-1: {term: spot, environment: staging}}\n"
    )
    first, second = hosts_bought([fleet()], load_cost_file(path))
    assert (first.sku, first.term, first.environment, first.region) == (
        "g5.xlarge", Term.SPOT, "staging", "eu",
    )  # fmt: skip
    assert (second.sku, second.term, second.environment) == (
        "local", Term.ON_DEMAND, "production",
    )  # fmt: skip


def test_a_host_that_costs_nothing_of_its_own_is_left_out(tmp_path):
    path = tmp_path / "cost.yaml"
    path.write_text(
        "account: {id: a, name: a, provider: a, publisher: a, issuer: a}\n"
        "hosts: {local-1: {is_paid: false}}\n"
    )
    (only,) = hosts_bought([fleet()], load_cost_file(path))
    assert only.name == "gpu-1"


def test_costs_begin_with_the_first_whole_hour_after_the_first_rollout(journal):
    assert first_hour([(), ()]) is None
    deploy(journal, 1, Colour.BLUE, at=NOON + timedelta(minutes=20), version=6)
    assert first_hour([(), journal.rollouts("f")]) == NOON + timedelta(hours=1)


def test_the_examples_fit_together_and_price_the_embedded_fleets():
    config = load_cost_file(CONFIG / "cost.example.yaml")
    prices = read_prices(CONFIG / "prices.example.yaml")
    fleets = read_config(Path(CONFIG / "fleet.example.yaml"), FleetFile).fleets
    for thing in (*hosts_bought(fleets, config), *config.bought()):
        spans = prices.spans(thing.sku, thing.region, thing.term, start=HOUR,
                             end=HOUR + timedelta(hours=1))  # fmt: skip
        assert spans[0].price.price > 0
