"""Keys and tokens on a real database and a real issuer, as a worker of the gateway opens them."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from datetime import timedelta

import pytest
import yaml
from typer.testing import CliRunner

from greenlight.adapters import database
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.cli.main import build
from greenlight.core.clock import SystemClock
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.entrypoints.audit_pack import Period, open_sources, write_pack
from greenlight.entrypoints.gateway_access import open_access, open_stores
from greenlight.entrypoints.gateway_audit import open_log
from greenlight.entrypoints.gateway_keys import open_keys
from greenlight.gateway.audit_check import Verdict
from greenlight.gateway.gateway_file import load_gateway_file
from greenlight.gateway.key_format import read_key_text
from greenlight.gateway.principals import CredentialKind, Principal
from greenlight.testing.gateway_access import empty_tables
from greenlight.testing.oidc_issuer import AUDIENCE, CLIENT, SECRET, Answer, OidcIssuer
from greenlight.testing.servers import postgres_binaries, postgres_server

BINARIES = postgres_binaries()
pytestmark = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server():
    with postgres_server(BINARIES) as url:
        database.migrate(url)
        yield url


@pytest.fixture
def issuer():
    with OidcIssuer() as issuer:
        yield issuer


@pytest.fixture
def settings(server, issuer, tmp_path, make_settings):
    engine = database.open_engine(server)
    empty_tables(engine)
    engine.dispose()
    home = tmp_path / "a home"
    model = {"name": "small", "upstream": "http://127.0.0.1:1", "fleet": "demo", "context": 512}
    file = {
        "models": [model],
        "tenants": [{"name": "acme"}, {"name": "other"}],
        "issuers": [{"issuer": issuer.url, "audience": AUDIENCE, "algorithms": ["ES256"]}],
        "key_cache_s": 0.2,
        "audit": {"every_s": 0.05},
    }
    (home / "config").mkdir(parents=True)
    (home / "config/gateway.yaml").write_text(yaml.safe_dump(file))
    found = make_settings(home=home, database_url=server)
    load_or_create_secrets(found.secrets)
    return found


class JumpingClock(SystemClock):
    """The machine's, whose seconds a test moves ahead."""

    ahead_s = 0.0

    def monotonic(self):
        return super().monotonic() + self.ahead_s


def with_access(settings, work, *, clock=None):
    gateway = load_gateway_file(settings.config_file("gateway"))

    async def opened():
        async with open_access(settings, gateway, clock=clock) as access:
            return await work(access)

    return asyncio.run(opened())


def client_credentials(issuer, *, secret=SECRET):
    basic = base64.b64encode(f"{CLIENT}:{secret}".encode()).decode()
    request = urllib.request.Request(
        f"{issuer.url}/token",
        data=urllib.parse.urlencode({"grant_type": "client_credentials"}).encode(),
        headers={"Authorization": f"Basic {basic}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["access_token"]


def test_a_client_gets_a_token_and_is_let_in(settings, issuer):
    async def work(access):
        token = await asyncio.to_thread(client_credentials, issuer)
        found = await access.authenticator.authenticate(token)
        access.trail.record("request", {"subject": found.subject, "tenant": found.tenant})
        return found

    found = with_access(settings, work)
    assert (found.kind, found.tenant) == (CredentialKind.TOKEN, "acme")
    assert {"chat", "models", "model:*"} == found.scopes
    record = open_log(settings, by="ana").find(event="request")[0]
    assert record["identity"] == f"{issuer.url} {CLIENT}"
    assert record["subject"] == found.subject


def test_a_client_with_a_wrong_secret_gets_no_token(issuer):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        client_credentials(issuer, secret="wrong")


def test_the_issuers_keys_may_rotate_while_tokens_are_used(settings, issuer):
    clock = JumpingClock()

    async def work(access):
        ask = access.authenticator.authenticate
        old = issuer.token()
        assert isinstance(await ask(old), Principal)
        issuer.rotate(keep=1)
        new = issuer.token()
        clock.ahead_s += 10
        assert isinstance(await ask(new), Principal)
        assert isinstance(await ask(old), Principal)
        issuer.rotate()
        clock.ahead_s += 10
        assert isinstance(await ask(issuer.token()), Principal)
        return await ask(old), await ask(new)

    for refusal in with_access(settings, work, clock=clock):
        assert "`kid`" in refusal.message
    assert issuer.questions == 3


def test_an_issuer_that_is_away_keeps_no_known_token_out(settings, issuer):
    async def work(access):
        ask = access.authenticator.authenticate
        assert isinstance(await ask(issuer.token()), Principal)
        issuer.answers = Answer.ERROR
        assert isinstance(await ask(issuer.token()), Principal)

    with_access(settings, work)


def test_an_issuer_that_was_never_reached_lets_nobody_in(settings, issuer):
    async def work(access):
        issuer.answers = Answer.ERROR
        with pytest.raises(UnavailableError, match="HTTP 503"):
            await access.authenticator.authenticate(issuer.token())

    with_access(settings, work)


def test_a_key_lives_from_create_to_revoke(settings):
    keys = open_keys(settings, by="ana")
    issued = keys.create(tenant="acme", scopes=["chat", "model:small"], name="batch")

    async def work(access):
        ask = access.authenticator.authenticate
        assert (await ask(issued.text)).subject == issued.key.id
        other = await asyncio.to_thread(keys.rotate, issued.key.id, overlap=HOUR)
        await asyncio.sleep(0.3)
        assert isinstance(await ask(issued.text), Principal)
        assert isinstance(await ask(other.text), Principal)
        await asyncio.to_thread(keys.revoke, other.text)
        await asyncio.sleep(0.3)
        return await ask(issued.text), await ask(other.text)

    assert all("was revoked" in refusal.message for refusal in with_access(settings, work))
    kept = open_stores(settings)[0].get(issued.key.id)
    assert kept.last_used_at is not None
    assert kept.previous_used_at is not None
    log = open_log(settings, by="ana")
    assert [one["event"] for one in log.find()] == ["key.created", "key.rotated", "key.revoked"]
    assert {one["subject"] for one in log.find()} == {"operator:ana"}
    assert log.verify().verification.verdict is Verdict.PASS


def test_a_pepper_that_was_lost_and_made_anew_stops_the_start(settings):
    open_keys(settings, by="ana").create(tenant="acme", scopes=["chat"])
    (settings.secrets / "gateway_key_pepper").unlink()
    load_or_create_secrets(settings.secrets)
    with pytest.raises(ConfigError, match="put the old secret back"):
        with_access(settings, lambda access: asyncio.sleep(0))
    with pytest.raises(ConfigError, match="put the old secret back"):
        open_keys(settings, by="ana").create(tenant="acme", scopes=["chat"])


def test_the_evidence_of_a_period_is_written_whole(settings, tmp_path):
    keys = open_keys(settings, by="ana")
    issued = keys.create(tenant="acme", scopes=["chat"])
    keys.revoke(issued.key.id)
    now = issued.key.created_at
    folder = tmp_path / "evidence of 2026"
    period = Period(since=now - HOUR, until=now + HOUR)
    checked = write_pack(folder, period, sources=open_sources(settings, by="ana"), by="ana")
    assert checked.verification.verdict is Verdict.PASS
    manifest = json.loads((folder / "manifest.json").read_text())
    names = {file["path"] for file in manifest["files"]}
    assert names == {path.name for path in folder.iterdir()} - {"manifest.json"}
    assert manifest["audit_log"] == "pass"
    changes = json.loads((folder / "key-changes.json").read_text())
    assert [one["event"] for one in changes] == ["key.created", "key.revoked"]
    access = json.loads((folder / "access.json").read_text())
    assert [(key["id"], key["state"]) for key in access] == [(issued.key.id, "revoked")]


def test_the_commands_work_on_the_real_parts(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLIGHT_HOME", str(settings.home))
    monkeypatch.setenv("GREENLIGHT_DATABASE_URL", settings.database_url)

    def invoke(*arguments):
        found = CliRunner().invoke(build(), arguments, catch_exceptions=False)
        assert found.exit_code == 0
        return found.stdout

    text = invoke("keys", "create", "--tenant", "acme", "--scope", "chat").strip()
    name = read_key_text(text).id
    assert name in invoke("keys", "list")
    assert read_key_text(invoke("keys", "rotate", name, "--overlap", "1h").strip()).id == name
    invoke("keys", "revoke", text)
    assert "all 3 records" in invoke("audit", "verify")
    assert "key.rotated" in invoke("audit", "list", "--event", "key")
    assert "nothing to delete" in invoke("audit", "prune", "--yes")
    who = json.loads(invoke("audit", "list", "--json"))[0]["subject"]
    assert "and no more" in invoke("audit", "erase", who, "--yes")
    day = f"{SystemClock().now():%Y-%m-%d}"
    invoke("audit", "export", "--from", day, "--to", day, str(tmp_path / "a pack"))
    assert (tmp_path / "a pack/manifest.json").exists()
    assert "all 5 records" in invoke("audit", "verify")


CHILD = """
import asyncio, os, sys
from greenlight.core.settings import load_settings
from greenlight.entrypoints.gateway_access import open_access
from greenlight.gateway.gateway_file import load_gateway_file

async def write():
    settings = load_settings()
    gateway = load_gateway_file(settings.config_file("gateway"))
    async with open_access(settings, gateway) as access:
        for number in range(int(sys.argv[1]), 10**9):
            access.trail.record("request", {"n": number, "process": os.getpid()})
            print(number, flush=True)
            await asyncio.sleep(0.001)

asyncio.run(write())
"""


def test_records_survive_kills_and_are_in_the_chain_once(settings):
    """Three times: a writer is killed after some records, while batches are on their way."""
    environment = {
        **os.environ,
        "GREENLIGHT_HOME": str(settings.home),
        "GREENLIGHT_DATABASE_URL": settings.database_url,
    }
    acknowledged = 0
    for lives in (40, 150, 300):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(acknowledged)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for _ in range(lives):
            acknowledged = int(child.stdout.readline()) + 1
        child.send_signal(signal.SIGKILL)
        for rest in child.stdout:
            acknowledged = int(rest) + 1
        child.wait()

    async def work(access):
        while access.trail.waiting_bytes or len(list(access_folder.glob("*.jsonl"))) > 1:
            await asyncio.sleep(0.05)

    access_folder = settings.home / "audit"
    with_access(settings, work)
    log = open_log(settings, by="ana")
    found = [(one["detail"]["process"], one["detail"]["n"]) for one in log.find(event="request")]
    assert len(found) == len(set(found))
    assert set(range(acknowledged)) <= {number for _, number in found}
    assert len(found) <= acknowledged + 3  # written, and killed before it could say so
    assert log.verify().verification.verdict is Verdict.PASS
