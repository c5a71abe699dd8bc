"""The token: requested when it is needed, sent in one header, never exposed."""

from __future__ import annotations

import asyncio
import copy
import inspect
import math
import re
from collections.abc import Awaitable, Callable
from typing import AnyStr
from urllib.parse import quote

from .._base.figures import format_duration
from ..errors import BuddyError, ConfigError, TransportError

_SCHEME = "Bearer "
_SHORTEST_REDACTED = 8  # characters
_RENEWAL_INTERVAL = 60.0  # seconds between two renewals, if no request in between has succeeded


class Secret:
    """A text that no traceback shows: tools cut a `str` before they take its `repr`, but not this. Empty if it is none.

    No function that may fail keeps the result of `reveal` in a variable.
    """

    __slots__ = ("_text",)

    def __init__(self, text: object) -> None:
        self._text = text if isinstance(text, str) else ""

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "'***'"

    def reveal(self) -> str:
        return self._text

    def redact(self, text: AnyStr) -> AnyStr:
        """Return `text` with `***` in place of the token: as it is, as in `repr`, or percent-encoded.

        A token of fewer than 8 characters is not replaced: it may be part of any text.
        """
        if len(self._text.removeprefix(_SCHEME)) < _SHORTEST_REDACTED:
            return text
        if isinstance(text, str):
            return re.sub(self._pattern(), "***", text, flags=re.IGNORECASE)
        return re.sub(self._pattern().encode(), b"***", text, flags=re.IGNORECASE)

    def hide(self, body: bytes) -> bytes:
        """Return a body with `***` in place of the token as it is: a test may have printed its environment."""
        token = self._text.removeprefix(_SCHEME).encode()
        return self.redact(body) if token in body else body  # this search takes 8 us of a page of 100 kB

    def _pattern(self) -> str:
        """Return a pattern of the token. Servers percent-encode in upper or lower case, and not always a slash."""
        token = self._text.removeprefix(_SCHEME)
        return "|".join(map(re.escape, (token, repr(token)[1:-1], quote(token), quote(token, safe=""))))


class Credentials:
    """The `Authorization` header, made from a token, or from an async callable that returns one within `timeout`."""

    def __init__(self, token: Secret | Callable[[], Awaitable[str]], timeout: float) -> None:
        self._get_token = token if callable(token) else None
        self._header = Secret("") if callable(token) else _make_header(token)  # empty until the callable was called
        self._is_rejected = False
        self._timeout = timeout
        self._call: asyncio.Task[Secret] | None = None  # shared by all tasks that need a token
        self._waiting = 0  # the number of these tasks
        # The time of the event loop before which the token is not renewed.
        self._next_renewal = -math.inf if callable(token) else math.inf

    async def header(self) -> Secret:
        """Return the value of the header. A token that was rejected is replaced first, if that is due.

        Raises:
            ConfigError: The callable is not async, or its token is invalid.
            TransportError: The callable did not return in time, or was cancelled. Its own errors are raised unchanged.
        """
        if self._get_token is not None and (not self._header or self.is_outdated(self._header)):
            return await self._renew(self._get_token)
        return self._header

    def is_outdated(self, header: Secret) -> bool:
        """Return whether a header has been replaced, or must be replaced because its token was rejected.

        The callable is called at most once a minute, unless a request has succeeded in between.
        """
        is_due = asyncio.get_running_loop().time() >= self._next_renewal
        return header is not self._header or (self._is_rejected and is_due)

    def record(self, header: Secret, status: int) -> None:
        if header is self._header and status in (200, 401):
            self._is_rejected = status == 401
            if self._get_token is not None and not self._is_rejected:
                self._next_renewal = -math.inf

    async def _renew(self, get_token: Callable[[], Awaitable[str]]) -> Secret:
        """Return a new header. All tasks that need one at the same time share one call of the callable."""
        if self._call is None:
            self._call = asyncio.create_task(self._call_callable(get_token))
        call = self._call
        self._waiting += 1
        try:
            await asyncio.wait([call])  # a caller that is cancelled does not cancel the call
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._call = None
                call.cancel()  # if it has failed, asyncio now logs nothing
                await asyncio.wait([call])
        if call.cancelled():
            raise TransportError("the token callable was cancelled")
        if isinstance(error := call.exception(), BuddyError):
            raise copy.copy(error)  # each caller gets its own, with its own cursor
        return call.result()

    async def _call_callable(self, get_token: Callable[[], Awaitable[str]]) -> Secret:
        token = get_token()
        if not inspect.isawaitable(token):
            del token  # it may be a token, which a traceback would show
            raise ConfigError("the token callable must be async: it is awaited")
        timeout = asyncio.timeout(self._timeout)
        try:
            async with timeout:
                header = _make_header(Secret(await token))
        except TimeoutError:
            if not timeout.expired():
                raise  # by the callable
            raise TransportError(f"the token callable did not return within {format_duration(self._timeout)}") from None
        if self._header:
            self._next_renewal = asyncio.get_running_loop().time() + _RENEWAL_INTERVAL
        self._header = header
        self._is_rejected = False
        return header


def hide_token(token: str | Callable[[], Awaitable[str]]) -> Secret | Callable[[], Awaitable[str]]:
    """Return a token as a `Secret`, and a callable unchanged. Anything else becomes the empty token, an invalid one."""
    return token if callable(token) else Secret(token)


def _make_header(token: Secret) -> Secret:
    if not token:
        raise ConfigError("the token is empty: create one in Buddy with the scope UNIT_TEST_READ")
    if not re.fullmatch("[!-~]+", token.reveal()):  # printable ASCII
        raise ConfigError("the token contains a space, a line break or another character that no token has")
    if token.reveal().startswith("bud_ut_"):
        raise ConfigError(
            "this is the token of a suite, which can only upload: create a personal access token with the scope "
            "UNIT_TEST_READ"
        )
    return Secret(_SCHEME + token.reveal())
