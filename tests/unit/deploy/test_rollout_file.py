import pytest
import yaml

from greenlight.core.errors import ConfigError
from greenlight.core.settings import PROJECT
from greenlight.deploy.rollout_file import load_rollout

EXAMPLE = PROJECT / "include/config/rollout.example.yaml"


def load(tmp_path, **keys):
    file = tmp_path / "rollout.yaml"
    file.write_text(yaml.safe_dump({"rollouts": {"r": {"analysis": {}} | keys}}))
    return load_rollout(file, "r")


@pytest.mark.parametrize("name", ["standard", "blue_green", "rolling", "demo", "drill"])
def test_every_example_can_be_satisfied_by_its_own_load(name):
    settings = load_rollout(EXAMPLE, name)
    assert settings.out_of_reach(prompts=50) == ()


def test_defaults_are_a_canary_with_a_bake_of_half_an_hour(tmp_path):
    settings = load(tmp_path)
    assert (settings.shares, settings.bake_s, settings.lease_s) == ((10, 50, 100), 1800, 60)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"steps": [50, 10, 100]}, "do not rise"),
        ({"steps": [10, 50]}, "do not end at 100"),
        ({"steps": [0, 100]}, "greater than or equal to 1"),
        ({"lease_s": 120}, "less than or equal to 60"),
        ({"bake": 5}, "unknown key"),
        ({"analysis": {"preset": "lucky"}}, "no analysis preset 'lucky'"),
    ],
)
def test_a_mistake_is_refused(tmp_path, keys, said):
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, **keys)


def test_blue_green_has_one_step(tmp_path):
    assert load(tmp_path, strategy="blue_green").shares == (100,)


def test_a_load_too_thin_for_its_rules_is_said_before_anything_moves(tmp_path):
    settings = load(tmp_path, load={"rate": 0.1})
    assert "raise the rate" in settings.out_of_reach(prompts=50)[0]


def test_an_unknown_rollout_names_those_there_are():
    with pytest.raises(ConfigError, match="there are standard"):
        load_rollout(EXAMPLE, "yolo")
