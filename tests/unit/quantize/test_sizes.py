import pytest
from quantize_worlds import shape

from greenlight.quantize.recipes import ModuleRule, Recipe
from greenlight.quantize.sizes import plain_bytes, predict_bytes


def smollm2():
    """SmolLM2-135M: what the figures below were measured on."""
    return shape(layers=30, hidden=576, heads=576, kv=192, inner=1536, vocabulary=49152)


def size(*rules, **kwargs):
    modules = tuple(ModuleRule(**rule) for rule in rules)
    return predict_bytes(Recipe(**({"name": "r", "bits": 4} | kwargs), modules=modules), smollm2())


@pytest.mark.parametrize(
    ("megabytes", "found"),
    [
        (538, plain_bytes(smollm2(), dtype="F32")),
        (269, plain_bytes(smollm2(), dtype="BF16")),
        (174, size(bits=8)),
        (119, size()),
        (113, size(group_size=128)),
        (105, size(bits=3)),
        (142, size({"match": ["qkv"], "bits": 16})),
        (161, size({"match": ["v_proj", "down_proj"], "bits": 16})),
        (156, size({"match": ["down"], "bits": 16})),
        (134, size({"match": ["v_proj", "down_proj"], "bits": 8})),
        (91, size(embedding_bits=8)),
    ],
)
def test_predictions_are_what_was_measured_to_the_megabyte(megabytes, found):
    assert found / 1e6 == pytest.approx(megabytes, abs=1.0)


def test_larger_groups_and_fewer_bits_are_smaller():
    assert size(group_size=128) < size(group_size=64) < size(group_size=32)
    assert size(bits=3) < size(bits=4) < size(bits=8)
