"""A raw server: it answers each request by a script of bytes, pauses and ways to hang up, well-formed or not."""

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
    """What becomes of a connection. Without one of these it is closed at the end of an answer."""

    FIN = "half-closed: no more is sent, and the client is waited for"
    RST = "reset"
    KEEP = "kept open for the next request"


Step = bytes | End | Callable[[], Awaitable[object]]
"""Bytes are sent; anything else than an end is called, and awaited."""

Script = bytes | Iterable[Step]
"""One answer, which may be endless. It ends early when the client hangs up."""


@define(eq=False)
class RawServer:
    base_url: URL = field(init=False)
    script: tuple[Script, ...]
    requests: list[bytes] = field(factory=list)
    connections: set[Connection] = field(factory=set)
    """Those that are open."""


class Connection(asyncio.Protocol):
    def __init__(self, raw: RawServer) -> None:
        self._raw = raw
        self._received = b""
        self._writable = asyncio.Event()
        self._writable.set()
        self._playing: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._raw.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        request, end, rest = self._received.partition(b"\r\n\r\n")
        if end:
            self._received = rest
            self._raw.requests.append(request + end)
            script = self._raw.script[min(len(self._raw.requests), len(self._raw.script)) - 1]
            self._playing = asyncio.create_task(self._play([script] if isinstance(script, bytes) else script))

    def connection_lost(self, exc: Exception | None) -> None:
        self._raw.connections.discard(self)
        if self._playing is not None:
            self._playing.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def _play(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if self.transport.is_closing():  # the client has hung up: nothing would make an endless answer pause
                return None
            if isinstance(step, bytes):
                self.transport.write(step)
                await self._writable.wait()
            elif step is End.RST:
                linger = struct.pack("ii", 1, 0)  # to close is to reset
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
async def raw_server(*script: Script) -> AsyncIterator[RawServer]:
    """Answer the n-th request by the n-th part of the script, the last one for ever."""
    raw = RawServer(script)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(raw), "127.0.0.1", 0)
    raw.base_url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server:
        try:
            yield raw
        finally:
            for connection in list(raw.connections):
                connection.transport.abort()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a well-formed answer that ends the connection."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
