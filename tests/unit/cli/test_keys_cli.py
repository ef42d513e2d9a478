import json

import pytest
from typer.testing import CliRunner

from greenlight.cli import keys
from greenlight.cli.main import build
from greenlight.core.errors import InputError
from greenlight.entrypoints.gateway_keys import ApiKeys
from greenlight.gateway.key_format import read_key_text
from greenlight.testing.gateway_access import PEPPER, a_gateway, counted_bytes
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_gateway import MemoryAudit, MemoryKeys

RUN = CliRunner()
CREATE = ("create", "--tenant", "acme", "--scope", "chat", "--scope", "model:small")


def invoke(*arguments):
    return RUN.invoke(build(), ["keys", *arguments])


@pytest.fixture
def store(monkeypatch):
    store = MemoryKeys(MemoryAudit())
    opened = ApiKeys(
        gateway=a_gateway(), store=store, pepper=PEPPER, by="ana", clock=ManualClock(),
        random=counted_bytes,
    )  # fmt: skip
    monkeypatch.setattr(keys, "_open", lambda: opened)
    return store


@pytest.mark.parametrize("command", ["create", "list", "rotate", "revoke"])
def test_every_command_explains_itself(command):
    assert "Usage" in invoke(command, "--help").output


def test_standard_output_is_the_key_and_nothing_else(store):
    made = invoke(*CREATE, "--expires", "90d", "--name", "batch")
    text = read_key_text(made.stdout.removesuffix("\n"))
    assert text.id == store.all_keys()[0].id
    assert made.stdout.count("\n") == 1
    assert "until 2027-02-22 12:00:00 UTC" in made.stderr
    assert text.text not in made.stderr


def test_a_dry_run_prints_no_key(store):
    tried = invoke(*CREATE, "--dry-run")
    assert tried.stdout == ""
    assert "would be created" in tried.stderr
    assert "glk_" not in tried.stderr
    assert store.all_keys() == ()


def test_a_key_for_no_model_is_told(store):
    made = invoke("create", "--tenant", "acme", "--scope", "chat")
    assert "no model can be asked with it" in made.stderr
    assert made.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "--tenant", "gone", "--scope", "chat"), "there are acme, narrow"),
        (("create", "--tenant", "acme", "--scope", "chats"), "'chats' is unknown"),
        (("create", "--tenant", "acme", "--scope", "model:gone"), "serves small, large"),
        (("revoke", "gone"), "there is no key 'gone'"),
        (("rotate", "gone", "--overlap", "1h"), "there is no key 'gone'"),
    ],
)
def test_what_cannot_be_done_is_said(store, arguments, says):
    failed = invoke(*arguments)
    assert isinstance(failed.exception, InputError)
    assert says in str(failed.exception)
    assert store.all_keys() == ()


@pytest.mark.parametrize("expires", ["90", "soon", "-1d"])
def test_a_lifetime_that_is_none_is_refused(store, expires):
    failed = invoke(*CREATE, f"--expires={expires}")
    assert failed.exit_code == 2
    assert store.all_keys() == ()


def test_a_rotation_needs_to_be_told_how_long_both_work(store):
    invoke(*CREATE)
    name = store.all_keys()[0].id
    assert invoke("rotate", name).exit_code == 2
    rotated = invoke("rotate", name, "--overlap", "24h")
    assert read_key_text(rotated.stdout.strip()).id == name
    assert "the secret before works until 2026-11-25 12:00:00 UTC" in rotated.stderr
    assert "glk_" not in invoke("rotate", name, "--overlap", "0s", "--dry-run").output


def test_a_revoked_key_is_listed_as_such(store):
    name = read_key_text(invoke(*CREATE).stdout.strip()).id
    assert "would be revoked" in invoke("revoke", name, "--dry-run").stderr
    assert store.get(name).revoked_at is None
    assert "is revoked, by ana" in invoke("revoke", name).stderr
    listed = json.loads(invoke("list", "--json").stdout)
    assert [(key["id"], key["state"]) for key in listed] == [(name, "revoked")]
    assert "revoked" in invoke("list").stdout


def test_a_name_is_no_markup(store):
    invoke(*CREATE, "--name", "[red]x[/red]")
    assert "[red]" in invoke("list").stdout


def test_without_keys_the_list_says_how_to_make_one(store):
    assert "greenlight keys create" in invoke("list").stderr
