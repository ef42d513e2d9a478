import json
from pathlib import Path

import pytest

from greenlight.adapters.expectations import ValidationReport, validate
from greenlight.core.digest import digest_bytes
from greenlight.core.errors import InputError
from greenlight.quantize.jobs import Dataset, DatasetKind

TEXT, CHOICE, INSTRUCT = DatasetKind


def a_set(folder: Path, kind: DatasetKind, *rows: dict) -> Dataset:
    data = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    path = folder / "data.jsonl"
    path.write_bytes(data)
    return Dataset(
        name="notes", version="1", kind=kind, licence="mit", source="test", rows=len(rows),
        digest=digest_bytes(data), path=path,
    )  # fmt: skip


@pytest.fixture
def check(tmp_path):
    def check(kind: DatasetKind, *rows: dict, lengths=None) -> ValidationReport:
        dataset = a_set(tmp_path, kind, *rows)
        return validate(dataset, lengths=lengths, docs=tmp_path / "docs")

    return check


def a_text(name="a", text="Some plain words.", **other) -> dict:
    return {"id": name, "text": text} | other


def a_choice(name="a", **other) -> dict:
    return {"id": name, "question": "Why?", "choices": ["1", "2", "3", "4"], "answer": 0} | other


def an_instruction(name="a", **other) -> dict:
    return {"id": name, "instruction": f"Say {name}.", "input": "", "output": "yes"} | other


def test_good_sets_pass_and_leave_their_docs(check):
    for kind, row in ((TEXT, a_text()), (CHOICE, a_choice()), (INSTRUCT, an_instruction())):
        report = check(kind, row, lengths=[10])
        assert (report.success, report.problems, report.warnings) == (True, (), ())
        assert "notes-1" in report.docs.read_text()


BAD = [
    (TEXT, [{"id": "a"}], "its fields must be id, text"),
    (TEXT, [a_text(note="x")], "its fields must be id, text"),
    (TEXT, [a_text("b"), a_text(None, "Others.")], "1 of 2 rows have no id: line 2"),
    (TEXT, [a_text("b", None)], "1 of 1 rows have no text: b"),
    (TEXT, [a_text(text=5)], "1 of 1 rows have a text that is not text: a"),
    (TEXT, [a_text(text=" \n")], "1 of 1 rows have an empty text: a"),
    (TEXT, [a_text(), a_text(text="Others.")], "2 of 2 rows share their id with another: a"),
    (TEXT, [a_text(), a_text("b", "some plain  WORDS.")], "2 of 2 rows say the same as another"),
    (TEXT, [a_text(text="caf\ufffd")], "1 of 1 rows hold damaged text"),
    (TEXT, [a_text(text="文字文字")], "1 of 1 rows have fewer than 50% ASCII letters"),
    (CHOICE, [a_choice(choices=["1", "2", "3"])], "1 of 1 rows have more or fewer than 4 choices"),
    (CHOICE, [a_choice(choices="1234")], "1 of 1 rows have more or fewer than 4 choices"),
    (CHOICE, [a_choice(answer=4)], "1 of 1 rows have an answer that is not 0 to 3"),
    (CHOICE, [a_choice(choices=["1", "", "3", "4"])], "1 of 1 rows have an empty choice 2"),
    (CHOICE, [a_choice(choices=["1", "1", "3", "4"])], "1 of 1 rows offer the same choice twice"),
    (INSTRUCT, [an_instruction(output=" ")], "1 of 1 rows have an empty output"),
    (INSTRUCT, [an_instruction(check="fuzzy")], "1 of 1 rows have a check that is not exact"),
    (
        INSTRUCT,
        [an_instruction(), an_instruction("b", instruction="say A.", output="no")],
        "2 of 2 rows say the same as another",
    ),
    (
        INSTRUCT,
        [an_instruction(), an_instruction("b", check="sql", schema="", output="SELECT nothing")],
        "1 of 2 rows have SQL that does not run on SQLite: b",
    ),
    (INSTRUCT, [an_instruction(schema="CREATE TABLE t (a)")], "have SQL that does not run"),
]


@pytest.mark.parametrize(("kind", "rows", "said"), BAD)
def test_every_expectation_can_fail_and_says_which_rows(check, kind, rows, said):
    report = check(kind, *rows)
    assert not report.success
    assert any(said in problem for problem in report.problems), report.problems


def test_sql_that_runs_is_fine(check):
    row = an_instruction(check="sql", schema="CREATE TABLE t (a);", output="SELECT a FROM t")
    assert check(INSTRUCT, row, an_instruction("b")).problems == ()


def test_lengths_in_tokens_have_bounds(check):
    rows = [an_instruction("a"), an_instruction("b"), an_instruction("c")]
    (problem,) = check(INSTRUCT, *rows, lengths=[0, 10, 5000]).problems
    assert problem == "2 of 3 rows have fewer than 1 or more than 1024 tokens: a, c"


def test_lengths_of_other_rows_are_refused(check):
    with pytest.raises(InputError, match="has 1 rows, but 2 lengths"):
        check(TEXT, a_text(), lengths=[1, 2])


def test_personal_data_warns_refuses_nothing_and_is_not_copied_into_the_docs(check):
    report = check(
        TEXT,
        a_text("a", "Write to ada@example.com."),
        a_text("b", "Call +44 20 7946 0958."),
        a_text("c", "Card 4111 1111 1111 1111."),
        a_text("d", "Key AKIAABCDEFGHIJKLMNOP."),
    )
    assert (report.success, report.problems) == (True, ())
    assert report.warnings == (
        "1 of 4 rows may hold e-mail addresses: a",
        "1 of 4 rows may hold telephone numbers: b",
        "1 of 4 rows may hold payment card numbers: c",
        "1 of 4 rows may hold keys or tokens: d",
    )
    pages = "".join(page.read_text() for page in report.docs.parent.rglob("*.html"))
    secrets = ("ada@example.com", "7946 0958", "4111 1111", "AKIAABCDEFGHIJKLMNOP")
    assert [secret for secret in secrets if secret in pages] == []


def test_many_rows_are_counted_and_the_first_ones_named(check):
    report = check(TEXT, *(a_text(f"r{n}", f"{n}\x00") for n in range(8)))
    (problem,) = report.problems
    assert problem.startswith("8 of 8 rows hold damaged text")
    assert problem.endswith(": r0, r1, r2, r3, r4 and 3 more")


def test_a_rerun_replaces_the_docs(check):
    check(TEXT, a_text(text="\ufffd"))
    report = check(TEXT, a_text())
    assert len(list(report.docs.parent.glob("validations/**/*.html"))) == 1
    assert [path.name for path in report.docs.parent.parent.iterdir() if path.is_dir()] == ["docs"]


def test_an_empty_or_edited_file_is_refused_before_anything_is_checked(tmp_path):
    with pytest.raises(InputError, match="holds no row"):
        validate(a_set(tmp_path, TEXT), lengths=None, docs=tmp_path / "docs")
    dataset = a_set(tmp_path, TEXT, a_text())
    dataset.path.write_text(json.dumps(a_text(text="edited")))
    with pytest.raises(InputError, match="was registered with digest"):
        validate(dataset, lengths=None, docs=tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize("data", [b"{oops\n", b"\xff\n", b"[1]\n"])
def test_what_is_not_jsonl_is_refused(tmp_path, data):
    dataset = a_set(tmp_path, TEXT, a_text())
    dataset.path.write_bytes(data)
    with pytest.raises(InputError, match=r"isn't JSONL|must be an object"):
        validate(
            dataset.model_copy(update={"digest": digest_bytes(data)}),
            lengths=None,
            docs=tmp_path / "docs",
        )
