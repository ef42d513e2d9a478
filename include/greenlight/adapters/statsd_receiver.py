"""Takes datagrams from a UDP port in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

LARGEST = 65_535
BUFFER = 1 << 20
"""Bytes that the kernel keeps while we are busy; what comes on top is lost, as UDP has it."""
LOOK_S = 0.5


def receive(
    take: Callable[[bytes], None], *, address: str, port: int
) -> tuple[int, Callable[[], None]]:
    """Hand every datagram to `take`; return the port, and what ends it.

    Raises:
        OSError: the port is taken.
    """
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        receiver.bind((address, port))
    except OSError:
        receiver.close()
        raise
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    receiver.settimeout(LOOK_S)
    told = threading.Event()

    def work() -> None:
        while not told.is_set():
            try:
                datagram = receiver.recv(LARGEST)
            except TimeoutError:
                continue
            take(datagram)

    thread = threading.Thread(target=work, name="statsd", daemon=True)
    thread.start()

    def stop() -> None:
        told.set()
        thread.join()
        receiver.close()

    return int(receiver.getsockname()[1]), stop
