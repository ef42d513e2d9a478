"""A small server that speaks OpenAI's chat protocol as vLLM does: streaming, usage, set speed.

In a test: `with FakeOpenAIServer() as server: … server.url`. As a process, in vLLM's place:
`python -m greenlight.testing.openai_server --model FOLDER --served-model-name N --port P`; then a
file `fake.json` in the model's folder holds the `Behaviour`.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from pydantic import Field

from greenlight.core.types import JsonDict, Value

HOST = "127.0.0.1"
BEHAVIOUR_FILE = "fake.json"
END_TOKENS = 1
"""vLLM counts the end token among the completion's."""


class Behaviour(Value):
    """What the server does. Seconds; `answers` maps a user's message to the text it gets.

    A message that isn't in `answers` gets `default`. Every word is a token. `fault`: answer with
    an error status, cut the stream, report an error in the stream, or leave out the usage.
    `death`: what the process writes before it ends instead of serving; `never_ready`: serve, but
    never get healthy.
    """

    answers: dict[str, str] = Field(default_factory=dict)
    default: str = "a small answer"
    first_token_s: float = 0.0
    token_s: float = 0.0
    fault: Literal["status", "cut", "error", "no-usage"] | None = None
    death: str | None = None
    never_ready: bool = False
    strange: bool = False
    """Claim to serve another model."""


class FakeOpenAIServer:
    """The server in a thread of this process, on a port that the kernel chose."""

    def __init__(
        self,
        behaviour: Behaviour = Behaviour(),  # noqa: B008 - frozen
        *,
        model: str = "fake",
        root: str = "/models/fake",
        port: int = 0,
    ) -> None:
        self.requests: list[JsonDict] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._lock = threading.Lock()
        self.behaviour, self.model, self.root = behaviour, model, root
        self._http = _Http(self, port)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        """The server's root."""
        return f"http://{HOST}:{self._http.server_address[1]}"

    def __enter__(self) -> FakeOpenAIServer:
        """Start serving."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()

    def serve_forever(self) -> None:
        """Serve in this thread."""
        self._http.serve_forever()

    def begin(self, request: JsonDict) -> None:
        """Note that a request came."""
        with self._lock:
            self.requests.append(request)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)

    def end(self) -> None:
        """Note that a request was answered."""
        with self._lock:
            self._in_flight -= 1


class _Http(ThreadingHTTPServer):
    """The socket's side of a `FakeOpenAIServer`."""

    daemon_threads = True

    def __init__(self, owner: FakeOpenAIServer, port: int) -> None:
        self.owner = owner
        super().__init__((HOST, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"

    @property
    def behaviour(self) -> Behaviour:
        return self.server.owner.behaviour

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            name = "somebody-else" if self.behaviour.strange else self.server.owner.model
            self._send(
                200, {"object": "list", "data": [{"id": name, "root": self.server.owner.root}]}
            )
        elif self.path == "/health":
            self._send(503 if self.behaviour.never_ready else 200, {})
        else:
            self._send(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.owner.begin(request)
        try:
            if self.behaviour.fault == "status":
                self._send(500, {"error": {"message": "the engine is dead"}})
            elif request["model"] != self.server.owner.model:
                self._send(404, {"error": {"message": f"no model {request['model']}"}})
            else:
                self._stream(request)
        finally:
            self.server.owner.end()

    def _stream(self, request: JsonDict) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        words, finish = _words(request, self.behaviour)
        self._event({"delta": {"role": "assistant", "content": ""}})
        time.sleep(self.behaviour.first_token_s)
        for number, word in enumerate(words):
            if number:
                time.sleep(self.behaviour.token_s)
            if number == 1 and self.behaviour.fault == "cut":
                return
            self._event({"delta": {"content": word}})
        if self.behaviour.fault == "error":
            self._data(json.dumps({"error": {"message": "out of blocks", "code": 500}}))
        self._event({"delta": {}, "finish_reason": finish})
        if self.behaviour.fault != "no-usage":
            count = len(words) + END_TOKENS * (finish == "stop")
            usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": count + 5}
            self._data(json.dumps({"choices": [], "usage": usage}))
        self._data("[DONE]")

    def _event(self, choice: JsonDict) -> None:
        self._data(json.dumps({"choices": [{"index": 0, "finish_reason": None} | choice]}))

    def _data(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    def _send(self, status: int, body: JsonDict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


def _words(request: JsonDict, behaviour: Behaviour) -> tuple[list[str], str]:
    """Return the answer's pieces and why it ends there."""
    said = request["messages"][-1]["content"]
    words = behaviour.answers.get(said, behaviour.default).split()
    pieces = [word if not number else f" {word}" for number, word in enumerate(words)]
    limit = int(request["max_tokens"])
    if request.get("ignore_eos"):
        pieces = (pieces * limit)[:limit] if pieces else []
        return pieces, "length"
    return pieces[:limit], "length" if len(pieces) > limit else "stop"


def main(arguments: list[str]) -> int:
    """Serve until killed; unknown options of vLLM are accepted and ignored."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--port", type=int, required=True)
    chosen, _ = parser.parse_known_args(arguments)
    file = chosen.model / BEHAVIOUR_FILE
    behaviour = Behaviour.model_validate_json(file.read_text()) if file.exists() else Behaviour()
    if behaviour.death is not None:
        sys.stderr.write(f"{behaviour.death}\n")
        return 1
    FakeOpenAIServer(
        behaviour,
        model=chosen.served_model_name,
        root=str(chosen.model),
        port=chosen.port,
    ).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
