from dataclasses import replace

import pytest
from quantize_worlds import shape

from greenlight.core.settings import PROJECT
from greenlight.quantize import abilities
from greenlight.quantize.abilities import ABILITIES, Ability, check_backend, check_recipe
from greenlight.quantize.jobs import Backend
from greenlight.quantize.recipe_file import load_recipes
from greenlight.quantize.recipes import ModuleRule, Recipe


def recipe(*rules, **kwargs):
    values = {"name": "r", "bits": 4} | kwargs
    return Recipe(modules=tuple(ModuleRule(**rule) for rule in rules), **values)


def reasons(*rules, engine="vllm-cpu", model=None, **kwargs):
    return "; ".join(check_recipe(recipe(*rules, **kwargs), model or shape(), engine))


def test_plain_four_bits_are_served_by_every_engine():
    model = shape(inner=128)
    for engine in ABILITIES:
        assert not check_recipe(recipe(), model, engine)


def test_a_group_that_does_not_divide_names_the_linear_and_its_inputs():
    found = reasons(group_size=64)
    assert "group size 64 does not divide 96 inputs" in found
    assert "model.layers.0.mlp.down_proj" in found


@pytest.mark.parametrize("bits", [3, 8])
def test_the_cpu_build_serves_four_bits_only(bits):
    assert f"vllm-cpu does not serve {bits}-bit linears" in reasons(bits=bits)
    assert not reasons(bits=bits, engine="transformers")


def test_eight_bits_are_served_on_a_gpu():
    assert not reasons(bits=8, engine="vllm-gpu")


def test_a_fused_group_has_one_precision():
    found = reasons({"match": ["v_proj"], "bits": 16})
    assert "different precisions inside the fused group 'qkv'" in found
    assert "v_proj 16 bit" in found
    assert not reasons({"match": ["v_proj"], "bits": 16}, engine="transformers")


def test_a_fused_group_has_one_group_size():
    found = reasons({"match": ["gate_proj"], "bits": 4, "group_size": 64})
    assert "fused group 'gate_up'" in found


def test_a_whole_fused_group_may_stay_in_16_bit_in_some_layers():
    assert not reasons({"match": ["qkv"], "bits": 16, "layers": [1]})
    assert not reasons({"match": ["down"], "bits": 16})


def test_what_was_not_verified_is_refused_and_says_so(monkeypatch):
    unknown = replace(ABILITIES["vllm-cpu"], group_sizes={32: Ability.YES})
    monkeypatch.setattr(abilities, "ABILITIES", {"vllm-cpu": unknown})
    assert "is not verified to serve group size -1" in reasons(group_size=-1)


def test_groups_of_a_whole_column_are_served():
    assert not reasons(group_size=-1)
    assert "does not serve group size 16" in reasons(group_size=16)


def test_asymmetric_recipes_are_refused_where_they_are_not_served():
    assert "asymmetric" in reasons(symmetric=False)
    assert not reasons(symmetric=False, engine="transformers")


def test_an_8_bit_embedding_is_refused_by_every_engine():
    for engine in ABILITIES:
        assert "8-bit embedding" in reasons(embedding_bits=8, engine=engine)


def test_dimensions_that_the_kernel_cannot_take_are_named():
    assert "multiples of 32 outputs" in reasons(model=shape(kv=48))


def test_a_misspelt_rule_is_refused_rather_than_ignored():
    assert "'vproj', which no linear is called" in reasons({"match": ["vproj"], "bits": 16})


def test_a_rule_for_layers_that_there_are_not_is_refused():
    found = reasons({"match": ["o"], "bits": 16, "layers": [7]})
    assert "decides nothing" in found
    assert "0 to 1" in found


def test_a_rule_that_an_earlier_one_covers_is_refused():
    first, second = {"match": ["qkv"], "bits": 16}, {"match": ["v_proj"], "bits": 8}
    assert "rule 2 (v_proj) decides nothing" in reasons(first, second)


def test_a_recipe_that_quantizes_nothing_is_refused():
    everything = {"match": ["qkv", "o", "gate_up", "down"], "bits": 16}
    assert "nothing to quantize" in reasons(everything)


def test_each_complaint_is_made_once_not_per_layer():
    assert len(check_recipe(recipe(bits=8), shape(layers=30), "vllm-cpu")) == 1


def test_the_demos_recipes_are_served_by_the_cpu_build():
    recipes = {r.name: r for r in load_recipes(PROJECT / "include/config/recipes.example.yaml")}
    model = shape(hidden=576, heads=576, kv=192, inner=1536)
    for name in ("q4-g32", "q4-g32-gptaq-qkv16", "q4-g32-gptaq-mse-qkv16"):
        assert not check_recipe(recipes[name], model, "vllm-cpu"), name
    assert "576 inputs" in "; ".join(check_recipe(recipes["q4-g128"], model, "vllm-cpu"))


def test_the_reference_page_shows_the_table_as_it_is():
    page = (PROJECT / "docs/reference/recipes.md").read_text(encoding="utf-8")
    for engine, known in ABILITIES.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| {engine} |"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == served(known.bits)
        assert cells[2] == served(known.group_sizes)
        assert known.source in page


def served(answers):
    return ", ".join(str(key) for key, able in answers.items() if able is Ability.YES)


@pytest.mark.parametrize(
    ("field", "value"),
    [("symmetric", False), ("gptaq", True), ("scale_search", 2.4), ("embedding_bits", 8)],
)
def test_what_auto_gptq_lacks_is_named_before_any_work(field, value):
    asked = recipe(**{field: value})
    (reason,) = check_backend(asked, Backend.AUTO_GPTQ)
    assert f"auto-gptq has no {field}" in reason
    assert not check_backend(asked, Backend.GPTQMODEL)
    assert not check_backend(recipe(), Backend.AUTO_GPTQ)
