"""A raw server: it answers each request with bytes from a script, well-formed or not, and hangs up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from attrs import define, field
from yarl import URL


@define
class RawServer:
    base_url: URL
    requests: list[bytes] = field(factory=list)


@contextlib.asynccontextmanager
async def raw_server(*script: bytes) -> AsyncIterator[RawServer]:
    """Answer the n-th request with the n-th text of the script, the last one for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            raw.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(script[min(len(raw.requests), len(script)) - 1])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    raw = RawServer(URL(f"http://127.0.0.1:{port}"))
    async with server:
        yield raw


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a well-formed answer that ends the connection."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
