"""A server that responds by a script of bytes and pauses, so that its responses can be malformed."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from attrs import define, field
from yarl import URL


class End(enum.Enum):
    """The end of a connection. Without one, the connection is closed after the response."""

    FIN = "half-closed: nothing more is sent, and the client has to close"
    RST = "reset"
    KEEP = "kept open for the next request"


Step = bytes | End | Callable[[], Awaitable[object]]
"""Bytes to send, the end of the connection, or a function to await."""

Script = bytes | Iterable[Step]
"""One response, which may be endless. It stops when the client disconnects."""


@define(eq=False)
class RawServer:
    """A running server: the n-th request gets the n-th script; the last one is repeated."""

    base_url: URL = field(init=False)
    scripts: tuple[Script, ...]
    requests: list[bytes] = field(factory=list)  # the headers of the requests so far
    connections: set[Connection] = field(factory=set)


class Connection(asyncio.Protocol):
    """A connection of a client to a `RawServer`."""

    def __init__(self, server: RawServer) -> None:
        self.transport: asyncio.Transport
        self._server = server
        self._received = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._response: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        headers, end, rest = self._received.partition(b"\r\n\r\n")
        if end:
            self._received = rest
            self._server.requests.append(headers + end)
            scripts = self._server.scripts
            script = scripts[min(len(self._server.requests), len(scripts)) - 1]
            self._response = asyncio.create_task(self._respond([script] if isinstance(script, bytes) else script))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._response is not None:
            self._response.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _respond(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if self.transport.is_closing():  # writing to a closed transport never pauses an endless response
                return None
            if isinstance(step, bytes):
                self.transport.write(step)
                await self._writable.wait()
            elif step is End.RST:
                linger = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return self.transport.abort()
            elif step is End.FIN:
                return self.transport.write_eof()
            elif step is End.KEEP:
                return None
            else:
                await step()
        return self.transport.close()


@contextlib.asynccontextmanager
async def raw_server(*scripts: Script) -> AsyncIterator[RawServer]:
    """Run a server on a free port. The n-th request gets the n-th response; the last one is repeated."""
    raw = RawServer(scripts)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(raw), "127.0.0.1", 0)
    raw.base_url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        try:
            yield raw
        finally:
            for connection in list(raw.connections):
                connection.transport.abort()


def http_response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a well-formed response that ends the connection."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
