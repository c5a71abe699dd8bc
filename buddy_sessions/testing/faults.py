"""Faults of a response, to be queued with `FakeBuddy.inject`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias, cast

import attrs
from aiohttp import web

from .data import Session
from .stored import Snapshot
from .views import Row, View
from .wire import error_response

MakeResponse: TypeAlias = Callable[[], web.Response]
"""Returns the usual response, changed by the `view` of the fault. It is made at the time of the call."""

FaultHandler: TypeAlias = Callable[[web.BaseRequest, MakeResponse], Awaitable[web.Response | None]]
"""Handles a request. Returns the response to send, or None to close the connection without sending anything more."""


async def _respond(_request: web.BaseRequest, make_response: MakeResponse) -> web.Response:
    return make_response()


@attrs.frozen
class Fault:
    """A fault of one response, created by a static method or from your own handler.

    A fault whose handler does not call `make_response` happens in front of Buddy, like one of a proxy or a network: the
    request is recorded, but its token is not checked, and it does not count against the rate limit.

    Six faults are wrong responses: the status is 200 and the content is plausible. Token, rate limit and parameters are
    checked as usual.

    - `stale`: an older state of the suite, as from a replica that is behind.
    - `filtered`: a part of the sessions, as for a token that may not see the others.
    - `short_page`: only the first rows of the page.
    - `page_size`: a page of another size than requested.
    - `swapped`: a list in which two neighbours are out of order.
    - `missing_row`: a page without one of its rows.

    `stale` and `filtered` change lists of sessions and single sessions: a session that is left out has no test cases or
    test groups either, and a stale one has those of that time. The others change lists of sessions, of test cases and
    of test groups. All other responses remain as usual. `swapped` and `missing_row` have no effect if that row
    does not exist.

    Attributes:
        name: The name of the fault, for `repr`.
        handler: Handles the request in place of the server.
        view: The changes to the sessions in the response that `make_response` returns; None for no change.
    """

    name: str
    handler: FaultHandler = attrs.field(repr=False, default=_respond)
    view: View | None = attrs.field(repr=False, default=None)

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

    @staticmethod
    def stale(snapshot: Snapshot) -> "Fault":
        """Return a fault that responds as if the suite were still in the state of `snapshot`.

        Args:
            snapshot: The result of `FakeSuite.snapshot`, for the suite that the request reads.
        """
        return Fault(f"stale({len(snapshot)} sessions)", view=View(snapshot=snapshot))

    @staticmethod
    def filtered(hidden: Callable[[Session], bool], *, after_cut: bool = False) -> "Fault":
        """Return a fault that leaves out sessions. A single session that is left out gets a 404, as its test cases do.

        Args:
            hidden: Returns whether a session, in the API's JSON, is left out.
            after_cut: Leave the sessions out after the page is cut, which makes the page shorter. By default, the page
                is cut from the list without them.
        """
        return Fault(f"filtered(after_cut={after_cut})", view=View(is_hidden=hidden, hide_after_cut=after_cut))

    @staticmethod
    def short_page(rows: int) -> "Fault":
        """Return a fault that responds with the first `rows` rows of the page only; 0 for an empty page."""
        return Fault(f"short_page({rows})", view=View(change_page=lambda page: page[:rows]))

    @staticmethod
    def page_size(size: int) -> "Fault":
        """Return a fault that responds as if `per_page` were `size`, also if that is more than `largest_page`.

        Page `n` starts after `(n - 1) * size` rows.
        """
        return Fault(f"page_size({size})", view=View(page_size=size))

    @staticmethod
    def swapped(offset: int) -> "Fault":
        """Return a fault that exchanges two neighbours in the list, before the page is cut.

        Args:
            offset: The position of the first one in the list, or in the list of the requested branch; 0 is the newest.
        """

        def swap(rows: list[Row]) -> list[Row]:
            return [*rows[:offset], *reversed(rows[offset : offset + 2]), *rows[offset + 2 :]]

        return Fault(f"swapped({offset})", view=View(change_list=swap))

    @staticmethod
    def missing_row(index: int) -> "Fault":
        """Return a fault that leaves out the row at `index` of the page, from 0. No other row takes its place."""
        view = View(change_page=lambda page: [*page[:index], *page[index + 1 :]])
        return Fault(f"missing_row({index})", view=view)
