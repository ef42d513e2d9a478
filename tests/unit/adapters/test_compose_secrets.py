"""The secrets of docker-compose.yaml: complete, made once, for one user only."""

from __future__ import annotations

import hashlib
import json
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from greenlight.adapters.stack import compose_secrets
from greenlight.adapters.stack.compose_secrets import COMPOSE_MAKERS, make_secrets, write_variables
from greenlight.adapters.stack.secrets import load_secrets
from greenlight.core.errors import ConfigError

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder"
    make_secrets(folder, edge_host="models.example.org", now=NOW)
    return folder


def text(folder: Path, name: str) -> str:
    return (folder / name).read_text().strip()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_call_makes_nothing_and_changes_nothing(folder: Path) -> None:
    before = contents(folder)
    assert make_secrets(folder, edge_host="other.example.org", now=NOW) == []
    assert contents(folder) == before


def test_what_is_missing_is_made_and_the_rest_stays(folder: Path) -> None:
    before = contents(folder)
    for name in ("grafana_admin", "redis_users"):
        (folder / name).unlink()
    made = make_secrets(folder, edge_host="models.example.org", now=NOW)
    assert made == ["grafana_admin", "redis_users"]
    after = contents(folder)
    assert {n for n in before if before[n] != after[n]} == {"grafana_admin"}


def test_only_their_owner_can_read_them(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_greenlight_reads_them_as_it_reads_those_of_the_embedded_stack(folder: Path) -> None:
    assert load_secrets(folder).postgres == text(folder, "postgres")


def test_every_address_holds_the_password_of_its_own_user(folder: Path) -> None:
    for name, user, secret, database in (
        ("airflow_database_url", "greenlight", "postgres", "airflow"),
        ("mlflow_database_url", "greenlight", "postgres", "mlflow"),
        ("greenlight_database_url", "greenlight", "postgres", "greenlight"),
        ("superuser_database_url", "postgres", "postgres_superuser", "postgres"),
    ):
        url = sa.make_url(text(folder, name))
        assert (url.username, url.password) == (user, text(folder, secret))
        assert (url.drivername, url.database) == ("postgresql+psycopg2", database)
    assert text(folder, "airflow_result_backend") == "db+" + text(folder, "airflow_database_url")
    broker = text(folder, "redis_broker")
    assert text(folder, "airflow_broker_url") == f"redis://airflow:{broker}@redis:6379/0"


def test_redis_knows_passwords_by_their_hash_only(folder: Path) -> None:
    users = text(folder, "redis_users")
    for name in ("redis", "redis_broker", "redis_monitor"):
        assert text(folder, name) not in users
        assert hashlib.sha256(text(folder, name).encode()).hexdigest() in users


def test_the_hosts_of_compose_let_the_deploys_in_and_are_known_to_them(folder: Path) -> None:
    load_ssh_private_key((folder / "deploy_key").read_bytes(), password=None)
    known = text(folder, "known_hosts").splitlines()
    assert [line.split()[0] for line in known] == [
        "[host-1]:2222", "[host-2]:2222", "[gpu-host]:2222",
    ]  # fmt: skip
    assert text(folder, "authorized_keys").startswith("ssh-ed25519 ")
    assert text(folder, "authorized_keys") not in known[0]


def test_nginx_gets_a_certificate_and_its_key(folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls_certificate", folder / "tls_key")
    assert "PRIVATE" not in text(folder, "tls_certificate")


def test_a_key_of_the_operators_own_is_never_replaced(folder: Path) -> None:
    (folder / "tls_certificate").unlink()
    before = text(folder, "tls_key")
    with pytest.raises(ConfigError, match="has tls_key but no tls_certificate"):
        make_secrets(folder, edge_host="models.example.org", now=NOW)
    assert text(folder, "tls_key") == before


def test_a_certificate_of_the_operators_own_stays(folder: Path) -> None:
    (folder / "tls_certificate").write_text("theirs")
    assert make_secrets(folder, edge_host="models.example.org", now=NOW) == []


def test_a_weak_secret_and_one_that_others_could_read_are_named(folder: Path) -> None:
    (folder / "grafana_admin").write_text("admin\n")
    with pytest.raises(ConfigError, match="grafana_admin has 5 characters"):
        make_secrets(folder, edge_host="h", now=NOW)
    (folder / "grafana_admin").unlink()
    (folder / "elastic").chmod(0o644)
    with pytest.raises(ConfigError, match="elastic has mode 644"):
        make_secrets(folder, edge_host="h", now=NOW)


def test_no_two_secrets_are_the_same(folder: Path) -> None:
    values = [text(folder, name) for name in COMPOSE_MAKERS]
    assert len(set(values)) == len(values)


def test_the_stores_read_files_at_their_places_in_a_container(folder: Path) -> None:
    (identity,) = json.loads(text(folder, "store_identities"))["identities"]
    assert identity["credentials"][0]["secretKey"] == text(folder, "store_secret_key")
    assert str(folder) not in text(folder, "store_security")
    assert '"/run/secrets/store_server"' in text(folder, "store_security")


def test_variables_are_set_and_other_lines_of_the_file_stay(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nCOMPOSE_PROFILES=logs\nGREENLIGHT_UID=1\n")
    assert write_variables(path, {"GREENLIGHT_UID": "5"})
    assert path.read_text() == "# mine\nCOMPOSE_PROFILES=logs\nGREENLIGHT_UID=5\n"
    assert not write_variables(path, {"GREENLIGHT_UID": "5"})


def test_what_belongs_to_somebody_else_is_not_given_away_silently(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(compose_secrets.os, "chown", refuse)
    with pytest.raises(ConfigError, match="the containers will run as 4711:4711, who can't read"):
        compose_secrets.give_to(folder, uid=4711, gid=4711)
    found = folder.stat()
    compose_secrets.give_to(folder, uid=found.st_uid, gid=found.st_gid)
