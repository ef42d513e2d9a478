"""An HTTP server on loopback in a thread, for what stands in for others."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLL_S = 0.02
"""How soon it notices that it is to end."""


class QuietHandler(BaseHTTPRequestHandler):
    """Says nothing of the requests it answers."""

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class HttpThread:
    """Serves from its making until `close`. `port` 0: the kernel chooses one."""

    def __init__(
        self,
        handler: type[BaseHTTPRequestHandler],
        *,
        port: int = 0,
        server: type[ThreadingHTTPServer] = ThreadingHTTPServer,
    ) -> None:
        self._server = server(("127.0.0.1", port), handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": POLL_S}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Close the port; twice is fine."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
