import pandas as pd
from great_expectations import expectations as gxe

from greenlight.adapters.expectation_run import NAMED, judge
from greenlight.adapters.expectation_suites import Expected


def at_most(limit, *, warns=False):
    return Expected(
        expectation=gxe.ExpectColumnValuesToBeBetween(column="n", max_value=limit),
        complaint=f"are above {limit}",
        warns=warns,
    )


def test_what_is_not_met_is_told_in_words_and_warnings_apart(tmp_path):
    frame = pd.DataFrame({"row": [f"r{n}" for n in range(9)], "n": range(9)})
    said = judge(frame, [at_most(1), at_most(7, warns=True), at_most(8)], name="x", docs=tmp_path)
    assert said.problems == ("7 of 9 rows are above 1: r2, r3, r4, r5, r6 and 2 more",)
    assert said.warnings == ("1 of 9 rows are above 7: r8",)
    assert NAMED == 5
    assert (tmp_path / "index.html").is_file()
