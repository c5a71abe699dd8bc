"""One authenticated GET, with retries and the rate limit, that results in a decoded value or in an error of errors.py.

`Transport` sends requests with aiohttp. `_Call` is one `Transport.get`: its attempts, and what they have cost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from attrs import define
from yarl import URL

from .._stats import Fetched, Stats
from .._version import __version__
from ..errors import BuddyError, ClientClosedError, ConfigError, RateLimitError, ResponseError
from .credentials import Credentials, Secret
from .rate_limit import RateLimiter, WaitBudget
from .rate_window import is_rejection, parse_rate_limit
from .responses import Response, interpret, translate
from .retry import RetryQuota, backoff, disable_logging_hooks, is_worth_retrying, make_retrying_caller

MAX_BODY = 16 * 1024 * 1024
"""The maximum size of a body in bytes, after decompression."""

_HEADERS = {
    "Accept": "application/json",
    "Cache-Control": "no-cache",  # a list that a cache has kept is outdated
    "User-Agent": f"buddy_sessions/{__version__}",
}

_T = TypeVar("_T")
_log = logging.getLogger("buddy_sessions")
_log.addHandler(logging.NullHandler())  # without a configuration, logging would print warnings to stderr


class Transport:
    """Sends authenticated GETs with an aiohttp session of its own, or with the caller's.

    Args:
        credentials: The token.
        rate_limiter: The queue of all requests.
        http_session: The caller's session, which is never closed, or None.
        ssl_context: How to check the server's certificate; None for the default of aiohttp.
        max_concurrency: The maximum number of connections.
        timeout: Seconds for one request, from connecting to the last byte.
        max_attempts: The maximum number of attempts of a call.
        max_wait: Seconds that a call may wait for the rate limit and between its attempts.
        proxy: The proxy; None to use none, or that of the caller's session.
    """

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
        proxy: URL | None,
    ) -> None:
        self.credentials = credentials
        self.rate_limiter = rate_limiter
        self.quota = RetryQuota(max_concurrency)
        self.max_attempts = max_attempts
        self.retrying = make_retrying_caller(max_attempts)
        self._max_wait = max_wait
        self._session = http_session
        self._owns_session = http_session is None
        self._is_closed = False
        self._ssl = ssl_context or True  # True: the default of aiohttp
        self._max_concurrency = max_concurrency
        self._proxy = proxy
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None  # the process and event loop of its first use
        self._timeout = aiohttp.ClientTimeout(total=timeout)

    @property
    def is_open(self) -> bool:
        """Whether its own aiohttp session is open and must be closed."""
        return self._owns_session and self._session is not None and not self._session.closed

    async def close(self) -> None:
        """Close its own aiohttp session. Later calls result in a `ClientClosedError`.

        Raises:
            ConfigError: The session belongs to another event loop or process, and stays open.
        """
        if self.is_open:
            self.check_event_loop()
        self._is_closed = True
        if self._owns_session and self._session is not None:
            await self._session.close()

    async def get(self, url: URL, decode: Callable[[bytes], _T]) -> Fetched[_T]:
        """Fetch and decode a URL. A failure that another attempt may fix is retried.

        Args:
            url: The URL.
            decode: Decodes the body. Called in each attempt, so that a body that cannot be decoded is retried.

        Returns:
            The decoded value or any `BuddyError`, and the cost. Errors of the token callable or limiter are raised.
        """
        call = _Call(self, url, decode, WaitBudget(self._max_wait))
        value: _T | None = None
        failure: BuddyError | None = None
        try:
            value = await call.run()
        except BuddyError as error:
            failure = _detach(error)
        else:
            self.quota.record_success(retried=call.failures > 0)
        stats = Stats(requests=call.requests, retries=max(0, call.requests - 1), waited=call.budget.waited)
        return Fetched(stats=stats, value=value, error=failure)

    def session(self) -> aiohttp.ClientSession:
        """Return the aiohttp session, which is created if necessary.

        Raises:
            ClientClosedError: The client, or the caller's session, is closed.
            ConfigError: See `check_event_loop`.
        """
        self.check_event_loop()
        if self._is_closed:
            raise ClientClosedError("the client is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_concurrency),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        elif self._session.closed:
            raise ClientClosedError("the aiohttp session that the client borrowed is closed")
        return self._session

    def check_event_loop(self) -> None:
        """Check that the running event loop is the one that used the client first.

        Raises:
            ConfigError: It is another one, it was copied by a fork, or no asyncio event loop is running.
        """
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

    async def send(self, session: aiohttp.ClientSession, url: URL, header: Secret) -> Response:
        """Send one request, and log it.

        Raises:
            BuddyError: There is no usable response.
        """
        started = time.perf_counter()
        try:
            response = await self._exchange(session, url, header)
        # A TimeoutError is an OSError.
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, ResponseError) as error:
            failure = translate(error, url, header, self._timeout.total)
            if session.closed:
                failure = ClientClosedError("the client, or the aiohttp session that it borrowed, was closed in flight")
            # As text, because a log record may outlive the request, and the error's frames hold the response.
            _log.debug("GET %s failed after %.1f ms: %s", url.raw_path_qs, _milliseconds_since(started), str(failure))
            raise failure from None
        if _log.isEnabledFor(logging.DEBUG):
            arguments = url.raw_path_qs, response.status, _milliseconds_since(started), len(response.body)
            _log.debug("GET %s %d %.1f ms %d bytes", *arguments)
        return response

    async def _exchange(self, session: aiohttp.ClientSession, url: URL, header: Secret) -> Response:
        async with session.get(
            url,
            headers={**_HEADERS, "Authorization": header},
            allow_redirects=False,
            raise_for_status=False,
            proxy=self._proxy,
            ssl=self._ssl,
            timeout=self._timeout,
        ) as response:
            headers = response.headers
            return Response(
                status=response.status,
                rate_limit=parse_rate_limit(headers),
                location=headers.get("Location", ""),
                body=await _read_body(response),
                is_rejection=is_rejection(response.status, headers),
            )


@define(eq=False)
class _Call(Generic[_T]):
    """One call of `Transport.get`.

    Attributes:
        transport: The transport that sends the requests.
        url: The URL.
        decode: Decodes the body.
        budget: The seconds that the call may wait.
        requests: The number of requests that were sent.
        failures: The number of attempts that failed.
        can_retry: Whether a failure may be retried: not while the token callable is called, and not if the next wait
            would exceed the budget.
    """

    transport: Transport
    url: URL
    decode: Callable[[bytes], _T]
    budget: WaitBudget
    requests: int = 0
    failures: int = 0
    can_retry: bool = True

    async def run(self) -> _T:
        """Make the attempts. stamina takes over after the first one has failed.

        Used for every call, stamina takes a third of the CPU time of a small suite (`benchmarks/bench_scale.py`): it
        leaves reference cycles behind, so that the garbage collector runs all the time.

        Raises:
            BuddyError: The last attempt failed.
        """
        try:
            return await self._attempt()
        except BuddyError as error:
            first_failure = error

        async def attempt() -> _T:
            if self.failures == 0:
                raise first_failure  # stamina's first attempt is the one that has failed
            return await self._attempt()

        return await self.transport.retrying(self._backoff, attempt)

    def _backoff(self, error: Exception) -> float | bool:
        """Return the seconds to wait before the next attempt, or False if `error` is final. stamina calls this."""
        self.failures += 1
        # stamina also asks after the last attempt, which must not cost a retry.
        is_last = self.failures >= self.transport.max_attempts
        if is_last or not self.can_retry or not is_worth_retrying(error, self.failures):
            return False
        seconds = backoff(self.failures)
        if seconds > self.budget.remaining or not self.transport.quota.acquire():
            return False
        self.budget.spend(seconds)
        disable_logging_hooks()
        retries = self.transport.max_attempts - 1
        _log.warning("%s; retry %d of %d in %.1f s", str(error), self.failures, retries, seconds)
        return seconds

    async def _attempt(self) -> _T:
        """Make one attempt: one request, and another one after each rejection and after a first 401."""
        self.transport.session()  # a closed client fails at once, without waiting for its turn
        response, header = await self._send_in_turn()
        if response.status == 401 and self.transport.credentials.is_outdated(header):
            response, header = await self._send_in_turn()
        try:
            return self.decode(interpret(response, self.url))
        except BuddyError:
            redacted = response.redact(header)
        # The error may quote the token, so it is raised again, from the redacted response.
        return self.decode(interpret(redacted, self.url))

    async def _send_in_turn(self) -> tuple[Response, Secret]:
        """Send the request when the rate limiter permits, and again after each rejection.

        Returns:
            A response, and the header with the token of the request. If the response is a rejection, the next wait
            would exceed the budget.

        Raises:
            BuddyError: There is no usable response.
        """
        rate_limiter, credentials = self.transport.rate_limiter, self.transport.credentials
        sent: tuple[Response, Secret] | None = None
        while sent is None or sent[0].is_rejection:
            self.can_retry = False  # a token callable that does not return is not called again
            header = await credentials.header()
            self.can_retry = True
            try:
                await rate_limiter.acquire(self.budget)
            except RateLimitError:
                if sent is None:
                    raise
                self.can_retry = False
                return sent  # Buddy's own messages are more helpful
            try:
                session = self.transport.session()
                if credentials.is_outdated(header):  # the token was rejected while this request waited for its turn
                    continue
                self.requests += 1
                response = await self.transport.send(session, self.url, header)
                credentials.record(header, response.status)
                pause = rate_limiter.update(
                    response.rate_limit, rejected=response.is_rejection, unauthorised=response.status == 401
                )
                if pause:
                    reason = "too many requests" if response.status == 429 else "the server is unavailable"
                    _log.warning("%s (%d): the next request is sent in %.1f s", reason, response.status, pause)
            finally:
                rate_limiter.release()
            sent = response, header
        return sent


def _detach(error: BuddyError) -> BuddyError:
    """Return an error without the frames and errors that led to it, which hold the response and the token."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Return the decompressed body. Reading stops at `MAX_BODY`; aiohttp's own `read` has no limit."""
    if (response.content_length or 0) > MAX_BODY:
        raise _too_large(response.url)
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            raise _too_large(response.url)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(url: URL) -> ResponseError:
    return ResponseError(f"the response is too large: over {MAX_BODY // 2**20} MiB; GET {url}")


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
