from dataclasses import replace
from decimal import Decimal

import pytest
from cost_worlds import bill, host, slot, storage, usage

from greenlight.cost.allocation import allocate
from greenlight.cost.unit_costs import QualityLoss, beside, unit_costs
from greenlight.cost.usage import Unmeasured

GONE = Unmeasured(why="no sample")


def costs(*slots, items=None):
    lines = allocate(items or bill(), usage(*slots), output_weight=4)
    return unit_costs(lines, output_weight=4)


def test_a_million_tokens_cost_what_the_engine_cost_by_their_work():
    (found,) = costs(slot(time=0.3, memory=0.5, tokens=(2_000_000, 1_000_000)))
    assert found.on_reservation.input == Decimal("0.1")
    assert found.on_reservation.output == Decimal("0.4")
    assert found.on_usage.output == Decimal("0.24")
    whole = 2 * found.on_reservation.input + found.on_reservation.output
    assert whole == Decimal("0.6")


def test_without_tokens_the_price_is_unknown_and_not_free():
    (found,) = costs(slot(tokens=(0, 0)))
    assert found.on_reservation is None
    assert found.on_usage is None
    assert found.cost == 480_000_000


def test_what_nobody_counted_is_left_out_of_the_price_and_told():
    silent = replace(slot(memory=0.25), input_tokens=GONE)
    (found,) = costs(slot("blue", memory=0.5, tokens=(0, 1_000_000)), silent)
    assert found.unknown_cost == 360_000_000
    assert found.on_reservation.output == Decimal("0.6")


def test_a_warm_engine_does_not_make_tokens_dearer_but_is_told():
    warm = slot("blue", time=0.0, memory=0.25, version="6", is_warm=True, tokens=(0, 0))
    old, new = costs(slot(memory=0.5, tokens=(0, 1_000_000)), warm)
    assert (old.version, old.warm_cost, old.on_reservation) == ("6", 300_000_000, None)
    assert new.on_reservation.output == Decimal("0.6")


def test_a_models_own_storage_is_in_its_price():
    items = bill(host(), storage(730, model="chat"))
    with_storage = {unit.version: unit for unit in costs(slot(), items=items)}
    assert with_storage[None].cost == 100_000_000


def test_the_quantized_version_stands_beside_its_parent_with_what_it_lost():
    child, parent = costs(
        slot(memory=0.2, time=0.1, tokens=(0, 1_000_000), version="7"),
        slot("blue", memory=0.5, time=0.1, tokens=(0, 1_000_000), version="8"),
    )
    lost = QualityLoss(metric="perplexity_ratio.text", value=1.02, unit="ratio", high=1.03)
    found = beside(child, parent, [lost])
    assert found.saving == pytest.approx(0.6)
    assert found.quality == (lost,)
    assert found.why is None


def test_a_parent_that_served_nothing_has_no_price_to_compare_with():
    (child,) = costs(slot(tokens=(0, 1_000_000)))
    assert beside(child, None, []).saving is None
    assert "served nothing" in beside(child, None, []).why
    (idle,) = costs(slot(tokens=(0, 0)))
    assert "no counted tokens" in beside(child, idle, []).why
