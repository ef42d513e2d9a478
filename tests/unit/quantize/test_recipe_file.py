import pytest

from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT
from greenlight.quantize.recipe_file import load_recipes, load_recipes_file
from greenlight.quantize.request import QuantizeRequest

EXAMPLE = PROJECT / "include/config/recipes.example.yaml"


def written(tmp_path, text):
    path = tmp_path / "recipes.yaml"
    path.write_text(text)
    return path


def test_the_example_file_holds_what_a_request_asks_for_by_default():
    names = {recipe.name for recipe in load_recipes(EXAMPLE)}
    assert set(QuantizeRequest(model="m").recipes) <= names


def test_recipes_come_in_the_order_asked_for():
    found = load_recipes_file(EXAMPLE).named(("q4-g32-act", "q4-g32"))
    assert [recipe.name for recipe in found] == ["q4-g32-act", "q4-g32"]


def test_an_unknown_recipe_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"no recipe named q2; there are q8-g32, q4-g32"):
        load_recipes_file(EXAMPLE).named(("q2",))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("recipes: [{name: a, bits: 4, grop_size: 32}]", "grop_size"),
        ("recipes: [{name: a, bits: 5}]", "bits"),
        ("recipes: [{name: a, bits: 4, modules: [{match: [o], bit: 8}]}]", "bit"),
        ("recipes: [{name: a, bits: 4}, {name: a, bits: 3}]", "two recipes are named a"),
        ("{recipes: [{name: a, bits: 4}], demo: [b]}", "no recipe is named b"),
        ("{recipes: [{name: a, bits: 4}], search: {base: z}}", "no recipe is named z"),
        ("recipes: []", "recipes"),
        ("recipes: [", "cannot be read"),
        ("", "recipes.yaml"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path, text, named):
    with pytest.raises(ConfigError, match=named):
        load_recipes(written(tmp_path, text))


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipes(tmp_path / "none.yaml")
