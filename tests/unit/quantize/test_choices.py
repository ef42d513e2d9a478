import pytest

from greenlight.core.errors import InputError
from greenlight.quantize.choices import Entry, balance, multiple_choice

ENTRIES = [Entry(word=f"noun{n:03d}", gloss=f"meaning{n:03d} of it") for n in range(60)]


def test_the_right_choice_is_the_definition_of_the_word():
    glosses = {entry.word: entry.gloss for entry in ENTRIES}
    for row in multiple_choice(ENTRIES, items=40, seed=1):
        assert row.choices[row.answer] == glosses[row.id.split("-")[1]]
        assert len(set(row.choices)) == 4


def test_every_position_is_right_equally_often():
    assert balance(multiple_choice(ENTRIES, items=40, seed=1)) == {0: 10, 1: 10, 2: 10, 3: 10}


def test_a_seed_gives_the_same_questions_whatever_the_order_of_the_dictionary():
    rows = multiple_choice(ENTRIES, items=40, seed=1)
    assert multiple_choice(ENTRIES[::-1], items=40, seed=1) == rows
    assert multiple_choice(ENTRIES, items=40, seed=2) != rows


def test_a_wrong_choice_shares_no_content_word_with_the_right_one():
    alike = [Entry(word=f"same{n}", gloss=f"animal number {n}") for n in range(30)]
    with pytest.raises(InputError, match="like and unlike enough"):
        multiple_choice(alike, items=4, seed=1)


def test_too_few_nouns_are_refused():
    with pytest.raises(InputError, match="100 multiple-choice items need"):
        multiple_choice(ENTRIES, items=100, seed=1)
