"""What can go wrong with one answer, as values that a test queues with `FakeBuddy.inject`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import attrs
from aiohttp import web

from .wire import error

Answering = Callable[[], web.Response]
"""Computes the undisturbed answer, as of the moment it is called."""

Play = Callable[[web.BaseRequest, Answering], Awaitable[web.Response | None]]
"""Returns what to answer to a request, or None to close the connection without another byte."""


@attrs.frozen
class Fault:
    """One disturbed answer. Make it with one of the constructors, or with a `Play` of your own.

    Faults that replace the answer happen in front of Buddy, as a proxy's or a network's would: the request is
    recorded, but nobody looks at its token, and it spends nothing of the rate limit.
    """

    name: str
    play: Play = attrs.field(repr=False)

    @staticmethod
    def status(code: int, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> "Fault":
        """Return a fault that answers with another status.

        Args:
            code: The HTTP status: any, so a redirect or a 204 can be had too.
            body: The body as it is. Buddy's error JSON if left out.
            headers: Headers besides the usual ones. The content type is JSON unless given here.
        """
        content = error(code, f"HTTP {code}, a fault that was injected")[1] if body is None else body

        async def play(_request: web.BaseRequest, _answer: Answering) -> web.Response:
            response = web.Response(status=code, body=content, headers=headers)
            response.headers.setdefault("Content-Type", "application/json")
            return response

        return Fault(f"status({code})", play)

    @staticmethod
    def body(content: bytes, *, headers: Mapping[str, str] | None = None) -> "Fault":
        """Return a fault that answers 200 with `content` as it is, as JSON unless `headers` say otherwise."""
        return Fault(f"body({len(content)} bytes)", Fault.status(200, body=content, headers=headers).play)

    @staticmethod
    def disconnect() -> "Fault":
        """Return a fault that closes the connection before a byte is answered."""

        async def play(_request: web.BaseRequest, _answer: Answering) -> None:
            return None

        return Fault("disconnect()", play)

    @staticmethod
    def truncate(after: int = 100) -> "Fault":
        """Return a fault that promises the whole body, and closes the connection `after` bytes into it."""

        async def play(request: web.BaseRequest, answer: Answering) -> None:
            whole = answer()
            body = cast("bytes", whole.body)  # aiohttp would take other things too; FakeBuddy makes bytes
            cut = web.StreamResponse(status=whole.status, headers=whole.headers)
            cut.content_length = len(body)
            await cut.prepare(request)
            await cut.write(body[:after])

        return Fault(f"truncate({after})", play)

    @staticmethod
    def stall(seconds: float) -> "Fault":
        """Return a fault that answers as ever, but `seconds` late."""

        async def play(_request: web.BaseRequest, answer: Answering) -> web.Response:
            await asyncio.sleep(seconds)
            return answer()

        return Fault(f"stall({seconds})", play)

    @staticmethod
    def hang() -> "Fault":
        """Return a fault that never answers. It ends when the client goes away or the server closes."""

        async def play(_request: web.BaseRequest, _answer: Answering) -> None:
            await asyncio.Event().wait()

        return Fault("hang()", play)
