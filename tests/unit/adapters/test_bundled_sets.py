import pytest

from greenlight.adapters.bundled_sets import (
    HELD_OUT_CHAPTERS,
    MAX_GLOSSARY_CHARS,
    MIN_GLOSSARY_DOCUMENT,
    bundled_sets,
    glossary_documents,
    split_handbook,
)
from greenlight.quantize.datasets import TextRow, text_of, to_jsonl
from greenlight.quantize.leak import overlap


@pytest.fixture(scope="module")
def sets():
    return {made.name: made for made in bundled_sets()}


def test_no_chapter_is_calibrated_and_evaluated_on():
    documents = [
        TextRow(id=f"{chapter}/{page}", text="x")
        for chapter in ("apt", *sorted(HELD_OUT_CHAPTERS))
        for page in "ab"
    ]
    calibrated, held_out = split_handbook(documents)
    assert {d.id.split("/")[0] for d in calibrated} == {"apt"}
    assert {d.id.split("/")[0] for d in held_out} == HELD_OUT_CHAPTERS


def test_dictionary_lines_are_joined_into_documents_that_fill_a_window():
    lines = [f"word{n}: {'meaning ' * 12}" for n in range(2000)]
    made = glossary_documents(lines, seed=1)
    assert min(len(d.text) for d in made) >= MIN_GLOSSARY_DOCUMENT - 1
    assert sum(len(d.text) for d in made) == pytest.approx(MAX_GLOSSARY_CHARS, rel=0.1)
    used = "\n".join(d.text for d in made).split("\n")
    assert len(used) == len(set(used))
    assert made == glossary_documents(lines, seed=1) != glossary_documents(lines, seed=2)


def test_no_evaluation_set_leaks_into_the_calibration_set(sets):
    calibration = sets["calibration-default"].rows
    evaluated = {name: made.rows for name, made in sets.items() if name != "calibration-default"}
    found = {name: overlap(calibration, rows, dataset=name) for name, rows in evaluated.items()}
    assert {name: one.share for name, one in found.items()} == dict.fromkeys(evaluated, 0.0)
    assert all(one.grams > 100 for one in found.values())


@pytest.mark.parametrize("name", ["handbook-heldout", "python-heldout"])
def test_the_held_out_texts_fill_twenty_windows_of_512_tokens(sets, name):
    # At most 4.8 characters a token, as in the handbook; the help topics have fewer.
    assert sum(len(text_of(row)) // int(4.8 * 512) for row in sets[name].rows) >= 20


def test_the_sets_are_the_same_bytes_every_time(sets):
    again = {made.name: to_jsonl(made.rows) for made in bundled_sets()}
    assert all(again[name] == to_jsonl(made.rows) for name, made in sets.items())
