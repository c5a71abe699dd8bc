"""The token: asked for when it is needed, sent in one header, shown nowhere."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import AnyStr

from .errors import ConfigError

_SCHEME = "Bearer "


class Secret(str):
    """A text that is itself on the wire, and hidden in a `repr`, and so in a traceback's local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def hidden_in(self, text: AnyStr) -> AnyStr:
        """Return `text` without the token, should a server have repeated it."""
        token = self.removeprefix(_SCHEME)
        return text.replace(token, "***") if isinstance(text, str) else text.replace(token.encode(), b"***")


class Credentials:
    """The `Authorization` header, from a token or from a callable that is awaited for one."""

    def __init__(self, token: str | Callable[[], Awaitable[str]]) -> None:
        self._header = Secret()  # empty: not known yet
        self._ask: Callable[[], Awaitable[str]] | None = None
        self._lock = asyncio.Lock()
        if callable(token):
            self._ask = token
        else:
            self._header = _bearer(token)

    async def header(self) -> Secret:
        """Return the header's value."""
        return self._header or await self._renew(self._header)

    async def renew(self, stale: Secret) -> Secret | None:
        """Return another value than `stale`, which was refused; None where there is nobody to ask for one."""
        return await self._renew(stale) if self._ask else None

    async def _renew(self, stale: Secret) -> Secret:
        async with self._lock:  # a thousand callers that are refused at once ask once
            if self._ask and self._header is stale:
                token = self._ask()
                if not inspect.isawaitable(token):
                    del token  # it may well be one, and a traceback would show it
                    raise ConfigError("the token callable must be async: it is awaited")
                self._header = _bearer(await token)
            return self._header


def concealed(token: str | Callable[[], Awaitable[str]]) -> Secret | Callable[[], Awaitable[str]]:
    """Return a token that no traceback shows; a callable as it is. What is neither is as good as no token."""
    return token if callable(token) else Secret(token if isinstance(token, str) else "")


def _bearer(token: str) -> Secret:
    token = Secret(token if isinstance(token, str) else "")
    if not token:
        raise ConfigError("the token is empty: create one in Buddy with the scope UNIT_TEST_INFO")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError("the token holds a space, a line break or another character that no token has")
    return Secret(_SCHEME + token)
