from dataclasses import replace

import pytest
from cost_worlds import bill, host, shared, slot, storage, tenant, usage
from hypothesis import given
from hypothesis import strategies as st

from greenlight.core.errors import InputError
from greenlight.cost.allocation import allocate
from greenlight.cost.claims import Part
from greenlight.cost.totals import Dimension, Total, shared_out, total_by

OTHER = host("gpu-2", environment="staging", region="eu-central-1")


def world():
    items = bill(host(), OTHER, shared(), storage(730, model="chat"))
    warm = slot("blue", time=0.0, memory=0.25, version="6", is_warm=True, tokens=(0, 0))
    both = usage(slot(memory=0.5, tenants=(tenant("a", 1000, 500),)), warm)
    return items, allocate(items, both, output_weight=4)


def test_sums_by_a_dimension_add_up_to_the_bill():
    items, lines = world()
    for dimension in Dimension:
        found = total_by(lines, dimension)
        assert sum(total.bill for total in found.values()) == sum(item.cost for item in items)


def test_parts_of_groups_are_shown_apart():
    _, lines = world()
    found = total_by(lines, Dimension.ENVIRONMENT)
    assert found[("production",)] == Total(
        workload=1_000_000_000,
        idle=300_000_000,
        overhead=50_000_000,
        warm=300_000_000,
        used=460_000_000,
    )
    assert found[("staging",)] == Total(idle=1_200_000_000, unmeasured=1_200_000_000)


def test_dimensions_can_be_combined_and_lines_without_one_have_none():
    _, lines = world()
    found = total_by(lines, Dimension.MODEL, Dimension.TENANT)
    assert found["chat", "a"].workload == 600_000_000
    assert found[None, None].idle == 300_000_000 + 1_200_000_000


def test_two_currencies_are_not_added():
    _, lines = world()
    with pytest.raises(InputError, match="EUR and USD can't be added"):
        total_by([lines[0], replace(lines[1], currency="EUR")], Dimension.MODEL)


@given(parts=st.sets(st.sampled_from([Part.IDLE, Part.UNMEASURED, Part.OVERHEAD, Part.WARM])))
def test_sharing_out_idleness_changes_no_sum(parts):
    items, lines = world()
    result = shared_out(lines, parts)
    assert sum(line.cost for line in result) == sum(item.cost for item in items)


def test_workload_pays_for_idleness_in_its_own_environment_alone():
    _, lines = world()
    found = total_by(shared_out(lines, {Part.IDLE, Part.UNMEASURED}), Dimension.ENVIRONMENT)
    assert found[("production",)].idle == 0
    assert found[("production",)].workload == 1_300_000_000
    assert found[("staging",)].idle == 1_200_000_000
