"""Small instructions with checkable answers, made by a seeded generator.

Easy on purpose: a model of 135 million parameters answers a good part of them, so that there is
something to lose by quantizing. The order is shuffled: any first part holds every sort.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, permutations, product
from typing import TypeVar

from greenlight.quantize.datasets import Check, InstructRow

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "China": "Beijing",
    "England": "London",
    "Russia": "Moscow",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Canada": "Ottawa",
    "Portugal": "Lisbon",
    "Austria": "Vienna",
    "Poland": "Warsaw",
    "Ireland": "Dublin",
    "Norway": "Oslo",
}
OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "up": "down",
    "day": "night",
    "open": "closed",
    "left": "right",
    "early": "late",
    "happy": "sad",
    "fast": "slow",
    "light": "dark",
    "wet": "dry",
    "old": "young",
    "full": "empty",
    "rich": "poor",
    "hard": "soft",
    "win": "lose",
}
FACTS = {
    "Is the sun a star?": "yes",
    "Is ice cold?": "yes",
    "Do fish live in water?": "yes",
    "Can a stone swim?": "no",
    "Is a whale a plant?": "no",
    "Is fire cold?": "no",
    "Do birds have wings?": "yes",
    "Is the moon made of cheese?": "no",
    "Is a dog an animal?": "yes",
    "Can humans breathe under water without help?": "no",
    "Is water wet?": "yes",
    "Do cats have five legs?": "no",
    "Is an apple a fruit?": "yes",
    "Does the earth go around the sun?": "yes",
    "Is seven an even number?": "no",
    "Is summer colder than winter?": "no",
}
WORDS = [
    "apple",
    "river",
    "stone",
    "garden",
    "window",
    "purple",
    "silver",
    "mountain",
    "kettle",
    "basket",
    "candle",
    "forest",
    "hammer",
    "island",
    "jacket",
    "ladder",
    "mirror",
    "needle",
    "orange",
    "pencil",
    "rabbit",
    "saddle",
    "tiger",
    "umbrella",
    "violin",
    "wagon",
    "anchor",
    "bottle",
    "carpet",
    "dragon",
    "engine",
    "flower",
    "guitar",
    "helmet",
    "lemon",
    "magnet",
    "noodle",
    "paper",
    "rocket",
    "spoon",
]
PLURALS = {
    "cat": "cats",
    "dog": "dogs",
    "box": "boxes",
    "city": "cities",
    "child": "children",
    "leaf": "leaves",
    "bus": "buses",
    "man": "men",
    "tree": "trees",
    "baby": "babies",
    "foot": "feet",
    "mouse": "mice",
    "knife": "knives",
    "car": "cars",
    "church": "churches",
    "woman": "women",
}
Item = TypeVar("Item")

Draft = tuple[str, str, str, Check]
"""Instruction, input, output, check."""


def instructions(*, per_sort: int, seed: int) -> tuple[InstructRow, ...]:
    """Return `per_sort` items of every sort, fewer where it has no more, and the SQL items."""
    chooser = random.Random(seed)  # noqa: S311 - reproducible, not secret
    rows = [
        InstructRow(
            id=f"{sort}-{number:02d}", instruction=text, input=given, output=output, check=check
        )
        for sort, make in SORTS.items()
        for number, (text, given, output, check) in zip(
            range(per_sort), make(chooser), strict=False
        )
    ]
    rows += sql_instructions()
    chooser.shuffle(rows)
    return tuple(rows)


def _repeat(chooser: random.Random) -> Iterator[Draft]:
    for words in _lists(chooser, words=3):
        text = " ".join(words)
        yield "Repeat exactly the following text and write nothing else.", text, text, Check.EXACT


def _uppercase(chooser: random.Random) -> Iterator[Draft]:
    for word in _shuffled(WORDS, chooser):
        yield "Write this word in capital letters only.", word, word.upper(), Check.EXACT


def _first_word(chooser: random.Random) -> Iterator[Draft]:
    for words in _lists(chooser, words=4):
        yield "Which is the first word of this list?", ", ".join(words), words[0], Check.CONTAINS


def _last_word(chooser: random.Random) -> Iterator[Draft]:
    for words in _lists(chooser, words=4):
        yield "Which is the last word of this list?", ", ".join(words), words[-1], Check.CONTAINS


def _facts(chooser: random.Random) -> Iterator[Draft]:
    for fact in _shuffled(FACTS, chooser):
        yield f"{fact} Answer yes or no.", "", FACTS[fact], Check.CONTAINS


def _next_day(chooser: random.Random) -> Iterator[Draft]:
    for day in _shuffled(DAYS, chooser):
        following = DAYS[(DAYS.index(day) + 1) % len(DAYS)]
        yield f"Which day comes after {day}?", "", following, Check.CONTAINS
    for month in _shuffled(MONTHS, chooser):
        following = MONTHS[(MONTHS.index(month) + 1) % len(MONTHS)]
        yield f"Which month comes after {month}?", "", following, Check.CONTAINS


def _next_number(chooser: random.Random) -> Iterator[Draft]:
    for number in _shuffled(range(2, 90), chooser):
        yield f"Which number comes after {number}?", "", str(number + 1), Check.CONTAINS


def _number_before(chooser: random.Random) -> Iterator[Draft]:
    for number in _shuffled(range(2, 90), chooser):
        yield f"Which number comes just before {number}?", "", str(number - 1), Check.CONTAINS


def _larger_number(chooser: random.Random) -> Iterator[Draft]:
    for left, right in _shuffled(permutations(range(10, 60), 2), chooser):
        text = f"Which number is larger, {left} or {right}? Answer with one number."
        yield text, "", str(max(left, right)), Check.EXACT


def _plural(chooser: random.Random) -> Iterator[Draft]:
    for word in _shuffled(PLURALS, chooser):
        yield f"What is the plural of “{word}”?", "", PLURALS[word], Check.CONTAINS


def _capital(chooser: random.Random) -> Iterator[Draft]:
    for country in _shuffled(CAPITALS, chooser):
        yield f"What is the capital of {country}?", "", CAPITALS[country], Check.CONTAINS


def _opposite(chooser: random.Random) -> Iterator[Draft]:
    for word in _shuffled(OPPOSITES, chooser):
        yield f"What is the opposite of “{word}”?", "", OPPOSITES[word], Check.CONTAINS


def _sum(chooser: random.Random) -> Iterator[Draft]:
    for left, right in _shuffled(product(range(1, 10), repeat=2), chooser):
        yield f"What is {left} + {right}?", "", str(left + right), Check.CONTAINS


def _difference(chooser: random.Random) -> Iterator[Draft]:
    for left, right in _shuffled(combinations(range(1, 12), 2), chooser):
        yield f"What is {right} - {left}?", "", str(right - left), Check.CONTAINS


def _shuffled(values: Iterable[Item], chooser: random.Random) -> list[Item]:
    items = list(values)
    chooser.shuffle(items)
    return items


def _lists(chooser: random.Random, *, words: int) -> Iterator[list[str]]:
    while True:
        yield chooser.sample(WORDS, words)


SORTS: dict[str, Callable[[random.Random], Iterator[Draft]]] = {
    "repeat": _repeat,
    "uppercase": _uppercase,
    "first-word": _first_word,
    "last-word": _last_word,
    "fact": _facts,
    "next-day": _next_day,
    "next-number": _next_number,
    "number-before": _number_before,
    "larger-number": _larger_number,
    "plural": _plural,
    "capital": _capital,
    "opposite": _opposite,
    "sum": _sum,
    "difference": _difference,
}

TABLES = {
    "books": (
        "CREATE TABLE books (title TEXT, author TEXT, year INTEGER, price REAL);"
        "INSERT INTO books VALUES ('Emma','Austen',1815,7.5),('Persuasion','Austen',1817,6.0),"
        "('Dracula','Stoker',1897,8.0),('Ulysses','Joyce',1922,12.5),('Dubliners','Joyce',1914,9);"
    ),
    "pets": (
        "CREATE TABLE pets (name TEXT, kind TEXT, age INTEGER);"
        "INSERT INTO pets VALUES ('Rex','dog',3),('Tom','cat',7),('Ida','cat',2),('Bo','dog',9),"
        "('Pip','bird',1);"
    ),
}
COLUMNS = {"books": "books(title, author, year, price)", "pets": "pets(name, kind, age)"}
QUESTIONS = (
    ("books", "Show all columns of all books.", "SELECT * FROM books"),
    ("books", "Show the title of every book.", "SELECT title FROM books"),
    ("books", "How many books are there?", "SELECT COUNT(*) FROM books"),
    ("books", "Show the titles by Austen.", "SELECT title FROM books WHERE author='Austen'"),
    ("books", "Show the titles of books after 1900.", "SELECT title FROM books WHERE year > 1900"),
    ("books", "What is the highest price?", "SELECT MAX(price) FROM books"),
    ("books", "What is the average price?", "SELECT AVG(price) FROM books"),
    ("books", "Show each author once.", "SELECT DISTINCT author FROM books"),
    ("books", "Show the titles, oldest book first.", "SELECT title FROM books ORDER BY year"),
    ("books", "Show title and price of every book.", "SELECT title, price FROM books"),
    ("books", "In which year was Dracula written?", "SELECT year FROM books WHERE title='Dracula'"),
    ("pets", "Show all columns of all pets.", "SELECT * FROM pets"),
    ("pets", "Show the name of every pet.", "SELECT name FROM pets"),
    ("pets", "How many pets are there?", "SELECT COUNT(*) FROM pets"),
    ("pets", "Show the names of all cats.", "SELECT name FROM pets WHERE kind='cat'"),
    ("pets", "Show the names of pets older than 5.", "SELECT name FROM pets WHERE age > 5"),
    ("pets", "What is the lowest age?", "SELECT MIN(age) FROM pets"),
    ("pets", "What is the sum of all ages?", "SELECT SUM(age) FROM pets"),
    ("pets", "How many pets of each kind?", "SELECT kind, COUNT(*) FROM pets GROUP BY kind"),
    ("pets", "Show the names in alphabetical order.", "SELECT name FROM pets ORDER BY name"),
)  # fmt: skip


def sql_instructions() -> list[InstructRow]:
    """Return the questions to be answered in SQL, each with its database."""
    return [
        InstructRow(
            id=f"sql-{number:02d}",
            instruction=f"Write one SQL query for the table {COLUMNS[table]}. {question}",
            output=query,
            check=Check.SQL,
            sql_schema=TABLES[table],
        )
        for number, (table, question, query) in enumerate(QUESTIONS)
    ]
