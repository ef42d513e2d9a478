"""Whom alerts reach: a pager, a chat and a mailbox on loopback; and the servers that tell them."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import yaml

from greenlight.adapters.processes import LeashedProcess
from greenlight.core.settings import PROJECT
from greenlight.testing.http_server import HttpThread, QuietHandler
from greenlight.testing.servers import free_port
from greenlight.testing.waiting import wait_for

READY_S = 60.0
EXAMPLE = re.compile(r"^(\s*)# (?=- \{?(?:matchers|name)|  )", flags=re.MULTILINE)
"""A line of the example that a user takes the `# ` away from."""
NOBODY_THERE = "127.0.0.1:9"


def with_everybody(path: Path) -> dict[str, Any]:
    """The shipped file with every route and receiver that it shows."""
    head, _, body = path.read_text().partition("\nroute:")
    found: dict[str, Any] = yaml.safe_load(f"{head}\nroute:" + EXAMPLE.sub(r"\1", body))
    return found


class Sink(HttpThread):
    """An HTTP server that keeps what is posted, by path, and hands out one page of metrics."""

    def __init__(self, metrics: str = "") -> None:
        self.posted: list[tuple[str, Mapping[str, str], Any]] = []
        kept = self.posted

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(metrics.encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"ok")

        super().__init__(Handler)
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, path: str) -> list[Any]:
        """What was posted there."""
        return [body for where, _, body in self.posted if where == path]


class Mailbox(socketserver.ThreadingTCPServer):
    """As much of a mail server as takes a message."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.messages: list[Message] = []
        self.address = f"127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Mailbox:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self._say("220 here")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self._say("354 go on")
                self.server.messages.append(message_from_bytes(b"".join(self._lines())))
                self._say("250 kept")
            elif word == b"QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 fine")

    def _lines(self) -> Iterator[bytes]:
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            yield line.removeprefix(b".") if line.startswith(b"..") else line

    def _say(self, what: str) -> None:
        self.wfile.write(f"{what}\r\n".encode())


@contextmanager
def alertmanager(program: str, folder: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the address of a real Alertmanager."""
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(dict(config)))
    command = [
        program,
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'alerts'}",
        "--cluster.listen-address=",
    ]
    with _server(command, folder / "alertmanager.log") as url:
        yield url


@contextmanager
def prometheus(program: str, folder: Path, *, alertmanager: str, metrics: str) -> Iterator[str]:
    """Yield the address of a Prometheus with the shipped rules, which here don't wait.

    Fleet `one` has two engines and a router that don't answer.
    """
    (folder / "rules").mkdir()
    for path in (PROJECT / "monitoring/prometheus/rules").glob("*.yml"):
        text = re.sub(r"^(\s+for: ).*$", r"\g<1>0s", path.read_text(), flags=re.MULTILINE)
        (folder / "rules" / path.name).write_text(text)
    one = {"fleet": "one", "model": "m"}
    engines = [
        {"targets": [NOBODY_THERE], "labels": one | {"colour": "green", "host": host}}
        for host in ("gpu-1", "gpu-2")
    ]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules/*.yml")],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}
            ]
        },
        "scrape_configs": [
            {"job_name": "engine", "static_configs": engines},
            {
                "job_name": "router",
                "static_configs": [{"targets": [NOBODY_THERE], "labels": one}],
            },
            {"job_name": "greenlight", "static_configs": [{"targets": [metrics]}]},
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
    ]
    with _server(command, folder / "prometheus.log") as url:
        yield url


@contextmanager
def _server(command: list[str], log_file: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [*command, f"--web.listen-address={url.removeprefix('http://')}"]
    with log_file.open("wb") as log, LeashedProcess(command, stdout=log, stderr=log):
        wait_for(lambda: _is_ready(url), seconds=READY_S, every_s=0.1, why=log_file.read_text)
        yield url


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False
