from greenlight.quantize.answers import is_correct, reference_rows
from greenlight.quantize.datasets import Check
from greenlight.quantize.instructions import SORTS, instructions

ROWS = instructions(per_sort=8, seed=1)


def test_there_are_eight_of_every_sort_and_the_sql_ones():
    assert len(ROWS) == 8 * len(SORTS) + 20
    assert len({row.id for row in ROWS}) == len(ROWS)


def test_nothing_is_asked_twice():
    assert len({row.prompt for row in ROWS}) == len(ROWS)


def test_every_reference_answer_is_right():
    assert [row.id for row in ROWS if not is_correct(row, row.output)] == []


def test_no_answer_is_right_everywhere():
    for wrong in ("", "yes", "SELECT 1"):
        assert sum(is_correct(row, wrong) for row in ROWS) < 10


def test_every_reference_query_returns_rows():
    assert all(reference_rows(row) for row in ROWS if row.check is Check.SQL)


def test_any_first_part_holds_several_sorts():
    assert len({row.id.rsplit("-", 1)[0] for row in ROWS[:20]}) >= 5


def test_a_seed_gives_the_same_items():
    assert instructions(per_sort=8, seed=1) == ROWS
    assert instructions(per_sort=8, seed=2) != ROWS
