import socket
import time

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, SSLError

from greenlight.adapters import s3
from greenlight.backup.backup_file import S3Store
from greenlight.core.errors import ConfigError, RefusedError, ResourceError, UnavailableError

STORE = S3Store(endpoint="https://127.0.0.1:1", bucket="one", path_style=True)


def a_key(path, text="a-key\n", mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def a_refusal(code, status=400):
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutObject")


@pytest.mark.parametrize(
    ("refusal", "ours"),
    [
        (a_refusal("InvalidAccessKeyId", 403), ConfigError),
        (a_refusal("SignatureDoesNotMatch", 403), ConfigError),
        (a_refusal("AccessDenied", 403), ConfigError),
        (a_refusal("NoSuchBucket", 404), ConfigError),
        (a_refusal("RequestTimeTooSkewed", 403), ConfigError),
        (a_refusal("PreconditionFailed", 412), RefusedError),
        (a_refusal("InsufficientStorage", 507), ResourceError),
        (a_refusal("SlowDown", 503), UnavailableError),
        (a_refusal("InternalError", 500), UnavailableError),
        (EndpointConnectionError(endpoint_url="https://127.0.0.1:1"), UnavailableError),
        (SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED"), ConfigError),
        (SSLError(endpoint_url="x", error="UNEXPECTED_EOF_WHILE_READING"), UnavailableError),
    ],
)
def test_a_refusal_says_what_to_do_next(refusal, ours):
    with pytest.raises(ours, match=r"bucket one at https://127\.0\.0\.1:1"), s3.translated(STORE):
        raise refusal


class FullStore:
    """Answers, and fails at every write."""

    def put_object(self, **_):
        raise a_refusal("InternalError", 500)

    def list_objects_v2(self, **_):
        return {}


class BusyStore(FullStore):
    def put_object(self, **_):
        raise a_refusal("SlowDown", 503)


def test_a_store_that_answers_and_takes_nothing_is_full():
    with pytest.raises(ResourceError, match="full"):
        s3.put(FullStore(), STORE, key="k", body=b"")


def test_a_store_that_is_busy_is_not_full():
    with pytest.raises(UnavailableError):
        s3.put(BusyStore(), STORE, key="k", body=b"")


def test_keys_come_from_files_that_only_we_can_read(tmp_path):
    access, secret = a_key(tmp_path / "access"), a_key(tmp_path / "secret", "very secret")
    store = STORE.model_copy(update={"access_key_file": access, "secret_key_file": secret})
    keys = s3.read_keys(store)
    assert (keys.access, keys.secret) == ("a-key", "very secret")
    assert "secret" not in repr(keys).replace("secret=", "")
    assert s3.read_keys(STORE) is None


@pytest.mark.parametrize(
    ("text", "mode", "said"), [("key", 0o640, "mode 640"), ("\n", 0o600, "is empty")]
)
def test_a_bad_key_file_is_named_with_what_is_wrong(tmp_path, text, mode, said):
    path = a_key(tmp_path / "the key", text, mode)
    with pytest.raises(ConfigError, match=said) as refusal:
        s3.read_secret(path)
    assert str(path) in str(refusal.value)


def test_a_missing_key_or_ca_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nothere"):
        s3.read_secret(tmp_path / "nothere")
    with pytest.raises(ConfigError, match="nothere"):
        s3.open_client(STORE.model_copy(update={"ca_file": tmp_path / "nothere"}))


def test_a_store_that_accepts_and_says_nothing_is_given_up_in_seconds(tmp_path):
    key = a_key(tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = S3Store(
            endpoint=f"https://127.0.0.1:{silent.getsockname()[1]}",
            bucket="one",
            access_key_file=key,
            secret_key_file=key,
        )
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            s3.reach(s3.open_client(store, timeout_s=0.3), store, prefix="sets/")
    assert time.monotonic() - began < 5


def test_a_kms_key_is_named_at_every_write():
    asked = {}

    class Store:
        def put_object(self, **arguments):
            asked.update(arguments)

    store = STORE.model_copy(update={"kms_key_id": "alias/backups"})
    s3.put(Store(), store, key="k", body=b"", IfNoneMatch="*")
    assert asked["SSEKMSKeyId"] == "alias/backups"
    assert asked["ServerSideEncryption"] == "aws:kms"
    assert asked["IfNoneMatch"] == "*"
