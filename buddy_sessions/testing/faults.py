"""Faults of a response, to be queued with `FakeBuddy.inject`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, cast

import attrs
from aiohttp import web

from .endpoints import SuiteView, cut_page
from .stored_sessions import Snapshot
from .wire import JsonObject, error_body

MakeResponse: TypeAlias = Callable[[], web.Response]
"""Returns the usual response, changed by the `view` of the fault. It is made at the time of the call."""

FaultHandler: TypeAlias = Callable[[web.BaseRequest, MakeResponse], Awaitable[web.Response | None]]
"""Handles a request. Returns the response to send, or None to close the connection without sending anything more."""


async def _respond(_request: web.BaseRequest, make_response: MakeResponse) -> web.Response:
    return make_response()


@attrs.frozen
class Fault:
    """A fault of one response, created by a static method or from your own handler.

    `status`, `body`, `disconnect`, `truncate`, `stall` and `hang` are faults of a network or a proxy. Unless their
    handler calls `make_response`, the token is not checked, and the request does not count against the rate limit.

    The other ones are wrong responses of Buddy: the status is 200 and the content is plausible. `stale` changes lists
    of sessions, single sessions, and their test cases. `short_page`, `swapped` and `missing_row` change lists of
    sessions and of test cases, if these have such a row.

    Attributes:
        name: The name of the fault, for `repr`.
        handler: Handles the request in place of the server.
        view: What the response shows that `make_response` returns; None for no change.
    """

    name: str
    handler: FaultHandler = attrs.field(repr=False, default=_respond)
    view: SuiteView | None = attrs.field(repr=False, default=None)

    @staticmethod
    def status(code: int, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> "Fault":
        """Return a fault that responds with this status.

        Args:
            code: Any HTTP status from 200 to 599, including redirects and 204.
            body: The exact body (default: an error in the API's JSON).
            headers: Additional headers. The content type is JSON unless it is given here.
        """
        if not 200 <= code <= 599:
            raise ValueError(f"{code} is no status of a response: use 200 to 599")
        content = error_body(f"HTTP {code} (injected fault)") if body is None else body

        async def handler(_request: web.BaseRequest, _make_response: MakeResponse) -> web.Response:
            response = web.Response(status=code, body=content, headers=headers)
            response.headers.setdefault("Content-Type", "application/json")
            return response

        return Fault(f"status({code})", handler)

    @staticmethod
    def body(content: bytes, *, headers: Mapping[str, str] | None = None) -> "Fault":
        """Return a fault that responds with status 200 and the exact body `content`. For `headers`, see `status`."""
        return Fault(f"body({len(content)} bytes)", Fault.status(200, body=content, headers=headers).handler)

    @staticmethod
    def disconnect() -> "Fault":
        """Return a fault that closes the connection before the first byte of a response."""

        async def handler(_request: web.BaseRequest, _make_response: MakeResponse) -> None:
            return None

        return Fault("disconnect()", handler)

    @staticmethod
    def truncate(after: int = 100) -> "Fault":
        """Return a fault that closes the connection after `after` bytes of the body, and announces the whole body."""

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

    @staticmethod
    def stale(snapshot: Snapshot) -> "Fault":
        """Return a fault that responds as if the suite were still in an older state, as a replica that is behind.

        Args:
            snapshot: The result of `FakeSuite.snapshot`, for the suite that the request reads; or a part of it, as for
                a token that may not see the others.
        """
        return Fault(f"stale({len(snapshot)} sessions)", view=SuiteView(snapshot=snapshot))

    @staticmethod
    def short_page(rows: int) -> "Fault":
        """Return a fault that responds with the first `rows` rows of the page only; 0 for an empty page."""
        return Fault(f"short_page({rows})", view=SuiteView(cut=lambda *page: cut_page(*page)[:rows]))

    @staticmethod
    def swapped(offset: int) -> "Fault":
        """Return a fault that exchanges the rows at `offset` and `offset + 1` of the whole list; 0 is the newest."""

        def cut(rows: list[JsonObject], number: int, size: int) -> list[JsonObject]:
            swapped = [*rows[:offset], *reversed(rows[offset : offset + 2]), *rows[offset + 2 :]]
            return cut_page(swapped, number, size)

        return Fault(f"swapped({offset})", view=SuiteView(cut=cut))

    @staticmethod
    def missing_row(index: int) -> "Fault":
        """Return a fault that leaves out the row at `index` of the page, from 0. No other row takes its place."""

        def cut(rows: list[JsonObject], number: int, size: int) -> list[JsonObject]:
            page = cut_page(rows, number, size)
            return [*page[:index], *page[index + 1 :]]

        return Fault(f"missing_row({index})", view=SuiteView(cut=cut))


RANDOM_FAULTS = (
    Fault.status(500),
    Fault.status(503, headers={"Retry-After": "1"}),
    Fault.status(429, headers={"Retry-After": "1"}),
    Fault.body(b"<html>Bad Gateway</html>", headers={"Content-Type": "text/html"}),
    Fault.disconnect(),
    Fault.truncate(),
    Fault.stall(2),
    Fault.short_page(0),
    Fault.missing_row(0),
    Fault.swapped(0),
)
"""Those that `FakeBuddy.fault_rate` chooses from. A client should get over each of them, or say that it cannot."""
