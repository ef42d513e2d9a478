import os
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.adapters import s3
from greenlight.adapters.restic.backups import ResticBackups
from greenlight.adapters.restic.repository import ResticRepository
from greenlight.adapters.set_store import S3SetStore
from greenlight.adapters.stack.object_store import make_bucket
from greenlight.testing.backup_contract import (
    REGION,
    DatabaseBackupsContract,
    FileBackupsContract,
    SetStoreContract,
)
from greenlight.testing.memory_backups import (
    MemoryDatabaseBackups,
    MemoryFileBackups,
    MemorySetStore,
    Regions,
)
from greenlight.testing.object_stores import object_store


def now():
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    with object_store(tmp_path_factory.mktemp("a store")) as store:
        yield store


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    path = tmp_path_factory.mktemp("secrets") / "secret"
    path.write_text("0123456789abcdef0123\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def sets(bucket, secret):
    return S3SetStore(bucket, region=REGION, signing_key_file=secret)


@pytest.fixture(scope="module")
def repository(bucket, secret, tmp_path_factory):
    repository = ResticRepository(
        bucket, region=REGION, password_file=secret, environment=os.environ,
        folder=tmp_path_factory.mktemp("the cache"),
    )  # fmt: skip
    files = ResticBackups([repository])
    files.prepare(REGION)
    return files


class TestMemorySetStore(SetStoreContract):
    @pytest.fixture
    def store(self):
        return MemorySetStore(Regions([REGION]), now, region=REGION)

    @pytest.fixture
    def locked_store(self):
        return MemorySetStore(Regions([REGION]), now, region=REGION, lock=timedelta(days=1))


class TestS3SetStore(SetStoreContract):
    @pytest.fixture
    def store(self, sets):
        return sets

    @pytest.fixture
    def locked_store(self, bucket, secret):
        locked = bucket.model_copy(update={"bucket": "locked"})
        make_bucket(locked, lock_days=1)
        return S3SetStore(locked, region=REGION, signing_key_file=secret)


class TestMemoryFileBackups(FileBackupsContract):
    @pytest.fixture
    def files(self):
        files = MemoryFileBackups(Regions([REGION]), now)
        files.prepare(REGION)
        return files

    @pytest.fixture
    def corrupt(self, files):
        return lambda: files.damage.update({REGION: ["a pack is gone"]})


class TestResticBackups(FileBackupsContract):
    @pytest.fixture
    def files(self, repository):
        return repository

    @pytest.fixture
    def corrupt(self, bucket):
        """Break every pack, and mend it for the tests that come."""
        client = s3.open_client(bucket)
        was = {}

        def break_packs():
            for key in list(s3.keys_under(client, bucket, prefix="restic/data/")):
                was[key] = s3.get(client, bucket, key=key)
                middle = len(was[key]) // 2
                broken = was[key][:middle] + bytes([was[key][middle] ^ 1]) + was[key][middle + 1 :]
                s3.put(client, bucket, key=key, body=broken)

        yield break_packs
        for key, content in was.items():
            s3.put(client, bucket, key=key, body=content)


class TestMemoryDatabaseBackups(DatabaseBackupsContract):
    @pytest.fixture
    def databases(self):
        return MemoryDatabaseBackups(regions=Regions([REGION]), now=now)
