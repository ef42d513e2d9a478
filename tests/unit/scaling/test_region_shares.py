import pytest
from pydantic import ValidationError

from greenlight.core.errors import ConfigError
from greenlight.scaling.regions import (
    RegionShare,
    check_regions,
    share_to_plan_for,
    shares_without,
)

EU = RegionShare(name="eu", share=0.5, failover={"us": 3.0, "ap": 1.0})
US = RegionShare(name="us", share=0.3)
AP = RegionShare(name="ap", share=0.2, floor=2)
ALL = (EU, US, AP)


def test_a_lost_region_is_shared_out_by_its_weights():
    assert shares_without(ALL, {"eu"}) == pytest.approx({"us": 0.3 + 0.375, "ap": 0.2 + 0.125})


def test_without_weights_the_others_share_it_as_they_share_the_rest():
    assert shares_without(ALL, {"us"}) == pytest.approx({"eu": 5 / 7, "ap": 2 / 7})


def test_weights_of_a_region_that_is_gone_too_go_to_the_rest():
    assert shares_without(ALL, {"eu", "us"}) == pytest.approx({"ap": 1.0})


def test_shares_always_make_the_whole():
    for gone in ({"eu"}, {"us"}, {"ap"}, set(), {"eu", "ap"}):
        assert sum(shares_without(ALL, gone).values()) == pytest.approx(1.0)


def test_a_region_is_sized_for_the_worst_loss_of_another_when_asked():
    assert share_to_plan_for(ALL, "us", survive=False) == 0.3
    assert share_to_plan_for(ALL, "us", survive=True) == pytest.approx(0.675)
    assert share_to_plan_for((RegionShare(name="eu", share=1.0),), "eu", survive=True) == 1.0


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ((EU, US), "add up to 0.8"),
        ((EU, EU), "each name may come once"),
        ((RegionShare(name="eu", share=1.0, failover={"mars": 1.0}),), "failover to mars, unknown"),
    ],
)
def test_what_does_not_add_up_is_refused(regions, said):
    with pytest.raises(ConfigError, match=said):
        check_regions(regions)
    check_regions(ALL)


def test_no_region_left_is_an_error():
    with pytest.raises(ConfigError, match="no region is left"):
        shares_without(ALL, {"eu", "us", "ap"})


def test_a_region_cannot_take_over_from_itself():
    with pytest.raises(ValidationError, match="from itself"):
        RegionShare(name="eu", share=1.0, failover={"eu": 1.0})
