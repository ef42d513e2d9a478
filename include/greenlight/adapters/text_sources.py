"""Texts that come with the machine: Python's help topics, a book and a dictionary from Debian."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from pydoc_data.topics import topics

from greenlight.core.errors import ConfigError
from greenlight.quantize.choices import Entry
from greenlight.quantize.datasets import TextRow

HANDBOOK = Path("/usr/share/doc/debian-handbook/html/en-US")
WORDNET = Path("/usr/share/dictd/wn.dict.dz")

MIN_DOCUMENT_CHARS = 1500
"""A document must fill a window of the evaluation."""
MIN_PARAGRAPH_CHARS = 60

_SPACE = re.compile(r"\s+")
_ENTRY = re.compile(r"\n(?=\S)")
_OTHER_SENSE = re.compile(r" [2-9]: | (?:v|adj|adv) 1: ")
_SENSE = re.compile(r"(?:\b(?:n|v|adj|adv) )?\b[1-9]: ")
_SYNONYMS = re.compile(r" ?\[(?:syn|ant|also|see also):.*?\]")


def python_topics(names: Iterable[str] | None = None) -> list[TextRow]:
    """Return Python's help topics, one a document, sorted by name; too short ones left out."""
    wanted = sorted(topics) if names is None else list(names)
    return [
        TextRow(id=f"python-{name}", text=topics[name].strip())
        for name in wanted
        if len(topics[name]) >= MIN_DOCUMENT_CHARS
    ]


def handbook_sections(folder: Path = HANDBOOK) -> list[TextRow]:
    """Return the prose of the Debian Administrator's Handbook, one page a document, by name.

    An id is `CHAPTER/PAGE`, so that whole chapters can be held out.

    Raises:
        ConfigError: the package is not installed.
    """
    pages = sorted(folder.glob("*.html"))
    if not pages:
        raise _missing(folder, package="debian-handbook")
    read = [read_page(page) for page in pages]
    return [document for document in read if len(document.text) >= MIN_DOCUMENT_CHARS]


def read_page(path: Path) -> TextRow:
    """Return the text of every `div.para` of a page, white space folded, short ones left out."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    texts = [text for text in page.texts if len(text) >= MIN_PARAGRAPH_CHARS]
    chapter = path.stem if page.up in (None, "index") else page.up
    return TextRow(id=f"{chapter}/{path.stem}", text="\n\n".join(texts) or "-")


def dictionary(path: Path = WORDNET) -> list[tuple[str, str]]:
    """Return WordNet's (headword, body) pairs in file order, white space folded.

    Raises:
        ConfigError: the package is not installed.
    """
    if not path.is_file():
        raise _missing(path, package="dict-wn")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        entries = _ENTRY.split(file.read())
    split = (entry.partition("\n") for entry in entries)
    return [(word, _SPACE.sub(" ", body).strip()) for word, _, body in split]


def nouns(entries: Sequence[tuple[str, str]]) -> list[Entry]:
    """Return lower-case one-word nouns with one sense and a definition of four to nine words.

    Left out: words with synonyms (rare names of plants and drugs, mostly), definitions that name
    the word's own stem or hold brackets.
    """
    found = []
    for word, body in entries:
        if not re.fullmatch(r"[a-z]{4,12}", word) or not body.startswith("n 1: "):
            continue
        gloss = re.split(r"[;\"]", body.removeprefix("n 1: "))[0].strip()
        one_sense = not _OTHER_SENSE.search(body) and "[" not in body
        plain = not re.search(r"[(){}:]", gloss) and word[:4] not in gloss.lower()
        if one_sense and plain and 4 <= len(gloss.split()) <= 9:
            found.append(Entry(word=word, gloss=gloss))
    return found


def glossary(entries: Sequence[tuple[str, str]]) -> list[str]:
    """Return one line a headword that has an example sentence: word, definitions, examples."""
    return [
        f"{word}: {_SENSE.sub('', _SYNONYMS.sub('', body)).strip()}"
        for word, body in entries
        if re.fullmatch(r"[a-z]{4,}", word) and '"' in body and 80 <= len(body) <= 400
    ]


class _Page(HTMLParser):
    """Collects the text inside `div.para`, but not what code listings inside it hold."""

    def __init__(self) -> None:
        super().__init__()
        self.up: str | None = None
        """The page above: the chapter of a section, `index` of a chapter."""
        self.texts: list[str] = []
        self._depth = 0
        self._silent = 0
        self._parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "link" and ("rel", "up") in attrs:
            self.up = Path(dict(attrs)["href"] or "").stem
        if tag == "pre":
            self._silent += 1
        if tag != "div":
            return
        if self._depth:
            self._depth += 1
        elif ("class", "para") in attrs:
            self._depth, self._parts = 1, []

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._silent -= 1
        if tag == "div" and self._depth:
            self._depth -= 1
            if not self._depth:
                self.texts.append(_SPACE.sub(" ", "".join(self._parts)).strip())

    def handle_data(self, data: str) -> None:
        if self._depth and not self._silent:
            self._parts.append(data)


def _missing(path: Path, *, package: str) -> ConfigError:
    return ConfigError(
        f"{path} is missing, so the bundled data sets cannot be made; install the Debian package "
        f"{package}, or run scripts/setup system, which installs everything"
    )
