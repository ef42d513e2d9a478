import json

import pytest

from greenlight.adapters.stack.secrets import (
    MAKERS,
    load_or_create_secrets,
    load_secrets,
    write_airflow_passwords,
)
from greenlight.core.errors import ConfigError


def test_secrets_are_made_once_for_the_owner_only(tmp_path):
    folder = tmp_path / "secrets"
    made = load_or_create_secrets(folder)
    assert load_or_create_secrets(folder) == load_secrets(folder) == made
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_two_stacks_share_no_secret(tmp_path):
    one, other = (load_or_create_secrets(tmp_path / name) for name in ("one", "other"))
    assert not {getattr(one, n) for n in MAKERS} & {getattr(other, n) for n in MAKERS}


def test_the_signing_key_is_long_enough_for_sha512(tmp_path):
    assert len(load_or_create_secrets(tmp_path).airflow_jwt) >= 64


def test_a_secret_never_shows_when_printed(tmp_path):
    made = load_or_create_secrets(tmp_path)
    assert not [name for name in MAKERS if getattr(made, name) in repr(made)]


def test_a_secret_that_others_could_read_stops_the_start(tmp_path):
    load_or_create_secrets(tmp_path)
    (tmp_path / "postgres").chmod(0o644)
    with pytest.raises(ConfigError, match="mode 644"):
        load_or_create_secrets(tmp_path)


def test_a_weak_secret_stops_the_start(tmp_path):
    load_or_create_secrets(tmp_path)
    (tmp_path / "airflow_admin").write_text("admin\n")
    with pytest.raises(ConfigError, match="has 5 characters, at least 16"):
        load_or_create_secrets(tmp_path)


def test_reading_makes_nothing(tmp_path):
    with pytest.raises(ConfigError, match="is missing; `make up` makes it"):
        load_secrets(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_airflow_reads_the_same_password(tmp_path):
    made = load_or_create_secrets(tmp_path)
    path = write_airflow_passwords(tmp_path, made)
    assert json.loads(path.read_text()) == {"admin": made.airflow_admin}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_that_existing_backups_depend_on_is_never_made_anew(tmp_path):
    stores = tmp_path.parent / "stores"
    with pytest.raises(ConfigError, match=r"backup_restic is gone, .*/stores holds can't be read"):
        load_or_create_secrets(tmp_path, must_exist={"backup_restic": stores})
    assert list(tmp_path.iterdir()) == []
