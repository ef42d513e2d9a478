from greenlight.quantize.datasets import TextRow
from greenlight.quantize.leak import overlap

WORDS = [f"word{number}" for number in range(60)]


def a_text(words, name="a") -> TextRow:
    return TextRow(id=name, text=" ".join(words))


def test_a_passage_that_was_calibrated_on_is_found_whatever_its_case_and_punctuation():
    passage = a_text([f"{word.upper()}," for word in WORDS[20:40]], "copied")
    found = overlap([a_text(WORDS)], [passage], dataset="notes")
    assert (found.share, found.hit, found.examples) == (1.0, 1, ("copied",))


def test_other_text_shares_nothing():
    other = a_text([f"other{number}" for number in range(30)])
    assert overlap([a_text(WORDS)], [other], dataset="notes").share == 0


def test_twelve_equal_words_are_chance_and_thirteen_are_a_leak():
    before, after = ["x"] * 13, ["y"] * 13
    twelve = a_text([*before, *WORDS[:12], *after])
    thirteen = a_text([*before, *WORDS[:13], *after])
    assert overlap([a_text(WORDS)], [twelve], dataset="notes").shared == 0
    assert overlap([a_text(WORDS)], [thirteen], dataset="notes").shared == 1


def test_a_short_row_is_compared_whole():
    short = a_text(WORDS[5:11])
    assert overlap([a_text(WORDS)], [short], dataset="notes").share == 1
    assert overlap([a_text(WORDS[:10])], [short], dataset="notes").share == 0


def test_rows_too_short_to_say_anything_leave_nothing_behind_the_number():
    metric = overlap([a_text(WORDS)], [a_text(WORDS[:4])], dataset="notes").metric()
    assert (metric.name, metric.n) == ("calibration_overlap.notes", 0)


def test_the_share_is_of_the_evaluation_set_not_of_the_calibration_set():
    evaluation = [a_text(WORDS[:13], "copied"), a_text([f"o{n}" for n in range(13)], "own")]
    found = overlap([a_text(WORDS)], evaluation, dataset="notes")
    assert (found.share, found.rows, found.examples) == (0.5, 2, ("copied",))
