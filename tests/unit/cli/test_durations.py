from datetime import timedelta

import pytest
import typer

from greenlight.cli.durations import read_duration


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0s", timedelta(0)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("90d", timedelta(days=90)),
        (" 2w ", timedelta(weeks=2)),
    ],
)
def test_a_length_of_time_is_a_number_and_a_unit(text, length):
    assert read_duration(text) == length


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5h", "1y", "1d12h", "9999999d", "٣d"])
def test_anything_else_is_told_with_examples(text):
    with pytest.raises(typer.BadParameter, match="write 30m"):
        read_duration(text)
