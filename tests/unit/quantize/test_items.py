import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from greenlight.core.errors import InputError
from greenlight.quantize.items import ANSWERS, ITEMS, SUMMARY, Answer, read_items

ANSWER = Answer(
    dataset="asked", id="a", text="4", tokens=1, finish="stop", correct=True, repeat_equal=None
)


def a_folder(folder: Path, **arrays) -> Path:
    given = {"nll/notes": [1.0, 2.0], "block/notes": [0, 0], "picked/quiz": [1], "gold/quiz": [2]}
    np.savez(folder / ITEMS, **{name: np.array(v) for name, v in (given | arrays).items()})
    (folder / ANSWERS).write_text(json.dumps(asdict(ANSWER)) + "\n")
    (folder / SUMMARY).write_text('{"tokens": 2}')
    return folder


def test_what_was_measured_is_read_by_data_set(tmp_path):
    items = read_items(a_folder(tmp_path))
    assert items.nll["notes"].tolist() == [1.0, 2.0]
    assert items.gold["quiz"].tolist() == [2]
    assert items.answers == (ANSWER,)
    assert items.summary == {"tokens": 2}
    assert items.kl == {}


def test_a_line_separator_inside_an_answer_does_not_end_the_line(tmp_path):
    answer = replace(ANSWER, text="one\u2028two")
    line = json.dumps(asdict(answer), ensure_ascii=False)
    (a_folder(tmp_path) / ANSWERS).write_text(f"{line}\n", encoding="utf-8")
    assert read_items(tmp_path).answers == (answer,)


@pytest.mark.parametrize("name", [ITEMS, ANSWERS, SUMMARY])
def test_a_folder_without_one_of_its_files_is_no_evaluation(tmp_path, name):
    (a_folder(tmp_path) / name).unlink()
    with pytest.raises(InputError, match="no complete evaluation"):
        read_items(tmp_path)


@pytest.mark.parametrize(("name", "data"), [(ITEMS, b"PK\x03\x04"), (ANSWERS, b'{"id": 1}\n')])
def test_a_damaged_file_is_no_evaluation(tmp_path, name, data):
    (a_folder(tmp_path) / name).write_bytes(data)
    with pytest.raises(InputError, match="no complete evaluation"):
        read_items(tmp_path)


@pytest.mark.parametrize(
    "arrays",
    [
        {"block/notes": [0]},
        {"gold/quiz": [1, 2]},
        {"kl/notes": [0.1, 0.2]},
        {"kl/notes": [0.1], "agree/notes": [True, True]},
    ],
)
def test_arrays_that_belong_together_must_have_one_length(tmp_path, arrays):
    with pytest.raises(InputError, match="holds"):
        read_items(a_folder(tmp_path, **arrays))
