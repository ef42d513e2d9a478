import json
from pathlib import Path

import pytest

from greenlight.core.digest import digest_bytes
from greenlight.core.errors import InputError
from greenlight.quantize.datasets import (
    InstructRow,
    TextRow,
    parse_rows,
    read_dataset,
    read_texts,
    read_verified,
    text_of,
    to_jsonl,
)
from greenlight.quantize.jobs import Dataset, DatasetKind

TEXT, CHOICE, INSTRUCT = DatasetKind


def jsonl(*rows: dict) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def a_choice(**other) -> dict:
    return {"id": "a", "question": "Why?", "choices": ["1", "2", "3", "4"], "answer": 0} | other


def a_set(path: Path, data: bytes) -> Dataset:
    path.write_bytes(data)
    return Dataset(
        name="notes", version="1", kind=TEXT, licence="mit", source="test", rows=1,
        digest=digest_bytes(data), path=path,
    )  # fmt: skip


def test_rows_survive_writing_and_reading():
    rows = (
        InstructRow(id="a", instruction="Add.", input="1 2", output="3"),
        InstructRow(
            id="b", instruction="Count.", output="SELECT 1", check="sql", schema="SELECT 1"
        ),
    )
    assert parse_rows(to_jsonl(rows), INSTRUCT, where="here") == rows


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"", TEXT, "holds no row"),
        (b"\n \n", TEXT, "holds no row"),
        (b'{"id": "a", "text": "x"}\n\xff\n', TEXT, "line 2: not UTF-8"),
        (b'{"id": "a", "text": "x"}\n{oops\n', TEXT, "line 2: not JSON"),
        (b"[1]\n", TEXT, "line 1: must be an object"),
        (jsonl({"id": "a"}), TEXT, "line 1: field text"),
        (jsonl({"id": "a", "text": ""}), TEXT, "field text"),
        (jsonl({"id": "a", "text": "x", "lable": 1}), TEXT, "field lable"),
        (jsonl({"id": "a", "text": "x"}, {"id": "a", "text": "y"}), TEXT, "'a' is also on line 1"),
        (jsonl(a_choice(choices=["1", "2", "3"])), CHOICE, "field choices"),
        (jsonl(a_choice(answer=4)), CHOICE, "field answer"),
        (jsonl({"id": "a", "instruction": "x", "output": "1", "check": "sql"}), INSTRUCT, "schema"),
        (jsonl({"id": "a", "instruction": "x", "output": "1", "schema": "x"}), INSTRUCT, "schema"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_field(data, kind, said):
    with pytest.raises(InputError, match=said):
        parse_rows(data, kind, where="notes.jsonl")


def test_a_line_separator_inside_a_text_does_not_end_the_line():
    row = TextRow(id="a", text="one\u2028two\u0085three")
    assert parse_rows(to_jsonl([row]), TEXT, where="here") == (row,)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl cannot be read"):
        read_dataset(tmp_path / "none.jsonl", TEXT)


def test_an_edited_file_is_refused_with_both_digests(tmp_path):
    dataset = a_set(tmp_path / "notes.jsonl", jsonl({"id": "a", "text": "x"}))
    assert [row.text for row in read_texts(dataset)] == ["x"]
    edited = jsonl({"id": "a", "text": "y"})
    dataset.path.write_bytes(edited)
    with pytest.raises(InputError, match="was registered with") as caught:
        read_verified(dataset)
    assert dataset.digest[:12] in str(caught.value)
    assert digest_bytes(edited)[:12] in str(caught.value)


def test_the_prompt_is_the_instruction_with_the_input_below_it():
    assert InstructRow(id="a", instruction="Add.", input="1 2", output="3").prompt == "Add.\n\n1 2"
    assert InstructRow(id="a", instruction="Add.", output="3").prompt == "Add."


def test_the_text_of_a_row_is_all_that_a_model_would_read():
    assert text_of(InstructRow(id="a", instruction="i", input="", output="o")) == "i\no"
