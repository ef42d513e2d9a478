"""Which of our errors pgBackRest's words become; the words are pgBackRest 2.45's."""

from pathlib import Path

import pytest

from greenlight.adapters.pgbackrest.failures import failure, failure_of
from greenlight.core.errors import (
    ConfigError,
    InputError,
    ProcessDiedError,
    RefusedError,
    ResourceError,
    UnavailableError,
)

INFO = "/pgbackrest/backup/main/backup.info"
WRONG_KEY = f"""\
WARN: something else first
ERROR: [095]: unable to load info file '{INFO}' or '{INFO}.copy':
       CryptoError: unable to flush
       HINT: is or was the repo encrypted?
       CryptoError: unable to flush
       HINT: has a stanza-create been performed?
"""
GARBLED = f"""\
ERROR: [029]: unable to load info file '{INFO}' or '{INFO}.copy':
       FormatError: key/value found outside of section at line 1: \x01\x7f
"""
AWAY = f"""\
ERROR: [049]: unable to load info file '{INFO}' or '{INFO}.copy':
       HostConnectError: unable to connect to 'localhost:41006': [111] Connection refused
       HINT: has a stanza-create been performed?
"""
FORBIDDEN = """\
ERROR: [039]: HTTP request failed with 403 (Forbidden):
       *** Path/Query ***:
       GET /bucket/?list-type=2
       *** Response Content ***:
       <?xml version="1.0" encoding="UTF-8"?>
       <Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>
"""
EXPIRE = f"""\
ERROR: [029]: repo1: unable to load info file '{INFO}' or '{INFO}.copy':
       FormatError: key/value found outside of section at line 1: x
ERROR: [104]: expire command encountered 1 error(s), check the log file for details
"""
LOCKED = """\
ERROR: [050]: unable to acquire lock on file '/lock/main-backup.lock': Resource temporarily \
unavailable
       HINT: is another pgBackRest process running?
"""
OTHER = """\
ERROR: [028]: backup and archive info files exist but do not match the database
       HINT: is this the correct stanza?
"""
NOT_MADE = f"""\
ERROR: [055]: unable to load info file '{INFO}' or '{INFO}.copy':
       FileMissingError: unable to open missing file '{INFO}' for read
       HINT: has a stanza-create been performed?
"""
DISK = "ERROR: [064]: unable to write '/data/base/1': [28] No space left on device\n"
LATE = "ERROR: [082]: WAL segment 00000001000000000000002B was not archived before the 60000ms\n"
BROKEN = "ERROR: [026]: error restoring '/data/base/1/2': actual checksum 'a' does not match 'b'\n"
GONE = "ERROR: [055]: unable to open missing file '/pgbackrest/backup/main/x/base/1' for read\n"
SERVER_ERROR = "ERROR: [101]: HTTP request failed with 503 (Slow Down):\n"
CERTIFICATE = "ERROR: [095]: unable to find hostname 'h' in certificate common name or subject\n"


NO_SERVER = """\
WARN: unable to check pg1: [DbConnectError] unable to connect to 'port=1': No such file
ERROR: [027]: no database found
"""


@pytest.mark.parametrize(
    ("code", "said", "error", "match"),
    [
        (27, NO_SERVER, UnavailableError, r"the server can't be asked: unable to connect"),
        (95, WRONG_KEY, ConfigError, r"unable to flush; /the/file isn't the passphrase"),
        (29, GARBLED, ConfigError, r"line 1; /the/file isn't the passphrase"),
        (104, EXPIRE, ConfigError, r"isn't the passphrase"),
        (49, AWAY, UnavailableError, r"Connection refused$"),
        (39, FORBIDDEN, ConfigError, r"403 \(Forbidden\): \(SignatureDoesNotMatch\); check bucket"),
        (101, SERVER_ERROR, UnavailableError, r"503"),
        (50, LOCKED, RefusedError, r"another pgBackRest works on this cluster"),
        (28, OTHER, RefusedError, r"copies of another cluster"),
        (55, NOT_MADE, RefusedError, r"not made yet"),
        (64, DISK, ResourceError, r"No space left on device; make room"),
        (82, LATE, UnavailableError, r"was not archived"),
        (26, BROKEN, InputError, r"actual checksum"),
        (55, GONE, InputError, r"missing file"),
        (95, CERTIFICATE, ConfigError, r"check endpoint and ca_file"),
        (31, "ERROR: [031]: option 'x' not valid\n", ConfigError, r"option 'x'"),
        (40, "ERROR: [040]: directory not empty\n", RefusedError, r"not empty"),
        (137, "", ProcessDiedError, r"it said nothing"),
        (25, "ERROR: [025]: an assertion\n", ProcessDiedError, r"an assertion"),
    ],
)
def test_the_error_says_what_to_do(code, said, error, match):
    found = failure(code, said, doing="region a: x", passphrase=Path("/the/file"))
    assert type(found) is error
    assert str(found).startswith("region a: x: ")
    with pytest.raises(error, match=match):
        raise found


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            "[HostConnectError] unable to connect to 'h:1': [111] Connection refused",
            UnavailableError,
        ),
        (f"[CryptoError] unable to load info file '{INFO}'", ConfigError),
        (f"[FormatError] unable to load info file '{INFO}'", ConfigError),
        ("[ProtocolError] HTTP request failed with 404 (Not Found):", ConfigError),
        ("[NeverHeardOfError] x", ProcessDiedError),
        ("no kind", ProcessDiedError),
    ],
)
def test_a_message_that_names_its_kind_becomes_the_same_error(message, error):
    assert type(failure_of(message, doing="x", passphrase=Path("f"))) is error
