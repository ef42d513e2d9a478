import pytest

from greenlight.adapters.restic.output import Ended, asks_in_vain

ASKED = (
    "Load(<data/67998fca3e>, 9001256, 0) returned error, retrying after 552.330144ms: "
    "The specified key does not exist."
)
LOCKED = """\
unable to create lock in backend: repository is already locked by PID 18840 on vm by root (UID 0)
lock was created at 2026-11-25 19:52:39 (2.897284452s ago)
storage ID b07e4750
the `unlock` command can be used to remove stale locks
"""


def ended(stderr, *, code=1, stdout=""):
    return Ended(code=code, stdout=stdout, stderr=stderr)


@pytest.mark.parametrize(
    "said",
    [
        "Pack ID does not match, want 67998fca, got faa3a565",
        "pack 67998fca: unexpected file size: got 4500628, expected 9001256",
        "pack 67998fca: does not exist",
        "error: load <snapshot/a115a71bf3>: invalid data returned",
        "Fatal: config or key d1780644 is damaged: ciphertext verification failed",
        "Fatal: Unmarshal: unexpected end of JSON input",
        "id d463b3cb not found in repository",
    ],
)
def test_damage_is_known_by_its_words(said):
    assert ended(said).damage == (said.removeprefix("Fatal: "),)


def test_whatever_is_said_of_a_repository_with_errors_is_damage():
    words = "words of a later version\nFatal: repository contains errors\n"
    assert ended(words).damage == ("words of a later version",)
    assert ended("words of a later version\n").damage == ()


def test_a_store_that_does_not_answer_is_no_damage():
    said = (
        "pack 67: failed to download: StreamPack: dial tcp 127.0.0.1:1: connect: connection refused"
    )
    assert ended(f"{said}\nFatal: repository contains errors\n").damage == ()


def test_what_was_asked_again_counts_only_when_it_was_in_vain():
    assert ended(ASKED).complaints == ()
    assert ended(ASKED, code=None).complaints == (
        "data/67998fca3e: The specified key does not exist.",
    )


def test_one_object_is_asked_for_a_few_times_and_a_lock_only_once():
    other = ASKED.replace("67998fca3e", "11118fca3e")
    assert not asks_in_vain("\n".join([ASKED] * 5 + [other] * 5))
    assert asks_in_vain("\n".join([ASKED] * 6))
    lock = "Save(<lock/6799>) returned error, retrying after 1s: client.PutObject: no"
    assert asks_in_vain(lock)
    assert ended(lock, code=None).could_not_lock


def test_who_holds_the_repository_is_named():
    found = ended(LOCKED)
    assert found.locked == (
        "repository is already locked by PID 18840 on vm by root (UID 0), "
        "lock was created at 2026-11-25 19:52:39 (2.897284452s ago)"
    )
    assert ended(LOCKED, code=0).locked is None


def test_a_stack_trace_is_no_complaint():
    trace = (
        "id d4 not found in repository\ngithub.com/restic/restic/x\n\t/x.go:256\nruntime.goexit\n"
    )
    assert ended(trace).complaints == ("id d4 not found in repository",)
