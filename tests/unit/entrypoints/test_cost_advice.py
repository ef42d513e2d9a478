from datetime import timedelta
from decimal import Decimal

import pytest
from cost_tools_worlds import HOUR, NOW, book, bought, config, entry, month, quiet_month, tools

from greenlight.core.errors import InputError, RefusedError
from greenlight.cost.rightsizing.series import Resource
from greenlight.cost.savings import State
from greenlight.entrypoints.cost import Costs
from greenlight.entrypoints.cost_advice import Advising, as_json


@pytest.fixture
def world(tmp_path):
    return tools(tmp_path)


@pytest.fixture
def advising(world):
    return Advising(world)


def kept(world):
    (one,) = world.store.advice()
    return one


def test_a_host_that_is_too_large_is_told_a_smaller_type_with_its_backtest(world, advising):
    (found,) = [one for one in advising.make() if one.host == "gpu-1"]
    assert found.choice.host.name == "small"
    one = kept(world)
    assert (one.id, one.state) == ("size/gpu-1", State.OPEN)
    assert one.monthly_saving == Decimal("1.50") * 730
    cpu = one.detail["resources"]["cpu"]
    assert cpu["unit"] == "vCPU"
    assert cpu["capacity"] == pytest.approx(16 * 0.1, rel=0.1)
    assert cpu["finding"] == "Overprovisioned"
    assert cpu["backtest"]["held"] == 14
    assert one.detail["effort"] == "VeryLow"


def test_gpu_memory_is_never_sized_below_what_the_engines_were_given(world, advising):
    world.usage.histories = quiet_month(
        **{Resource.GPU_MEMORY: {"gpu-1": month(0.05, resource=Resource.GPU_MEMORY)}}
    )
    found = as_json(advising.make()[0])
    memory = found["resources"]["gpu_memory"]
    assert memory["capacity"] == 12
    assert "what its engines were given" in memory["why"]


def test_a_lasting_shift_gives_no_advice_and_withdraws_what_was_open(world, advising):
    advising.make()
    moved = month(0.1, resource=Resource.CPU, moved_at=18 * 288)
    world.usage.histories = quiet_month(**{Resource.CPU: {"gpu-1": moved}})
    found = advising.make()[0]
    assert found.choice is None
    assert "cpu: the usual level went from" in found.why
    assert kept(world).state is State.WITHDRAWN


def test_a_host_without_history_or_type_says_so(tmp_path):
    world = tools(tmp_path, bought=(bought(), bought("gpu-9"), bought("gpu-8", "unknown")))
    found = {one.host: one.why for one in Advising(world).make()}
    assert found["gpu-1"] is None
    assert "cpu: nothing was measured" in found["gpu-9"]
    assert found["gpu-8"] == "host_types of cost.yaml has no unknown"
    assert [one.id for one in world.store.advice()] == ["size/gpu-1"]


def test_types_without_a_price_there_are_no_choice(tmp_path):
    world = tools(tmp_path, prices=book(entry("big", "2.00"), entry("nat", "0.1")))
    found = Advising(world).make()[0]
    assert (found.choice.host.name, found.choice.is_change) == ("big", False)
    assert world.store.advice() == ()


def test_a_persons_answer_outlives_the_hour(world, advising):
    advising.make()
    advising.dismiss("size/gpu-1", by="ana", reason="launch on Monday")
    advising.make()
    assert (kept(world).state, kept(world).reason) == (State.DISMISSED, "launch on Monday")
    assert advising.counted().monthly_saving == 0


def test_accepted_advice_is_measured_by_the_bill(world, advising):
    costs = Costs(world)
    for n in range(1, 25):
        costs.run_hour(HOUR + timedelta(hours=1) - n * timedelta(hours=1))
    advising.make()
    accepted = advising.accept("size/gpu-1", by="ana")
    assert accepted.hourly_before == 2
    with pytest.raises(RefusedError, match="too few to measure"):
        advising.realise("size/gpu-1", by="ana")
    smaller = tools(world.settings.home.parent, bought=(bought(sku="small"),), store=world.store)
    for n in range(1, 26):
        Costs(smaller).run_hour(HOUR + timedelta(hours=1 + n))
    world.clock.advance(27 * 3600)
    done = advising.realise("size/gpu-1", by="ana")
    assert (done.state, done.realised) == (State.REALISED, Decimal("1.5") * 730)


def test_advice_can_not_be_accepted_without_anything_to_compare_with(advising):
    advising.make()
    with pytest.raises(RefusedError, match="no hour of the last day was computed"):
        advising.accept("size/gpu-1", by="ana")


def test_advice_that_is_not_there_is_named(advising):
    with pytest.raises(InputError, match="there is no advice size/x"):
        advising.accept("size/x", by="ana")


def test_the_strategy_is_a_setting(tmp_path):
    settings = config(advice={"sizing": {"strategy": "krr"}})
    world = tools(tmp_path, config=settings)
    Advising(world).make()
    assert kept(world).strategy == "krr"
    assert NOW > HOUR
