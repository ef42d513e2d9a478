"""The generated parts of the reference are what the code says now."""

import sys

import pytest

from greenlight.core.metrics import MetricName
from greenlight.core.settings import PROJECT

FOLDER = PROJECT / "docs/reference"
sys.path.insert(0, str(FOLDER))
import write_pages  # noqa: E402 - not a package


@pytest.mark.parametrize("name", write_pages.PAGES)
def test_what_is_committed_is_what_the_code_says(name):
    assert (FOLDER / name).read_text() == write_pages.PAGES[name](), "run `make reference`"


def test_every_metric_of_the_catalogue_is_there():
    page = write_pages.metrics()
    assert [name for name in MetricName if f"| `{name}` |" not in page] == []


def test_a_metric_that_is_made_nowhere_is_found(monkeypatch):
    monkeypatch.setattr(write_pages, "_made", lambda: iter(()))
    with pytest.raises(KeyError):
        write_pages.metrics()
