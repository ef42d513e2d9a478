import pytest
from quantize_worlds import shape

from greenlight.core.errors import InputError
from greenlight.quantize.abilities import check_recipe
from greenlight.quantize.measurements import GateResult, Verdict
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.search import Attempt, choose, order_by_size, proposals, propose
from greenlight.quantize.sizes import plain_bytes, predict_bytes

SENSITIVITY = {"qkv": 0.06, "o": 0.01, "gate_up": 0.03, "down": 0.02}


def model():
    return shape(layers=4, hidden=576, heads=576, kv=192, inner=1536, vocabulary=4096)


def base(**kwargs):
    values = {"name": "q4-g32-gptaq", "bits": 4, "act_order": True, "gptaq": True, "seed": 3}
    return Recipe(**(values | kwargs))


def result(verdict, *, value=1.0, limit=1.0, gate="perplexity"):
    return GateResult(
        gate=gate, metric="m", verdict=verdict, reason="…", value=value, limit=limit, n=32
    )


def attempt(name, size, *results):
    return Attempt(recipe=base(name=name), file_bytes=size, results=results)


def test_proposals_go_from_small_to_large_and_from_lossy_to_faithful():
    found = proposals(model(), SENSITIVITY, "vllm-cpu", base(), 6)
    assert len(found) == 6
    sizes = [p.predicted_bytes for p in found]
    losses = [p.predicted_kl for p in found]
    assert sizes == sorted(sizes)
    assert losses == sorted(losses, reverse=True)


def test_only_what_the_engine_serves_is_proposed():
    for engine in ("vllm-cpu", "vllm-gpu", "transformers"):
        for recipe in propose(model(), SENSITIVITY, engine, base(), 8):
            assert not check_recipe(recipe, model(), engine)
    # 576 inputs are no multiple of 128.
    assert {r.group_size for r in propose(model(), SENSITIVITY, "vllm-cpu", base(), 32)} <= {32, 64}


def test_bits_are_spent_where_it_hurts_first():
    found = propose(model(), SENSITIVITY | {"o": 0.5}, "vllm-cpu", base(), 12)
    raised = [tuple(rule.match[0] for rule in r.modules) for r in found if r.modules]
    assert raised[0] == ("o",)
    assert all("o" in groups for groups in raised)


def test_eight_bits_are_proposed_where_they_are_served():
    def bits(engine):
        found = propose(model(), SENSITIVITY, engine, base(), 16)
        return {rule.bits for r in found for rule in r.modules}

    assert bits("vllm-cpu") == {16}
    assert 8 in bits("vllm-gpu")


def test_proposals_keep_what_costs_no_bytes_and_have_names_of_their_own():
    found = propose(model(), SENSITIVITY, "vllm-cpu", base(), 12)
    assert all(r.gptaq and r.act_order and r.seed == 3 for r in found)
    assert len({r.name for r in found}) == len({r.digest for r in found}) == len(found)


def test_nothing_is_proposed_that_saves_too_little():
    largest = propose(model(), SENSITIVITY, "vllm-cpu", base(), 64)[-1]
    assert predict_bytes(largest, model()) <= 0.8 * plain_bytes(model(), dtype="BF16")


def test_a_group_without_a_sensitivity_is_not_taken_for_insensitive():
    with pytest.raises(InputError, match="no sensitivity was measured for down"):
        propose(model(), {"qkv": 1.0, "o": 1.0, "gate_up": 1.0}, "vllm-cpu", base(), 3)


def test_an_engine_that_serves_no_variation_is_an_error_with_the_reason():
    with pytest.raises(InputError, match="3-bit"):
        propose(model(), SENSITIVITY, "vllm-cpu", base(bits=3), 3)


def test_recipes_are_ordered_by_predicted_size():
    eight, four, three = (base(name=f"q{b}", bits=b) for b in (8, 4, 3))
    assert order_by_size([eight, three, four], model()) == (three, four, eight)


def test_the_smallest_that_passes_wins():
    choice = choose(
        [
            attempt("large", 300, result(Verdict.PASS)),
            attempt("small", 200, result(Verdict.PASS)),
            attempt("tiny", 100, result(Verdict.FAIL)),
        ]
    )
    assert choice.winner is not None
    assert choice.winner.recipe.name == "small"
    assert "1 smaller did not" in choice.reason


def test_an_undecided_recipe_never_wins():
    choice = choose([attempt("open", 100, result(Verdict.PASS), result(Verdict.INSUFFICIENT))])
    assert choice.winner is None
    assert choice.nearest is not None
    assert "insufficient" in choice.reason


def test_the_nearest_miss_has_the_fewest_failures_then_the_smallest_distance():
    far = attempt("far", 100, result(Verdict.FAIL, value=1.7, limit=1.05))
    near = attempt("near", 200, result(Verdict.FAIL, value=1.08, limit=1.05))
    worse = attempt("worse", 50, result(Verdict.FAIL), result(Verdict.FAIL))
    choice = choose([far, near, worse])
    assert choice.winner is None
    assert choice.nearest == near
    assert "none of 3 recipes passes; nearest is near: perplexity on m: fail" in choice.reason


def test_trying_nothing_chooses_nothing():
    assert choose([]).winner is None
