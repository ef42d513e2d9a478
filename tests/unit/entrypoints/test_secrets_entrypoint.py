"""`secrets.init`: whom the containers run as, and where compose finds that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from greenlight.core.errors import InputError
from greenlight.entrypoints import secrets
from greenlight.entrypoints.secrets import Made


def init(tmp_path: Path, **chosen: int) -> Made:
    return secrets.init(folder=tmp_path / "the secrets", variables=tmp_path / ".env", **chosen)  # type: ignore[arg-type]


def test_compose_is_told_of_the_folder_and_its_owner(tmp_path: Path) -> None:
    made = init(tmp_path)
    lines = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert lines == {
        "GREENLIGHT_SECRETS": f"'{tmp_path / 'the secrets'}'",
        "GREENLIGHT_UID": str(made.uid),
        "GREENLIGHT_GID": str(made.gid),
    }
    owner = (tmp_path / "the secrets/postgres").stat()
    assert (owner.st_uid, owner.st_gid) == (made.uid, made.gid)


def test_no_value_is_returned_only_names(tmp_path: Path) -> None:
    made = init(tmp_path)
    values = [p.read_text().strip() for p in (tmp_path / "the secrets").iterdir()]
    assert "postgres" in made.names
    assert not [value for value in values if value in repr(made)]


def test_a_second_call_has_nothing_to_do(tmp_path: Path) -> None:
    init(tmp_path)
    again = init(tmp_path)
    assert (again.names, again.variables_changed) == ((), False)


def test_containers_never_run_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for chosen in ({"uid": 0}, {"uid": 5, "gid": 0}):
        with pytest.raises(InputError, match="above 0"):
            init(tmp_path, **chosen)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *_, **__: None)
    assert init(tmp_path).uid == secrets.CONTAINERS_UID
