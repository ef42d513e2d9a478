"""The configuration that pgBackRest is given."""

from configparser import RawConfigParser
from pathlib import Path

import pytest

from greenlight.adapters.pgbackrest.config import Repository, render
from greenlight.backup.backup_file import S3Store
from greenlight.core.errors import ConfigError

HOME = Path("/proc/self/fd/1200")


def secret(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def repository(tmp_path):
    def make(region="a", **store):
        found = {"endpoint": "https://127.0.0.1:8333", "bucket": f"bucket-{region}"} | store
        return Repository(
            region=region,
            store=S3Store.model_validate(found),
            passphrase_file=secret(tmp_path / "passphrase", "correct horse battery\n"),
        )

    return make


def parsed(*repositories, port=5432):
    text = render(repositories, home=HOME, port=port, processes=3)
    parser = RawConfigParser(delimiters="=", comment_prefixes=())
    parser.read_string(text)
    return parser


def test_every_region_is_a_repository_in_its_order(repository):
    found = parsed(repository("a"), repository("b"))["global"]
    assert found["repo1-s3-bucket"] == "bucket-a"
    assert found["repo2-s3-bucket"] == "bucket-b"
    assert found["repo1-cipher-type"] == "aes-256-cbc"
    assert found["repo1-cipher-pass"] == "correct horse battery"
    assert (found["repo1-s3-endpoint"], found["repo1-storage-port"]) == ("127.0.0.1", "8333")


def test_a_store_with_keys_and_certificates_of_its_own(repository, tmp_path):
    found = parsed(
        repository(
            access_key_file=secret(tmp_path / "access", "AKIA"),
            secret_key_file=secret(tmp_path / "secret", "s3cr3t"),
            ca_file=tmp_path / "ca.pem",
            path_style=True,
        )
    )["global"]
    assert (found["repo1-s3-key"], found["repo1-s3-key-secret"]) == ("AKIA", "s3cr3t")
    assert found["repo1-storage-ca-file"] == f"{HOME}/pgbackrest/ca-a.pem"
    assert found["repo1-s3-uri-style"] == "path"


def test_aws_with_the_role_of_the_machine_and_a_key_of_ones_own(repository):
    found = parsed(
        repository(
            endpoint="https://s3.eu-west-1.amazonaws.com", region="eu-west-1", kms_key_id="key-1"
        )
    )["global"]
    assert found["repo1-s3-key-type"] == "auto"
    assert found["repo1-s3-kms-key-id"] == "key-1"
    assert found["repo1-storage-port"] == "443"
    assert found["repo1-s3-uri-style"] == "host"
    assert "repo1-storage-ca-file" not in found


def test_nothing_is_ever_deleted_by_itself(repository):
    found = parsed(repository())["global"]
    assert found["expire-auto"] == "n"
    assert int(found["repo1-retention-full"]) > 1_000_000


def test_the_log_goes_on_to_the_other_regions_when_one_is_away(repository):
    found = parsed(repository())
    assert found["global:archive-push"]["archive-async"] == "y"
    assert "archive-push-queue-max" not in found["global:archive-push"]


def test_the_server_is_asked_through_its_socket(repository):
    assert dict(parsed(repository())["main"]) == {
        "pg1-path": f"{HOME}/data",
        "pg1-port": "5432",
        "pg1-socket-path": str(HOME),
        "pg1-user": "postgres",
    }
    assert dict(parsed(repository(), port=None)["main"]) == {"pg1-path": f"{HOME}/data"}


def test_a_secret_of_two_lines_is_no_setting(repository):
    wrong = repository()
    secret(wrong.passphrase_file, "one\nrepo1-path=/elsewhere")
    with pytest.raises(ConfigError, match="repo1-cipher-pass must be one line"):
        parsed(wrong)


def test_a_passphrase_that_others_may_read_is_refused(repository):
    open_ = repository()
    open_.passphrase_file.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 644"):
        parsed(open_)
