"""monitoring/elastic/prepare against a server that takes nothing but what Elasticsearch would."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from greenlight.core.settings import PROJECT

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
PASSWORDS = {"elastic": "e" * 32, "filebeat": "f" * 32, "kibana": "k" * 32}


class Sink(ThreadingHTTPServer):
    """Keeps every body by its method and path; refuses a wrong log-in, and what is no JSON."""

    def __init__(self, *, refused: str = "") -> None:
        self.taken: dict[str, dict[str, object]] = {}
        self.refused = refused
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Sink

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = base64.b64encode(f"elastic:{PASSWORDS['elastic']}".encode()).decode()
        status = 200 if self.headers["Authorization"] == f"Basic {wanted}" else 401
        if self.server.refused and self.server.refused in self.path:
            status = 400
        self.server.taken[f"{self.command} {self.path}"] = json.loads(body)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"acknowledged": true}')

    do_PUT = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def prepare(sink: Sink, tmp_path: Path, **passwords: str) -> subprocess.CompletedProcess[str]:
    for name, text in (PASSWORDS | passwords).items():
        (tmp_path / name).write_text(f"{text}\n")
    env = {
        "PATH": os.environ["PATH"],
        "NO_PROXY": "*",
        "ELASTICSEARCH_URL": sink.url,
        "SECRETS_MOUNTED": str(tmp_path),
    }
    command = [str(PROJECT / "monitoring/elastic/prepare")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_everything_is_loaded_before_anybody_writes(sink: Sink, tmp_path: Path) -> None:
    done = prepare(sink, tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(sink.taken) == [
        "PUT /_ilm/policy/greenlight-logs",
        "PUT /_ingest/pipeline/greenlight-logs",
        "PUT /_index_template/greenlight-logs",
        "PUT /_index_template/greenlight-rejected",
        "PUT /_security/role/greenlight_writer",
        "PUT /_security/user/filebeat",
        "POST /_security/user/kibana_system/_password",
    ]
    writer = sink.taken["PUT /_security/user/filebeat"]
    assert writer == {"password": PASSWORDS["filebeat"], "roles": ["greenlight_writer"]}
    assert not [word for word in PASSWORDS.values() if word in done.stdout + done.stderr]


def test_a_wrong_password_stops_it(sink: Sink, tmp_path: Path) -> None:
    assert prepare(sink, tmp_path, elastic="another password").returncode != 0


def test_what_elasticsearch_refuses_stops_it(sink: Sink, tmp_path: Path) -> None:
    sink.refused = "_index_template"
    assert prepare(sink, tmp_path).returncode != 0
    assert "PUT /_security/user/filebeat" not in sink.taken
