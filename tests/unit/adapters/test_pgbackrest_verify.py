"""What pgBackRest's `verify` found, in the words of 2.45 about repositories that were harmed."""

from datetime import UTC, datetime

import pytest

from greenlight.adapters.pgbackrest.info import ListedCopy
from greenlight.adapters.pgbackrest.verify import parse_verify
from greenlight.backup.ports import DatabaseCopy
from greenlight.backup.sets import BackupKind
from greenlight.core.errors import UnavailableError

FULL = "20261125-194912F"
INCR = "20261125-194912F_20261125-194919I"
NEWER = "20261125-200000F"
SEGMENT = (
    "15-1/0000000100000000/0000000100000000000000{}-bff0341c72ac075598c020902151b14a29d089f0.zst"
)
COUNTS = "    missing: 0, checksum invalid: 0, size invalid: 0, other: 0"
BEGIN = "INFO: verify command begin 2.45: --config=/x --output=text --repo1-cipher-pass=<redacted>"
END = 'DETAIL: statistics: {"http.client":{"total":1}}\nINFO: verify command end: completed'
AT = datetime(2026, 11, 25, tzinfo=UTC)


def listed(label, *needs, first=9, last=9):
    copy = DatabaseCopy(
        label=label,
        kind=BackupKind.INCREMENTAL if needs else BackupKind.FULL,
        mark=None,
        began_at=AT,
        ended_at=AT,
        needs=needs,
        stored_bytes=1,
        database_bytes=1,
    )
    return ListedCopy(
        copy=copy, archive="15-1", first=seg(first), last=seg(last), has_bad_pages=False
    )


def seg(number):
    return f"0000000100000000{number:08X}"


def answer(*, copies=None, wal=(45, 45), status="ok"):
    """Return the report on standard output; `copies`: states by label, with good of all files."""
    lines = ["stanza: main", f"status: {status}"]
    lines += [f"  archiveId: 15-1, total WAL checked: {wal[0]}, total valid WAL: {wal[1]}", COUNTS]
    for label, (state, good) in (copies or dict.fromkeys((FULL, INCR), ("valid", 970))).items():
        every = 0 if state == "manifest missing" else 970
        lines.append(
            f"  backup: {label}, status: {state}, total files checked: {every}, "
            f"total valid files: {min(good, every)}"
        )
        lines += [COUNTS] if every else []
    return "\n".join(lines) + "\n"


def log(*lines, runs=((1, 0x2D),)):
    found = [
        f"DETAIL: archiveId: 15-1, wal start: {seg(first)}, wal stop: {seg(last)}"
        for first, last in runs
    ]
    return "\n".join([BEGIN, *lines, *found, "INFO: stanza: main", "      status: ok", END]) + "\n"


def findings(answer_, log_, *, of=None):
    return parse_verify(answer_, log_).findings(of or listed(INCR, FULL))


def test_nothing_is_found_in_a_whole_repository():
    assert findings(answer(), log()) == ()


def test_a_damaged_file_of_a_needed_copy_is_named():
    told = answer(copies={FULL: ("invalid", 969), INCR: ("valid", 970)}, status="error")
    found = findings(told, log(f"INFO: invalid checksum '{FULL}/pg_data/base/1/2659.zst'"))
    assert found == (
        f"copy {FULL} is invalid",
        f"{FULL}/pg_data/base/1/2659.zst: invalid checksum",
    )


def test_damage_in_a_copy_that_is_not_needed_is_not_counted():
    told = answer(
        copies={FULL: ("valid", 970), INCR: ("valid", 970), NEWER: ("invalid", 9)}, status="error"
    )
    text = log(f"INFO: file missing '{NEWER}/pg_data/base/5/16384.zst'")
    assert findings(told, text) == ()
    assert findings(told, text, of=listed(NEWER)) != ()


@pytest.mark.parametrize("state", ["invalid", "manifest missing", "in-progress", "unheard of"])
def test_only_the_state_valid_is_good(state):
    told = answer(copies={FULL: (state, 970), INCR: ("valid", 970)})
    assert findings(told, log()) == (f"copy {FULL} is {state}",)


def test_a_valid_copy_with_fewer_good_files_than_files_is_not_good():
    told = answer(copies={FULL: ("valid", 969), INCR: ("valid", 970)})
    assert findings(told, log()) == (f"copy {FULL} is valid but for 1 files",)


def test_a_copy_that_is_not_reported_on_is_missing():
    told = answer(copies={INCR: ("valid", 970)})
    assert findings(told, log()) == (f"copy {FULL} is not in the repository",)


def test_a_gap_in_the_log_is_found_though_the_report_says_ok():
    found = findings(answer(wal=(44, 44)), log(runs=[(1, 0x0F), (0x11, 0x2D)]))
    assert found == (f"the log lacks {seg(0x10)}",)


def test_a_log_that_ends_before_the_copy_does_is_found():
    assert findings(answer(), log(runs=[(1, 8)])) == (f"the log lacks {seg(9)}",)
    assert findings(answer(), log(runs=[])) == (f"the log lacks {seg(9)}",)


def test_a_log_that_does_not_reach_the_restore_point_is_found():
    report = parse_verify(answer(), log(runs=[(1, 12)]))
    assert report.findings(listed(FULL), until=seg(12)) == ()
    assert report.findings(listed(FULL), until=seg(8)) == ()
    assert report.findings(listed(FULL), until=seg(13)) == (f"the log lacks {seg(13)}",)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (f"INFO: invalid checksum '{SEGMENT.format('10')}'", "invalid checksum"),
        (f"WARN: file missing '{SEGMENT.format('10')}'", "file missing"),
        (
            f"INFO: invalid result {SEGMENT.format('10')}: [95] raised from local-2 protocol: "
            "unable to flush\n      [CryptoError] on retry after 0ms",
            "unreadable (raised from local-2 protocol: unable to flush)",
        ),
    ],
)
def test_a_damaged_segment_after_the_copy_is_named(line, what):
    found = findings(answer(wal=(45, 44), status="error"), log(line))
    assert found == (f"{SEGMENT.format('10')}: {what}",)


def test_a_damaged_segment_before_the_copy_is_not_its_business():
    line = f"INFO: invalid checksum '{SEGMENT.format('05')}'"
    assert findings(answer(wal=(45, 44), status="error"), log(line)) == ()


def test_a_damaged_segment_that_is_not_named_counts():
    found = findings(answer(wal=(45, 44), status="error"), log())
    assert found == ("1 segments of the log are damaged, and verify doesn't say which",)


def test_a_store_that_stops_answering_says_nothing_of_its_objects():
    line = f"INFO: invalid result {SEGMENT.format('10')}: [49] unable to connect to 'h:1'"
    with pytest.raises(UnavailableError, match="could not be read"):
        parse_verify(answer(wal=(45, 44), status="error"), log(line))


def test_a_manifest_that_is_only_there_as_a_copy_is_found():
    garbage = 'DETAIL: invalid JSON value at line 527 \'pg_data/x={"bni":1,\x01\n`\nx"cdaad"}\''
    line = f"DETAIL: {FULL}/backup.manifest is missing or unusable, using copy"
    found = findings(answer(), log(garbage, line))
    assert found == (f"verify says: {FULL}/backup.manifest is missing or unusable, using copy",)
    assert findings(answer(copies={NEWER: ("valid", 1)}), log(garbage, line), of=listed(NEWER)) == (
        f"copy {NEWER} is valid but for 969 files",
    )


def test_a_damaged_index_concerns_every_copy():
    line = f'DETAIL: invalid JSON value at line 9 \'{NEWER}={{"backrest-format":5,"aH'
    (found,) = findings(answer(), log(line))
    assert found.startswith("verify says: invalid JSON value at line 9")


def test_a_copy_in_the_making_and_its_missing_manifest_are_nothing_to_worry_about():
    lines = [
        f"DETAIL: unable to open missing file '/p/backup/main/{NEWER}/backup.manifest' for read",
        f"INFO: backup '{NEWER}' appears to be in progress, skipping",
    ]
    assert findings(answer(), log(*lines)) == ()


@pytest.mark.parametrize(
    "line",
    [
        "  No usable backup.info file",
        "archive and backup history lists do not match",
        "    no archives or backups exist in the repo",
        "  backup: 20261125-194912F, status: valid",
    ],
)
def test_words_that_are_not_known_count_against_the_copy(line):
    found = findings(answer() + line + "\n", log())
    assert found == (f"verify said what isn't understood: {line.strip()}",)


def test_an_error_that_nothing_explains_counts_against_every_copy():
    assert findings(answer(status="error"), log()) == (
        "verify reports an error, and doesn't say which",
    )


def test_no_report_is_no_good_report():
    assert "verify reported nothing" in findings("", "")
    assert "verify reported nothing" in findings("", log())
