"""A slow line to an S3 store: everything passes, late."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from greenlight.backup.backup_file import S3Store

PIECE = 16_384
LOOPBACK = "127.0.0.1"


@contextmanager
def slow_link(store: S3Store, *, bytes_per_s: float) -> Iterator[S3Store]:
    """Yield the same bucket at the end of a line that passes so much each way, per connection.

    TLS goes through untouched, and the certificate is for the address and not for the port.
    """
    target = int(store.endpoint.rpartition(":")[2])
    with socket.create_server((LOOPBACK, 0)) as listener:
        threading.Thread(
            target=_serve, args=(listener, target, PIECE / bytes_per_s), daemon=True
        ).start()
        port = listener.getsockname()[1]
        try:
            yield store.model_copy(update={"endpoint": f"https://{LOOPBACK}:{port}"})
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, target: int, pause_s: float) -> None:
    with contextlib.suppress(OSError):  # the end of the block closes the listener
        while True:
            near, _ = listener.accept()
            far = socket.create_connection((LOOPBACK, target))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pass, args=(source, sink, pause_s), daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket, pause_s: float) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            time.sleep(pause_s * len(piece) / PIECE)
            sink.sendall(piece)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
