"""What pgBackRest's `info` says, as pgBackRest 2.45 said it."""

import json
from datetime import UTC, datetime

import pytest

from greenlight.adapters.pgbackrest.info import parse_info
from greenlight.backup.sets import BackupKind
from greenlight.core.errors import UnavailableError

FULL, FIRST, SECOND = (
    "20261125-194912F",
    "20261125-194912F_20261125-194919I",
    "20261125-194912F_20261125-194959I",
)


def backup(label, *, prior=None, mark=None, error=False):
    found = {
        "archive": {"start": "000000010000000000000009", "stop": "00000001000000000000000A"},
        "backrest": {"format": 5, "version": "2.45"},
        "database": {"id": 1, "repo-key": 1},
        "error": error,
        "info": {
            "delta": 82444554,
            "repository": {"delta": 35660224, "size": 38455968},
            "size": 104846636,
        },
        "label": label,
        "lsn": {"start": "0/9000028", "stop": "0/A000100"},
        "prior": prior,
        "reference": [FULL] if prior else None,
        "timestamp": {"start": 1795636159, "stop": 1795636164},
        "type": "incr" if prior else "full",
    }
    return found | ({"annotation": {"mark": mark}} if mark else {})


def info(*backups, code=0, message="ok"):
    stanza = {
        "archive": [
            {
                "database": {"id": 1, "repo-key": 1},
                "id": "15-1",
                "max": "000000010000000000000017",
                "min": "000000010000000000000001",
            }
        ],
        "backup": list(backups),
        "cipher": "aes-256-cbc",
        "db": [{"id": 1, "repo-key": 1, "system-id": 7712198453136804842, "version": "15"}],
        "name": "main",
        "repo": [{"cipher": "aes-256-cbc", "key": 1, "status": {"code": code, "message": message}}],
        "status": {"code": code, "lock": {"backup": {"held": False}}, "message": message},
    }
    return json.dumps([stanza])


def test_a_copy_is_told_with_its_times_sizes_and_mark():
    (found,) = parse_info(info(backup(FULL, mark="20261125T194900Z"))).copies
    assert found.copy.label == FULL
    assert found.copy.kind is BackupKind.FULL
    assert found.copy.mark == "20261125T194900Z"
    assert found.copy.began_at == datetime(2026, 11, 25, 19, 49, 19, tzinfo=UTC)
    assert found.copy.ended_at == datetime(2026, 11, 25, 19, 49, 24, tzinfo=UTC)
    assert (found.copy.stored_bytes, found.copy.database_bytes) == (35660224, 104846636)
    assert (found.archive, found.first[-2:], found.last[-2:]) == ("15-1", "09", "0A")
    assert not found.has_bad_pages


def test_an_incremental_copy_needs_all_before_it_and_not_only_those_with_files_of_it():
    listing = parse_info(info(backup(FULL), backup(FIRST, prior=FULL), backup(SECOND, prior=FIRST)))
    second = listing.find(SECOND)
    assert second is not None
    assert second.copy.kind is BackupKind.INCREMENTAL
    assert second.copy.needs == (FULL, FIRST)
    assert second.copy.mark is None
    assert listing.find("20200101-000000F") is None


def test_pages_that_did_not_fit_their_checksums_are_told():
    (found,) = parse_info(info(backup(FULL, error=True))).copies
    assert found.has_bad_pages


@pytest.mark.parametrize(
    ("code", "message"), [(1, "missing stanza path"), (2, "no valid backups"), (3, "missing")]
)
def test_a_repository_that_holds_nothing_yet_has_no_copies(code, message):
    assert parse_info(info(code=code, message=message)) == parse_info(info())


def test_a_repository_that_could_not_be_read_is_not_an_empty_one():
    listing = parse_info(info(code=99, message="[CryptoError] unable to flush"))
    assert listing.problem == "[CryptoError] unable to flush"


def test_a_message_may_quote_whatever_was_read():
    text = info(code=99, message="[FormatError] line 1: @")
    assert parse_info(text.replace("@", "\x01\ufffd")).problem == "[FormatError] line 1: \x01\ufffd"


@pytest.mark.parametrize("text", ["", "[]", "{", '[{"name":"main"}]', "[1]"])
def test_another_answer_is_not_understood(text):
    with pytest.raises(UnavailableError, match="something unknown"):
        parse_info(text)
