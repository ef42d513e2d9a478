import gzip

import pytest

from greenlight.adapters.text_sources import (
    dictionary,
    glossary,
    handbook_sections,
    nouns,
    python_topics,
    read_page,
)
from greenlight.core.errors import ConfigError

LONG = "A sentence that says something about packages and mirrors. " * 30


def a_page(folder, name="sect.mirrors", *, up="apt", body=LONG):
    page = folder / f"{name}.html"
    page.write_text(
        f'<html><head><link rel="up" href="{up}.html"/></head><body><h1>Title</h1>'
        f'<div class="para">{body}<pre>apt install x</pre></div><div class="para">short</div>'
        f"<div>menu {LONG}</div></body></html>"
    )
    return page


def test_a_page_gives_its_prose_without_menus_code_and_titles(tmp_path):
    page = read_page(a_page(tmp_path))
    assert page.id == "apt/sect.mirrors"
    assert page.text == LONG.strip()


def test_a_chapter_is_its_own_chapter(tmp_path):
    assert read_page(a_page(tmp_path, "apt", up="index")).id == "apt/apt"


def test_paragraphs_inside_paragraphs_are_read_once(tmp_path):
    inner = f'{LONG}<div class="para">inner {LONG}</div>'
    assert read_page(a_page(tmp_path, body=inner)).text.count("inner") == 1


def test_pages_too_short_for_a_window_are_left_out(tmp_path):
    a_page(tmp_path)
    a_page(tmp_path, "sect.short", body=LONG[:200])
    assert [page.id for page in handbook_sections(tmp_path)] == ["apt/sect.mirrors"]


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(ConfigError, match="debian-handbook"):
        handbook_sections(tmp_path)
    with pytest.raises(ConfigError, match="dict-wn"):
        dictionary(tmp_path / "wn.dict.dz")


def test_the_dictionary_is_read_entry_by_entry(tmp_path):
    path = tmp_path / "wn.dict.dz"
    with gzip.open(path, "wt") as file:
        file.write("lute\n     n 1: a substance\n       for packing joints\nmoor\n     n 1: land\n")
    assert dictionary(path) == [
        ("lute", "n 1: a substance for packing joints"),
        ("moor", "n 1: land"),
    ]


@pytest.mark.parametrize(
    ("word", "body"),
    [
        ("lute", "n 1: a plucked instrument of old 2: something else"),
        ("lute", "n 1: a plucked instrument of old v 1: play it"),
        ("lute", "n 1: a plucked instrument of old [syn: {oud}]"),
        ("lute", "n 1: what a lutenist plays daily"),
        ("lute", "n 1: instrument"),
        ("lute", "v 1: seal a joint with clay"),
        ("Lute", "n 1: a plucked instrument of old"),
    ],
)
def test_a_noun_whose_definition_could_be_argued_about_is_left_out(word, body):
    fine = ("moor", 'n 1: open land with poor soil; "the moor at night"')
    assert [(n.word, n.gloss) for n in nouns([fine, (word, body)])] == [
        ("moor", "open land with poor soil")
    ]


def test_a_glossary_line_has_the_word_its_meanings_and_examples():
    entry = ("lute", f'n 1: an instrument [syn: {{oud}}] 2: a paste; "he played it {"x" * 60}"')
    assert glossary([entry]) == [f'lute: an instrument a paste; "he played it {"x" * 60}"']


def test_python_topics_are_long_enough_and_sorted():
    topics = python_topics()
    assert [t.id for t in topics] == sorted(t.id for t in topics)
    assert min(len(t.text) for t in topics) > 1000
