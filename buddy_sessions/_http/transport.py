"""One authenticated GET, with retries and the rate limit, that results in a decoded value or an error of errors.py."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, NoReturn, TypeAlias, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from attrs import evolve
from yarl import URL

from .._base.figures import Fetched
from .._decoding.converter import InvalidValue
from .._version import __version__
from ..errors import BuddyError, ClientClosedError, ConfigError, RateLimitError, ResponseError
from .credentials import Credentials, Secret
from .rate_limit import RateLimiter, WaitBudget, is_throttled, parse_http_date, parse_rate_limit
from .responses import Response, decode_response, strip_traceback, translate
from .retries import Attempts, RetryQuota

MAX_BODY = 4 * 2**20
"""The maximum size of a page in bytes, after decompression. Of an error, no more is read."""
MAX_LONG_BODY = 16 * 2**20
"""The same for a response without pages that may be long: the suites of a project, or a test case with its `data`."""

_HEADERS = {
    "Accept": "application/json",
    "Cache-Control": "no-cache",  # a list that a cache has kept is outdated
    "User-Agent": f"buddy_sessions/{__version__}",
}

OnSize: TypeAlias = Callable[[int], Awaitable[None]] | None

_T = TypeVar("_T")
_log = logging.getLogger("buddy_sessions")
_log.addHandler(logging.NullHandler())  # without a configuration, logging would print warnings to stderr


class Transport:
    """Sends authenticated GETs with an aiohttp session of its own, or with the caller's, which it never closes."""

    def __init__(
        self,
        credentials: Credentials,
        rate_limiter: RateLimiter,
        *,
        http_session: aiohttp.ClientSession | None,
        ssl_context: ssl.SSLContext | None,
        max_concurrency: int,
        timeout: float,
        max_attempts: int,
        max_wait: float,
        backoff: float,
        proxy: URL | None,
    ) -> None:
        self._credentials = credentials
        self.rate_limiter = rate_limiter
        self._logged_fields: set[str] = set()  # those with values that do not fit
        self.server_time: datetime | None = None  # of the last response with a valid `Date`
        self.requests = 0  # of all calls that have ended
        quota = RetryQuota(max_concurrency)
        self._new_attempts: Callable[[], Attempts] = lambda: Attempts(
            max_attempts, backoff, quota, WaitBudget(max_wait)
        )
        self._session = http_session
        self._owns_session = http_session is None
        self._is_closed = False
        self._max_concurrency = max_concurrency
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None  # the process and event loop of its first use
        self._timeout = timeout
        self._arguments: dict[str, Any] = {  # of each request
            "allow_redirects": False,
            "raise_for_status": False,
            "auto_decompress": True,
            "proxy": proxy,  # None: none, or that of the caller's session
            "ssl": ssl_context or True,  # True: the default of aiohttp
            "timeout": aiohttp.ClientTimeout(total=timeout),
        }

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BuddyClient cannot be pickled, nor what reads with it: create a client in each process")

    async def close(self) -> None:
        """Close its own aiohttp session; ConfigError if that belongs to another event loop or process."""
        session = self._session if self._owns_session else None
        if session is not None and not session.closed:
            self.check_event_loop()
        self._is_closed = True
        if session is not None:
            await session.close()

    async def get(
        self, url: URL, decode: Callable[..., _T], *, max_body: int = MAX_BODY, on_size: OnSize = None
    ) -> Fetched[_T]:
        """Fetch and decode a URL. A failure that another attempt may fix is retried.

        A response that asks the client to wait is no failed attempt. After a 401, a new token is tried once. A body
        that `decode` rejects is retried, too; what it adds to `invalid` is counted, and logged once a field. `max_body`
        is in bytes; of an error, the first `MAX_BODY` are read.
        `on_size` is awaited with the number of bytes each time that some have arrived.

        Return the decoded value or any `BuddyError`, and the cost. Other errors of the token callable or the limiter
        are raised.
        """
        attempts = self._new_attempts()
        value: _T | None = None
        invalid: list[InvalidValue] = []
        failure: BuddyError | None = None
        try:
            while True:
                # Errors of the token callable and of the rate limiter are final: they are raised outside of the try.
                session, header = await self._take_turn(url, attempts)
                attempts.requests += 1
                try:
                    response = await self._send_in_turn(session, url, header, max_body, on_size)
                    if attempts.take_repeat(response, url, header, self._credentials):
                        continue
                    invalid = []
                    value = decode_response(response, url, header, partial(decode, invalid=invalid))
                    break
                except BuddyError as error:
                    pause = attempts.pause_after(error)
                await asyncio.sleep(pause)
        except BuddyError as error:
            failure = strip_traceback(error)
            failure.attempts = attempts.requests
        else:
            attempts.record_success()
            self._log_invalid(invalid, url)
        self.requests += attempts.requests
        return Fetched(stats=attempts.stats(invalid_fields=len(invalid)), value=value, error=failure)

    def _log_invalid(self, invalid: Iterable[InvalidValue], url: URL) -> None:
        for each in invalid:
            field = f"{each.model}.{each.field}"
            if field not in self._logged_fields:
                self._logged_fields.add(field)
                message = f"{field} {each.reason}: it is None, and logged once"
                _log.warning("%s", ResponseError(message, url=str(url)))

    async def get_once(self, url: URL) -> Response:
        """Send one request. Return its response, whatever the status, without the token; TransportError if it fails."""
        session, header = await self._take_turn(url, self._new_attempts())
        response = await self._send_in_turn(session, url, header, MAX_LONG_BODY)
        headers = {name.lower(): header.redact(value) for name, value in response.headers.items()}
        return evolve(response, headers=headers, body=header.redact(response.body))

    async def _take_turn(self, url: URL, attempts: Attempts) -> tuple[aiohttp.ClientSession, Secret]:
        """Wait until a request may be sent, and return what to send it with. `RateLimiter.release` must follow."""
        while True:
            session = self._open_session()  # a closed client fails at once, without waiting for its turn
            check_proxy(session, url)  # again: the environment may have changed
            header = await self._credentials.header()
            try:
                await self.rate_limiter.acquire(attempts.budget)
            except RateLimitError as error:
                error.url = str(url)
                raise attempts.throttled or error from None  # Buddy's own messages are more helpful
            if not session.closed and not self._credentials.is_outdated(header):
                return session, header
            self.rate_limiter.release()  # the session was closed, or the token rejected, during the wait

    async def _send_in_turn(
        self, session: aiohttp.ClientSession, url: URL, header: Secret, max_body: int, on_size: OnSize = None
    ) -> Response:
        """Send one request, and record what its response reports about the token and the rate limit."""
        sent_at = asyncio.get_running_loop().time()
        try:
            response = await self._send(session, url, header, max_body, on_size)
            self._credentials.record(header, response.status)
            pause = self.rate_limiter.update(response.rate_limit, sent_at=sent_at, throttled=response.is_throttled)
            if pause:
                reason = "too many requests" if response.status == 429 else "the server is unavailable"
                _log.warning("%s (%d): the next request is sent in %.1f s", reason, response.status, pause)
            return response
        finally:
            self.rate_limiter.release()

    def _open_session(self) -> aiohttp.ClientSession:
        """Return the aiohttp session, which is created if necessary; ClientClosedError if it is closed."""
        self.check_event_loop()
        if self._is_closed:
            raise ClientClosedError("the client is closed: keep it open until your loops have ended")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_concurrency),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        elif self._session.closed:
            raise ClientClosedError("the aiohttp session that the client borrowed is closed")
        return self._session

    def check_event_loop(self) -> None:
        """Raise ConfigError unless the running event loop is the one, not copied by a fork, that used this first."""
        if self._owner is not None and self._owner[0] != os.getpid():
            raise ConfigError("this process was forked after the client was used: create a client in each process")
        try:
            owner = os.getpid(), asyncio.get_running_loop()
        except RuntimeError:
            message = "no asyncio event loop is running: the client needs asyncio, and does not run under trio"
            raise ConfigError(message) from None
        if self._owner is None:
            self._owner = owner
        elif self._owner != owner:
            raise ConfigError(
                "the client was first used in another event loop (of another thread, or of an earlier asyncio.run): "
                "create a client in each event loop"
            )

    async def _send(
        self, session: aiohttp.ClientSession, url: URL, header: Secret, max_body: int, on_size: OnSize
    ) -> Response:
        """Send one request, and log it. A failure is raised as one of this package's errors."""
        started = time.perf_counter()
        try:
            async with session.get(
                url, headers={**_HEADERS, "Authorization": header.reveal()}, **self._arguments
            ) as received:
                self.server_time = parse_http_date(received.headers.get("Date")) or self.server_time
                response = Response(
                    status=received.status,
                    rate_limit=parse_rate_limit(received.headers),
                    headers=received.headers,
                    body=await _read_body(received, max_body, on_size),
                    is_throttled=is_throttled(received.status, received.headers),
                )
        # A TimeoutError is an OSError.
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, ResponseError) as error:
            failure = translate(error, url, header, self._timeout)
            if session.closed:
                failure = ClientClosedError("the client, or the aiohttp session that it borrowed, was closed in flight")
            # As text, because a log record may outlive the request, and the error's frames hold the response.
            _log.debug("GET %s failed after %.1f ms: %s", url.raw_path_qs, _milliseconds_since(started), str(failure))
            raise failure from None
        except BaseException as error:
            strip_traceback(error)  # the frames of aiohttp hold the header, and the URL of the proxy with its password
            raise
        arguments = url.raw_path_qs, response.status, _milliseconds_since(started), len(response.body)
        _log.debug("GET %s %d %.1f ms %d bytes", *arguments)
        return response


def check_proxy(session: aiohttp.ClientSession, url: URL) -> None:
    """Raise ConfigError if aiohttp would send a request to a proxy of the environment, with a token that it can read.

    The conditions are those of aiohttp, for which `proxy=None` and no `proxy` are the same.
    """
    trusts_environment = getattr(session, "trust_env", False)  # a wrapper of a session may not have it
    if trusts_environment and url.scheme == "http" and "http" in getproxies() and not proxy_bypass(url.host or ""):
        raise ConfigError(
            "http_session would send the token unencrypted to a proxy of the environment: create it without trust_env, "
            f"or add {url.host} to NO_PROXY"
        )


async def _read_body(response: aiohttp.ClientResponse, max_size: int, on_size: OnSize) -> bytes:
    """Return the decompressed body, of an error its first part. Stops at `max_size`; aiohttp's own `read` has none."""
    is_error = response.status != 200
    if is_error:
        max_size = MAX_BODY
    chunks: list[bytes] = []
    size = 0
    if is_error or (response.content_length or 0) <= max_size:
        async for chunk in response.content.iter_any():
            chunks.append(chunk[: max_size - size])
            size += len(chunk)
            if size > max_size:
                break
            if on_size is not None:
                await on_size(size)
        if is_error or size <= max_size:
            return b"".join(chunks)
    raise ResponseError(f"the response is too large: over {max_size // 2**20} MiB")


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
