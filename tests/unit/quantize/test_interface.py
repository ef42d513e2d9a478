import json
from pathlib import Path

import pytest

from greenlight.core.errors import InputError
from greenlight.quantize.interface import compare_interface, interface_metric


def a_model(folder: Path, **config) -> Path:
    folder.mkdir()
    facts = {"architectures": ["Llama"], "vocab_size": 8, "eos_token_id": 2} | config
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "generation_config.json").write_text('{"eos_token_id": 2}')
    return folder


@pytest.fixture
def parent(tmp_path):
    return a_model(tmp_path / "parent")


@pytest.fixture
def candidate(tmp_path):
    return a_model(tmp_path / "candidate")


def test_equal_folders_are_identical_to_every_caller(parent, candidate):
    assert compare_interface(parent, candidate) == ()
    assert interface_metric(parent, candidate).value == 0


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "chat_template.jinja", "additional_chat_templates/tools.jinja"]
)
def test_a_changed_or_added_file_is_a_difference(parent, candidate, name):
    (candidate / name).parent.mkdir(exist_ok=True)
    (candidate / name).write_text("{ }")
    assert [d.file for d in compare_interface(parent, candidate)] == [name]


def test_a_lost_file_is_a_difference(parent, candidate):
    (candidate / "tokenizer.json").unlink()
    (found,) = compare_interface(parent, candidate)
    assert found.candidate == "absent"


def test_another_end_token_is_named_with_both_values(parent, candidate):
    (candidate / "generation_config.json").write_text('{"eos_token_id": [2, 3]}')
    metric = interface_metric(parent, candidate)
    assert metric.value == 1
    assert metric.method == "generation_config.json: eos_token_id is [2, 3], the parent's 2"


def test_another_vocabulary_is_a_difference(parent, tmp_path):
    (found,) = compare_interface(parent, a_model(tmp_path / "other", vocab_size=9))
    assert found.field == "vocab_size"


def test_what_tools_write_in_passing_is_none(parent, tmp_path):
    other = a_model(tmp_path / "other", transformers_version="9", quantization_config={"bits": 4})
    (other / "generation_config.json").write_text(
        '{ "transformers_version": "9", "eos_token_id": 2 }'
    )
    assert compare_interface(parent, other) == ()


def test_a_folder_without_config_is_no_model(parent, tmp_path):
    with pytest.raises(InputError, match="not a model folder"):
        compare_interface(parent, tmp_path)


def test_damaged_json_is_refused(parent, candidate):
    (candidate / "config.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        compare_interface(parent, candidate)
