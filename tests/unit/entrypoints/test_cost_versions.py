from decimal import Decimal

import pytest
from registry_worlds import world

from greenlight.core.errors import UnavailableError
from greenlight.cost.unit_costs import PerMillion, UnitCost
from greenlight.entrypoints.cost_versions import QUALITY, beside_parents


def unit(model, version, price):
    each = None if price is None else PerMillion(input=Decimal(price), output=Decimal(price))
    return UnitCost(
        model=model, version=str(version), cost=1, used_cost=1, warm_cost=0, unknown_cost=0,
        input_tokens=1, output_tokens=1, on_reservation=each, on_usage=each,
    )  # fmt: skip


def test_a_quantized_version_stands_beside_its_parent_with_what_its_evidence_says(tmp_path):
    registry, parent, child = world(tmp_path)
    units = (unit(parent.model, parent.version, "1.0"), unit(child.model, child.version, "0.6"))
    (found,) = beside_parents(units, registry=registry)
    assert (found.child, found.parent) == (units[1], units[0])
    assert found.saving == pytest.approx(0.4)
    assert {lost.metric.partition(".")[0] for lost in found.quality} <= set(QUALITY)
    assert found.quality


def test_a_parent_that_served_nothing_is_told(tmp_path):
    registry, _, child = world(tmp_path)
    (found,) = beside_parents((unit(child.model, child.version, "0.6"),), registry=registry)
    assert found.saving is None
    assert "served nothing" in found.why


def test_versions_that_the_registry_lacks_stand_alone(tmp_path):
    registry, parent, _ = world(tmp_path)
    strange = (unit("chat", 9, "1"), unit(parent.model, "nightly", "1"))
    assert beside_parents(strange, registry=registry) == ()


def test_costs_are_told_without_a_registry_too(tmp_path):
    class Away:
        def get(self, model, version):
            raise UnavailableError("MLflow is away")

    assert beside_parents((unit("chat", 7, "1"),), registry=Away()) == ()
