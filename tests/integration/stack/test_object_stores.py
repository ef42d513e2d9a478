"""The S3 that stands for a region, for real: who gets in, what stays, what a kill leaves."""

import os
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from botocore.exceptions import BotoCoreError, ClientError, SSLError

from greenlight.adapters.old_versions import Removed, remove_old_versions
from greenlight.adapters.s3 import open_client
from greenlight.adapters.stack.object_store import (
    SOCKETS,
    make_bucket,
    why_not_ready,
)
from greenlight.testing.object_stores import object_store, store_process
from greenlight.testing.slow_links import slow_link

ENOUGH = 20
"""Objects, of 1 kB to 1 MB."""


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """A store whose objects stay locked for a day, somewhere no socket's path could reach."""
    folder = tmp_path_factory.mktemp("a folder, with spaces") / ("long " * 40)
    folder.mkdir()
    with store_process(folder, lock_days=1) as running:
        yield running


@pytest.fixture
def store(process):
    return process.s3


def refusal(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def test_what_was_put_comes_back(store):
    s3, body = open_client(store), os.urandom(9_000_000)
    s3.put_object(Bucket=store.bucket, Key="models/weights", Body=body)
    assert s3.get_object(Bucket=store.bucket, Key="models/weights")["Body"].read() == body


def test_wrong_keys_are_refused(store, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not the secret")
    stranger = store.model_copy(update={"secret_key_file": wrong})
    assert refusal(open_client(stranger).list_buckets) == "SignatureDoesNotMatch"
    assert "SignatureDoesNotMatch" in why_not_ready(stranger)


def test_nobody_gets_in_without_keys(store):
    trusted = ssl.create_default_context(cafile=store.ca_file)
    answer = httpx.get(f"{store.endpoint}/{store.bucket}", verify=trusted, trust_env=False)
    assert answer.status_code == httpx.codes.FORBIDDEN


def test_http_is_refused(store):
    plain = store.endpoint.replace("https", "http")
    assert httpx.get(plain, trust_env=False).status_code == httpx.codes.BAD_REQUEST


def test_a_server_that_another_authority_vouches_for_is_not_spoken_to(store, tmp_path):
    with object_store(tmp_path, region="b") as other:
        deceived = store.model_copy(update={"ca_file": other.ca_file})
        with pytest.raises(SSLError, match="certificate verify failed"):
            open_client(deceived).list_buckets()


def test_no_other_port_gives_or_takes_anything_without_a_token(process):
    """Everybody with an account on the machine reaches these ports."""
    not_found, unauthorized = httpx.codes.NOT_FOUND, httpx.codes.UNAUTHORIZED
    for name, path, refused in (
        ("master", "/dir/assign", not_found),
        ("master", "/dir/lookup?fileId=1,01637037d6", not_found),
        ("filer", "/buckets/", not_found),
        ("volume", "/1,01637037d6", unauthorized),
    ):
        url = f"http://127.0.0.1:{getattr(process.inner, name)}{path}"
        for method in ("GET", "DELETE"):
            assert httpx.request(method, url, trust_env=False).status_code == refused


@pytest.mark.parametrize("name", ["master", "volume", "filer", "s3"])
def test_the_inner_doors_want_a_certificate_of_ours(process, name):
    context = ssl.create_default_context(cafile=process.s3.ca_file)
    context.set_alpn_protocols(["h2"])
    address = ("127.0.0.1", getattr(process.inner, f"{name}_grpc"))
    with (
        socket.create_connection(address, timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as secured,
        pytest.raises(ssl.SSLError, match="certificate required"),
    ):
        secured.recv(1)


def test_every_version_is_kept(store):
    s3 = open_client(store)
    assert s3.get_bucket_versioning(Bucket=store.bucket)["Status"] == "Enabled"
    for body in (b"old", b"new"):
        s3.put_object(Bucket=store.bucket, Key="versions", Body=body)
    s3.delete_object(Bucket=store.bucket, Key="versions")
    found = s3.list_object_versions(Bucket=store.bucket, Prefix="versions")
    kept = [
        s3.get_object(Bucket=store.bucket, Key="versions", VersionId=version["VersionId"])
        for version in found["Versions"]
    ]
    assert {version["Body"].read() for version in kept} == {b"old", b"new"}


def test_a_locked_version_cannot_be_deleted_nor_its_bucket(store):
    s3 = open_client(store)
    version = s3.put_object(Bucket=store.bucket, Key="locked", Body=b"x")["VersionId"]
    one = {"Bucket": store.bucket, "Key": "locked", "VersionId": version}
    assert refusal(s3.delete_object, **one) == "AccessDenied"
    assert refusal(s3.delete_object, **one, BypassGovernanceRetention=True) == "AccessDenied"
    assert refusal(s3.delete_bucket, Bucket=store.bucket) == "BucketNotEmpty"
    assert s3.get_object(**one)["Body"].read() == b"x"


def test_without_days_nothing_is_locked(tmp_path):
    with object_store(tmp_path) as store:
        s3 = open_client(store)
        version = s3.put_object(Bucket=store.bucket, Key="free", Body=b"x")["VersionId"]
        s3.delete_object(Bucket=store.bucket, Key="free", VersionId=version)
        assert "Versions" not in s3.list_object_versions(Bucket=store.bucket)
        make_bucket(store, lock_days=2)
        make_bucket(store, lock_days=0)
        configured = s3.get_object_lock_configuration(Bucket=store.bucket)
        assert configured["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}


def test_what_was_deleted_is_given_back_and_what_counts_or_is_locked_stays(tmp_path):
    with object_store(tmp_path) as store:
        s3, where = open_client(store), {"Bucket": store.bucket}
        for key in ("deleted", "kept", "kept", "locked"):
            s3.put_object(**where, Key=key, Body=b"x" * 1000)
        until = datetime.now(UTC) + timedelta(days=1)
        s3.put_object_retention(
            **where, Key="locked", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until}
        )
        s3.delete_objects(**where, Delete={"Objects": [{"Key": "deleted"}, {"Key": "locked"}]})
        assert remove_old_versions(store, before=until - timedelta(days=2)).versions == 0
        assert remove_old_versions(store, before=until) == Removed(versions=3, bytes=2000)
        left = s3.list_object_versions(**where)
        assert [(v["Key"], v["IsLatest"]) for v in left["Versions"]] == [
            ("kept", True),
            ("locked", False),
        ]
        assert [marker["Key"] for marker in left["DeleteMarkers"]] == ["locked"]


def put_until_killed(process, prefix):
    """Write until the store is killed, and return what it acknowledged."""
    store, acknowledged, gone = process.s3, {}, threading.Event()

    def write(worker):
        s3, number = open_client(store), 0
        while not gone.is_set():
            key, body = f"{prefix}/{worker}/{number}", os.urandom(10 ** (number % 4 + 3))
            try:
                s3.put_object(Bucket=store.bucket, Key=key, Body=body)
            except (ClientError, BotoCoreError):
                return
            acknowledged[key], number = body, number + 1

    with ThreadPoolExecutor(4) as pool:
        for worker in range(4):
            pool.submit(write, worker)
        deadline = time.monotonic() + 60
        while len(acknowledged) < ENOUGH and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        gone.set()
    return acknowledged


def test_a_kill_under_load_loses_nothing_that_was_acknowledged(process):
    written = {}
    for round_ in range(2):
        written |= put_until_killed(process, f"kill-{round_}")
        process.start()
    s3 = open_client(process.s3)
    assert len(written) >= 2 * ENOUGH
    for key, body in written.items():
        assert s3.get_object(Bucket=process.s3.bucket, Key=key)["Body"].read() == body


def test_a_dead_store_says_that_nobody_listens_and_a_hung_one_that_it_does_not_answer(process):
    process.freeze()
    assert "does not answer" in why_not_ready(process.s3)
    process.thaw()
    assert why_not_ready(process.s3) is None
    process.kill()
    assert "nobody listens" in why_not_ready(process.s3)
    process.start()


def test_a_full_store_takes_nothing_more_and_still_gives(process):
    s3, where = open_client(process.s3), {"Bucket": process.s3.bucket, "Key": "before"}
    s3.put_object(**where, Body=b"x")
    process.kill()
    process.start(full=True)
    assert refusal(s3.put_object, Bucket=where["Bucket"], Key="after", Body=b"x" * 10_000) == (
        "InternalError"
    )
    assert s3.get_object(**where)["Body"].read() == b"x"
    process.kill()
    process.start()


def test_a_slow_line_passes_everything_late(store):
    with slow_link(store, bytes_per_s=500_000) as far:
        begin = time.monotonic()
        open_client(far).put_object(Bucket=far.bucket, Key="slow", Body=b"x" * 500_000)
        assert time.monotonic() - begin > 0.8
    assert (
        open_client(store).head_object(Bucket=store.bucket, Key="slow")["ContentLength"] == 500_000
    )


def test_nothing_stays_in_the_folder_for_temporary_files(tmp_path):
    with store_process(tmp_path) as running:
        sockets = [
            SOCKETS / f"seaweedfs-{name}-grpc-{getattr(running.inner, f'{name}_grpc')}.sock"
            for name in ("master", "volume", "filer", "s3")
        ]
        assert all(path.exists() for path in sockets)
    assert not any(path.exists() for path in sockets)
