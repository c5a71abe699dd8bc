"""Faults of a response, to be queued with `FakeBuddy.inject`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, cast

import attrs
from aiohttp import web

from .wire import error_response

MakeResponse: TypeAlias = Callable[[], web.Response]
"""Returns the response that would be sent without the fault, made at the time of the call."""

FaultHandler: TypeAlias = Callable[[web.BaseRequest, MakeResponse], Awaitable[web.Response | None]]
"""Handles a request. Returns the response to send, or None to close the connection without sending anything more."""


@attrs.frozen
class Fault:
    """A fault of one response, created by a static method or from your own handler.

    A fault whose handler does not call `make_response` happens in front of Buddy, like one of a proxy or a network: the
    request is recorded, but its token is not checked, and it does not count against the rate limit.

    Attributes:
        name: The name of the fault, for `repr`.
        handler: Handles the request in place of the server.
    """

    name: str
    handler: FaultHandler = attrs.field(repr=False)

    @staticmethod
    def status(code: int, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> "Fault":
        """Return a fault that responds with this status.

        Args:
            code: Any HTTP status, including redirects and 204.
            body: The exact body (default: an error in the API's JSON).
            headers: Additional headers. The content type is JSON unless it is given here.
        """
        content = error_response(code, f"HTTP {code} (injected fault)").body if body is None else body

        async def handler(_request: web.BaseRequest, _make_response: MakeResponse) -> web.Response:
            response = web.Response(status=code, body=content, headers=headers)
            response.headers.setdefault("Content-Type", "application/json")
            return response

        return Fault(f"status({code})", handler)

    @staticmethod
    def body(content: bytes, *, headers: Mapping[str, str] | None = None) -> "Fault":
        """Return a fault that responds with status 200 and the exact body `content`.

        Args:
            content: The body.
            headers: Additional headers. The content type is JSON unless it is given here.
        """
        return Fault(f"body({len(content)} bytes)", Fault.status(200, body=content, headers=headers).handler)

    @staticmethod
    def disconnect() -> "Fault":
        """Return a fault that closes the connection before the first byte of a response."""

        async def handler(_request: web.BaseRequest, _make_response: MakeResponse) -> None:
            return None

        return Fault("disconnect()", handler)

    @staticmethod
    def truncate(after: int = 100) -> "Fault":
        """Return a fault that closes the connection after `after` bytes of the body.

        The `Content-Length` is that of the whole body.
        """

        async def handler(request: web.BaseRequest, make_response: MakeResponse) -> None:
            whole = make_response()
            body = cast("bytes", whole.body)  # all bodies of FakeBuddy are bytes
            truncated = web.StreamResponse(status=whole.status, headers=whole.headers)
            truncated.content_length = len(body)
            await truncated.prepare(request)
            await truncated.write(body[:after])

        return Fault(f"truncate({after})", handler)

    @staticmethod
    def stall(seconds: float) -> "Fault":
        """Return a fault that makes and sends the usual response after `seconds` seconds."""

        async def handler(_request: web.BaseRequest, make_response: MakeResponse) -> web.Response:
            await asyncio.sleep(seconds)
            return make_response()

        return Fault(f"stall({seconds})", handler)

    @staticmethod
    def hang() -> "Fault":
        """Return a fault that never responds. It ends when the client disconnects or the server closes."""

        async def handler(_request: web.BaseRequest, _make_response: MakeResponse) -> None:
            await asyncio.Event().wait()

        return Fault("hang()", handler)
