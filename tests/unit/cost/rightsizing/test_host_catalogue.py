from decimal import Decimal

import pytest
from pydantic import ValidationError

from greenlight.core.errors import ConfigError
from greenlight.cost.rightsizing.catalogue import (
    Choice,
    Effort,
    HostType,
    Needs,
    NothingFits,
    choose,
)


def host(name, price, *, family=None, gpu="A10G", gpus=1, gpu_memory=24.0, **changes):
    fields = {
        "name": name,
        "family": family or name.split(".")[0],
        "region": "eu-central-1",
        "gpu": gpu,
        "gpus": gpus,
        "gpu_memory_gib": gpu_memory,
        "vcpus": 8,
        "memory_gib": 32,
        "price_per_hour": price,
    }
    return HostType(**(fields | changes))


SMALL = host("g5.xlarge", "1.00", vcpus=4, memory_gib=16)
BIG = host("g5.4xlarge", "2.00", vcpus=16, memory_gib=64)
L4 = host("g6.xlarge", "0.80", gpu="L4", vcpus=4, memory_gib=16)
PLAIN = host("m7.xlarge", "0.20", gpu=None, gpus=0, gpu_memory=0.0, vcpus=4, memory_gib=16)
ARM = host("m7g.xlarge", "0.15", gpu=None, gpus=0, gpu_memory=0.0, vcpus=4, architecture="arm64")
ALL = (SMALL, BIG, L4, PLAIN, ARM)


def chosen(needs, catalogue=ALL, current=BIG):
    found = choose(needs, catalogue, current=current)
    assert isinstance(found, Choice)
    return found


def test_the_cheapest_that_fits_wins_and_the_saving_is_per_month():
    found = chosen(Needs(vcpus=4, memory_gib=16, gpus=1, gpu_memory_gib=20))
    assert found.host is L4
    assert found.monthly_saving == Decimal("1.20") * 730
    assert found.is_change


@pytest.mark.parametrize(
    "needs",
    [
        Needs(vcpus=5, gpus=1),
        Needs(memory_gib=17, gpus=1),
        Needs(gpus=1, vcpus=16, memory_gib=64, gpu_memory_gib=24),
    ],
)
def test_one_need_that_is_not_met_excludes_a_type(needs):
    found = chosen(needs)
    assert found.host is BIG
    assert (found.monthly_saving, found.is_change) == (0, False)


def test_each_gpu_must_have_the_memory_by_itself():
    two = host("g5.12xlarge", "4.00", gpus=2)
    answer = choose(Needs(gpus=2, gpu_memory_gib=40), (two,), current=SMALL)
    assert isinstance(answer, NothingFits)


def test_nothing_that_fits_is_an_answer_with_the_nearest_type():
    answer = choose(Needs(vcpus=4, gpus=1, gpu_memory_gib=80), ALL, current=SMALL)
    assert answer == NothingFits(
        why="none of 5 host types in eu-central-1 fits: g5.4xlarge lacks 80 GiB on a GPU"
    )


def test_a_catalogue_without_the_region_fits_nothing_but_what_is_there():
    there = BIG.model_copy(update={"region": "ap-south-1"})
    assert chosen(Needs(vcpus=4), current=there).host is there
    answer = choose(Needs(vcpus=99), ALL, current=there)
    assert answer == NothingFits(why="the catalogue has no host type in ap-south-1")


def test_the_discount_of_each_type_decides():
    reserved = BIG.model_copy(update={"discount": Decimal("0.65")})
    found = chosen(Needs(vcpus=4, gpus=1), current=reserved)
    assert found.host is reserved  # 0.70 an hour beats the L4's 0.80
    assert found.monthly_saving == 0


def test_a_host_that_is_too_small_costs_more_and_says_so():
    found = chosen(Needs(vcpus=16, gpus=1), current=SMALL)
    assert found.host is BIG
    assert found.monthly_saving == Decimal("-1.00") * 730


@pytest.mark.parametrize(
    ("target", "effort"),
    [
        (host("g5.2xlarge", "0.5"), Effort.VERY_LOW),
        (host("g5n.2xlarge", "0.5"), Effort.LOW),
        (L4, Effort.MEDIUM),
        (PLAIN, Effort.MEDIUM),
        (ARM, Effort.HIGH),
    ],
)
def test_effort_grows_with_what_changes(target, effort):
    assert chosen(Needs(vcpus=4), (target,)).effort is effort


def test_of_equal_prices_staying_wins_then_the_smaller_effort():
    same, other = host("g5.9xlarge", "2.00"), host("g6.9xlarge", "2.00", gpu="L4")
    assert chosen(Needs(vcpus=8), (other, same)).host is BIG
    too_small = host("g5.large", "3.00", vcpus=2)
    assert chosen(Needs(vcpus=8), (other, same), current=too_small).host is same


def test_prices_in_two_currencies_are_not_compared():
    with pytest.raises(ConfigError, match="are in EUR and USD"):
        choose(Needs(), (L4.model_copy(update={"currency": "EUR"}),), current=BIG)


def test_a_gpu_without_memory_is_refused():
    with pytest.raises(ValidationError, match="together"):
        host("g5.xlarge", "1.00", gpu_memory=0.0)
