"""An engine for router tests: HTTP/1.1 with kept connections, at a set speed.

`python tiny_engine.py NAME` serves on a port that the kernel chooses and writes it to its output.

    GET  /health                      200
    GET  /seen                        what came so far, and what was given up by its client
    POST /unary/SECONDS               name and size of the body, after a while
    POST /stream/FIRST/COUNT/GAP      COUNT events; seconds to the first and between them
"""

from __future__ import annotations

import asyncio
import json
import sys

NAME = sys.argv[1]
SEEN = {"requests": 0, "abandoned": 0}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            size = content_length(head)
            body = await reader.readexactly(size)
            if method == "POST":
                SEEN["requests"] += 1
                await answer(path.split("/")[1:], len(body), reader, writer)
            else:
                send(writer, json.dumps(SEEN if path == "/seen" else NAME))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def answer(parts, size, reader, writer) -> None:
    kind, *numbers = parts
    gone = asyncio.ensure_future(reader.read(1))
    wait = asyncio.ensure_future(asyncio.sleep(float(numbers[0])))
    await asyncio.wait([gone, wait], return_when=asyncio.FIRST_COMPLETED)
    if gone.done():
        wait.cancel()
        SEEN["abandoned"] += 1
        raise ConnectionResetError
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    if kind == "unary":
        send(writer, json.dumps({"name": NAME, "size": size}))
    else:
        await stream(writer, count=int(numbers[1]), gap_s=float(numbers[2]))


async def stream(writer, *, count: int, gap_s: float) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for number in range(count):
        chunk(writer, f"data: {number}\n\n")
        await writer.drain()
        await asyncio.sleep(gap_s)
    chunk(writer, "data: [DONE]\n\n")
    chunk(writer, "")


def chunk(writer, text: str) -> None:
    writer.write(f"{len(text):x}\r\n{text}\r\n".encode())


def send(writer, text: str) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())


def content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


asyncio.run(main())
