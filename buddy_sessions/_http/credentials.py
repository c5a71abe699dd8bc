"""The token: requested when it is needed, sent in one header, never exposed."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable
from typing import AnyStr

from ..errors import ConfigError

_SCHEME = "Bearer "


class Secret(str):
    """A token or header that is hidden by `repr`, and so among the local variables of a traceback."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def redact(self, text: AnyStr) -> AnyStr:
        """Return `text` with `***` in place of the token, which may be JSON-escaped or percent-encoded."""
        # The digits of an escape may be in upper case, so the case is ignored.
        pattern = "".join(map(_match_encoded, self.removeprefix(_SCHEME)))
        if isinstance(text, str):
            return re.sub(pattern, "***", text, flags=re.IGNORECASE)
        return re.sub(pattern.encode(), b"***", text, flags=re.IGNORECASE)


class Credentials:
    """The `Authorization` header, made from a token or from a callable that returns one.

    Args:
        token: The token, or an async callable that returns it.

    Raises:
        ConfigError: The token is invalid.
    """

    def __init__(self, token: str | Callable[[], Awaitable[str]]) -> None:
        self._header = Secret()  # empty until the callable was called
        self._get_token: Callable[[], Awaitable[str]] | None = None
        self._lock = asyncio.Lock()
        if callable(token):
            self._get_token = token
        else:
            self._header = _make_header(token)

    async def header(self) -> Secret:
        """Return the value of the header.

        Raises:
            ConfigError: The callable is not async, or its token is invalid.
        """
        return self._header or await self._renew(self._header)

    async def renew(self, rejected: Secret) -> Secret | None:
        """Return the header with a new token from the callable, or None if there is no callable.

        Raises:
            ConfigError: The token of the callable is invalid.
        """
        return await self._renew(rejected) if self._get_token else None

    async def _renew(self, old: Secret) -> Secret:
        async with self._lock:  # of many calls that need a token at once, only the first one calls the callable
            if self._get_token and self._header is old:
                token = self._get_token()
                if not inspect.isawaitable(token):
                    del token  # it may be a token, which a traceback would show
                    raise ConfigError("the token callable must be async: it is awaited")
                self._header = _make_header(await token)
            return self._header


def hide_token(token: str | Callable[[], Awaitable[str]]) -> Secret | Callable[[], Awaitable[str]]:
    """Return a token as a `Secret`, and a callable unchanged. Anything else becomes the empty token, an invalid one."""
    if callable(token):
        return token
    return Secret(token if isinstance(token, str) else "")


def _make_header(token: str) -> Secret:
    token = Secret(token if isinstance(token, str) else "")
    if not token:
        raise ConfigError("the token is empty: create one in Buddy with the scope UNIT_TEST_INFO")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token contains a space, a line break or another character that no token has")
    return Secret(_SCHEME + token)


def _match_encoded(character: str) -> str:
    r"""Return a regular expression for `/`, `\/`, `\u002f` and `%2f`, or likewise for another character."""
    literal, code = re.escape(character), f"{ord(character):02x}"
    return rf"(?:{literal}|\\{literal}|\\u00{code}|%{code})"
