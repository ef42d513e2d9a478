"""Signed manifests on a real store: what is not exactly as it was written is never believed."""

import json
import threading
import time

import pytest

from greenlight.adapters import s3
from greenlight.adapters.set_store import S3SetStore
from greenlight.core.errors import (
    ConfigError,
    InputError,
    RefusedError,
    ResourceError,
    UnavailableError,
)
from greenlight.testing.backup_contract import REGION, a_check, a_set
from greenlight.testing.object_stores import store_process


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with store_process(tmp_path_factory.mktemp("a store")) as process:
        yield process


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    return a_secret(tmp_path_factory.mktemp("secrets") / "signing")


@pytest.fixture(scope="module")
def sets(process, secret):
    return S3SetStore(process.s3, region=REGION, signing_key_file=secret)


@pytest.fixture(scope="module")
def client(process):
    return s3.open_client(process.s3)


def a_secret(path, text="0123456789abcdef0123"):
    path.write_text(text)
    path.chmod(0o600)
    return path


def manifest(backup):
    return f"sets/{backup.id}/manifest.json"


def rewrite(client, store, name, change):
    s3.put(client, store, key=name, body=change(s3.get(client, store, key=name)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body.replace(b"0/3000060", b"0/3000061"), "was changed"),
        (lambda body: body[: len(body) // 2], "cut short"),
        (lambda body: b"", "cut short"),
        (lambda body: b"\xff" + body, "cut short or damaged"),
        (lambda body: b"[]", "no signed manifest"),
        (lambda body: json.dumps(json.loads(body)["manifest"]).encode(), "no signed manifest"),
        (lambda body: body.replace(b'"mlflow.public.runs"', b'"\\ud800"'), "damaged"),
    ],
)
def test_a_manifest_that_is_not_as_it_was_written_is_named(sets, client, process, change, said):
    backup = a_set(100)
    sets.delete(backup.id)
    sets.put(backup)
    rewrite(client, process.s3, manifest(backup), change)
    with pytest.raises(InputError, match=said) as refusal:
        sets.get(backup.id)
    assert manifest(backup) in str(refusal.value)
    assert backup.id in sets.ids()
    with pytest.raises(RefusedError):
        sets.put(backup)


def test_a_set_signed_with_another_key_is_not_ours(process, secret, sets, tmp_path):
    other = a_secret(tmp_path / "other", "another key altogether")
    S3SetStore(process.s3, region=REGION, signing_key_file=other).put(a_set(101))
    with pytest.raises(InputError, match="signed with another key"):
        sets.get(a_set(101).id)


def test_a_manifest_under_another_name_is_not_that_set(sets, client, process):
    sets.put(a_set(102))
    body = s3.get(client, process.s3, key=manifest(a_set(102)))
    s3.put(client, process.s3, key=manifest(a_set(103)), body=body)
    with pytest.raises(InputError, match=f"manifest of set {a_set(102).id}"):
        sets.get(a_set(103).id)


def test_a_check_that_is_not_of_this_set_here_proves_nothing(process, secret, sets, client):
    backup = a_set(104)
    sets.put_verification(a_check(backup))
    name = f"sets/{backup.id}/verification.json"
    body = s3.get(client, process.s3, key=name)
    s3.put(client, process.s3, key=name.replace(backup.id, a_set(105).id), body=body)
    assert sets.verification(a_set(105).id) is None
    elsewhere = S3SetStore(process.s3, region="b", signing_key_file=secret)
    assert elsewhere.verification(backup.id) is None
    rewrite(client, process.s3, name, lambda body: body.replace(b'"pass"', b'"fail"'))
    assert sets.verification(backup.id) is None
    sets.put_verification(a_check(backup))
    assert sets.verification(backup.id) == a_check(backup)


def test_of_two_writers_one_wins_and_the_other_is_told(sets):
    outcomes = []

    def write(number):
        try:
            sets.put(a_set(106, lsn=f"0/{number}"))
            outcomes.append(f"0/{number}")
        except RefusedError:
            outcomes.append(None)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (won,) = [lsn for lsn in outcomes if lsn]
    assert len(outcomes) == 4
    assert sets.get(a_set(106).id).point.lsn == won


def test_wrong_keys_and_plain_text_are_settings_to_change(process, secret, tmp_path):
    other = a_secret(tmp_path / "other")
    wrong = process.s3.model_copy(update={"secret_key_file": other})
    with pytest.raises(ConfigError, match="does not let us in"):
        S3SetStore(wrong, region=REGION, signing_key_file=secret).ids()
    unknown = process.s3.model_copy(update={"ca_file": None})
    with pytest.raises(ConfigError, match="does not vouch for"):
        S3SetStore(unknown, region=REGION, signing_key_file=secret).ids()


def test_a_store_that_is_silent_away_or_full_says_so_in_seconds(process, sets):
    sets.put(a_set(107))
    process.freeze()
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        sets.get(a_set(107).id)
    assert time.monotonic() - began < 15
    process.thaw()
    assert sets.get(a_set(107).id) == a_set(107)
    process.kill()
    with pytest.raises(UnavailableError):
        sets.put(a_set(108))
    process.start(full=True)
    with pytest.raises(ResourceError, match="takes nothing more"):
        sets.put(a_set(108))
    assert sets.get(a_set(107).id) == a_set(107)
