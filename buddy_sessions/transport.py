"""The one place that talks HTTP: an authenticated GET, retried, that gives a decoded answer or one of errors.py.

What an answer means is decided by `interpret`, which is pure; `Transport` is the thin shell around it.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError
from yarl import URL

from .converter import error_messages
from .credentials import Credentials, Secret
from .errors import (
    AuthenticationError,
    BadRequestError,
    BuddyError,
    ClientClosedError,
    ConfigError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    StatusError,
    TransportError,
)
from .models import WalkStats
from .pacing import Gate, Patience, RateLimit, RetryQuota, backoff

__version__ = "0.1.0"

MAX_BODY = 16 * 1024 * 1024
"""The largest body that is read, in bytes, after decompression."""

_T = TypeVar("_T")
_log = logging.getLogger("buddy_sessions")

_STATUS_ERRORS: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
}


class Answer(NamedTuple):
    """What matters of an HTTP answer that was read to its end."""

    status: int
    limit: RateLimit | None
    location: str
    body: bytes

    def without(self, secret: Secret) -> Answer:
        """Return the answer without the token, should the server have repeated it."""
        return self._replace(location=secret.hidden_in(self.location), body=secret.hidden_in(self.body))


def interpret(answer: Answer, url: URL) -> bytes:
    """Return the body of an answer that may be decoded. Pure.

    Raises:
        StatusError: The status says no; the branch tells which.
        ResponseError: A status that Buddy's API does not give, such as a redirect.
    """
    status, limit, location, body = answer
    if status == 200:
        return body
    if status < 400:
        where = f" to {location[:200]!r}" if 300 <= status < 400 else ""
        raise ResponseError(f"GET {url} answered {status}{where}: not followed; check the base URL")
    messages = error_messages(body)
    if status == 429:
        limit = limit or RateLimit()
        error: StatusError = RateLimitError(
            messages=messages, url=str(url), reset_at=limit.reset_at, retry_after=limit.retry_after
        )
        error.transient = True
        raise error
    kind = _STATUS_ERRORS.get(status, ServerError if status >= 500 else StatusError)
    error = kind(status=status, messages=messages, url=str(url))
    # 501 says that the server will never do it; 408 that it gave up on a request that came too slowly.
    error.transient = status == 408 or (status >= 500 and status != 501)
    raise error


class Transport:
    """Sends authenticated GETs through an aiohttp session of its own, or through the caller's."""

    def __init__(
        self,
        credentials: Credentials,
        gate: Gate,
        *,
        http_session: aiohttp.ClientSession | None,
        ssl_context: ssl.SSLContext | None,
        max_concurrency: int,
        timeout: float,
        attempts: int,
        max_wait: float,
    ) -> None:
        self._credentials = credentials
        self._gate = gate
        self._quota = RetryQuota()
        self._session = http_session
        self._owned = http_session is None
        self._closed = False
        self._ssl = ssl_context or True  # True: the connector's own rules
        self._limit = max_concurrency
        self._seconds = timeout
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._attempts = attempts
        self._max_wait = max_wait

    @property
    def open(self) -> bool:
        """Whether an aiohttp session of its own is open, and has to be closed."""
        return self._owned and self._session is not None and not self._session.closed

    async def close(self) -> None:
        """Close what it opened. Requests made later raise `ClientClosedError`."""
        self._closed = True
        if self._owned and self._session is not None:
            await self._session.close()

    async def get(self, url: URL, decode: Callable[[bytes], _T], stats: WalkStats) -> _T:
        """Return what `decode` makes of the body found at `url`.

        A failure that another attempt could cure is retried within `attempts` and `max_wait`; `decode` belongs to the
        attempt, since a body that was cut short, or a proxy's page, may show only there.

        Raises:
            BuddyError: Every branch but `ConfigError`; `decode`'s errors among them.
        """
        patience = Patience(self._max_wait, stats)
        try:
            result = await self._attempt(url, decode, stats, patience)
        except BuddyError as error:
            if not error.transient:
                raise
            first = error
        else:
            self._quota.succeeded(retried=False)
            return result
        return await self._retry(first, url, decode, stats, patience)

    async def _retry(
        self, first: BuddyError, url: URL, decode: Callable[[bytes], _T], stats: WalkStats, patience: Patience
    ) -> _T:
        # Imported, and paid for, only now that something has failed.
        import stamina  # noqa: PLC0415

        logging.getLogger("stamina").addHandler(_SILENT)
        failures = 0

        def delay(error: Exception) -> float | bool:
            nonlocal failures
            failures += 1
            if not isinstance(error, BuddyError) or not error.transient or failures == self._attempts:
                return False
            if isinstance(error, ResponseError) and failures > 1:
                return False  # a page that is no JSON twice in a row is no accident
            limited = isinstance(error, RateLimitError)
            seconds = 0.0 if limited else backoff(failures)
            # Everyone waits for the allowance together, at the gate.
            if max(seconds, limited * self._gate.pause()) > patience.left or not self._quota.take():
                return False
            patience.spend(seconds)
            return seconds

        async def attempt() -> _T:
            if not failures:
                raise first
            stats.retries += 1
            result = await self._attempt(url, decode, stats, patience)
            self._quota.succeeded(retried=True)
            return result

        return await stamina.AsyncRetryingCaller(attempts=self._attempts, timeout=None)(delay, attempt)

    async def _attempt(self, url: URL, decode: Callable[[bytes], _T], stats: WalkStats, patience: Patience) -> _T:
        header = await self._credentials.header()
        answer = await self._exchange(url, header, stats, patience)
        if answer.status == 401 and (fresh := await self._credentials.renew(header)):
            header = fresh
            answer = await self._exchange(url, header, stats, patience)
        result = _result(answer, url, decode)
        if isinstance(result, BuddyError):  # it tells of the answer, and that may tell of the token
            result = _result(answer.without(header), url, decode)
        del answer  # a traceback keeps alive, and shows, what is left in its frames
        if isinstance(result, BuddyError):
            raise result
        return result

    async def _exchange(self, url: URL, header: Secret, stats: WalkStats, patience: Patience) -> Answer:
        await self._gate.enter(patience)
        started = time.perf_counter()
        try:
            session = self._open_session()
            stats.requests += 1
            answer = await self._send(session, url, header)
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            failure = self._translate(error, url, header)
        except ResponseError as error:
            failure = error.with_traceback(None)
        else:
            self._gate.learn(answer.limit, refused=answer.status == 429)
            if _log.isEnabledFor(logging.DEBUG):
                took = (time.perf_counter() - started) * 1000
                _log.debug("GET %s %d %.1f ms %d bytes", url.raw_path_qs, answer.status, took, len(answer.body))
            return answer
        finally:
            self._gate.leave()
        _log.debug("GET %s failed after %.1f ms: %s", url.raw_path_qs, (time.perf_counter() - started) * 1000, failure)
        raise failure  # here, where no context is kept: aiohttp's errors carry the request's headers

    async def _send(self, session: aiohttp.ClientSession, url: URL, header: Secret) -> Answer:
        async with session.get(
            url,
            headers={
                "Authorization": header,
                "Accept": "application/json",
                "User-Agent": f"buddy_sessions/{__version__}",
            },
            allow_redirects=False,
            raise_for_status=False,
            ssl=self._ssl,
            timeout=self._timeout,
        ) as response:
            headers = response.headers
            return Answer(
                response.status, RateLimit.from_headers(headers), headers.get("Location", ""), await _read(response)
            )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ClientClosedError("the client is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limit), cookie_jar=aiohttp.DummyCookieJar()
            )
        elif self._session.closed:
            raise ClientClosedError("the aiohttp session that the client borrowed is closed")
        return self._session

    def _translate(self, error: Exception, url: URL, header: Secret) -> BuddyError:
        """Return this package's error for one of aiohttp's."""
        if self._session is None or self._session.closed:
            return ClientClosedError("the client, or the aiohttp session that it borrowed, was closed in flight")
        if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
            # Raised before anything is sent: the caller's session brings credentials of its own, for instance.
            return ConfigError(f"the aiohttp session cannot send this request: {error}")
        if isinstance(error, TimeoutError):
            return TransportError(f"GET {url}: no answer within {self._seconds:g} s")
        # What aiohttp could not read may be what the server repeated of the request.
        told = str(getattr(error, "message", "") or error) or type(error).__name__
        text = " ".join(header.hidden_in(told).split())[:300]
        if isinstance(error, aiohttp.ClientHttpProxyError):
            proxy = error.request_info.real_url.with_user(None)
            failure: BuddyError = TransportError(f"GET {url}: the proxy {proxy} answered {error.status} {text}")
            failure.transient = error.status >= 500
        elif isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
            failure = TransportError(f"GET {url}: TLS failed: {text}")
            failure.transient = False
        elif isinstance(_root(error), ContentEncodingError):
            failure = TransportError(f"GET {url}: the body cannot be decompressed: {text}")
        elif isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
            # aiohttp reports what it cannot parse as a status of 400: the status is its own, and no answer's.
            failure = ResponseError(f"GET {url}: the answer is not HTTP: {text}")
        else:
            failure = TransportError(f"GET {url}: {text}")
        return failure


def _result(answer: Answer, url: URL, decode: Callable[[bytes], _T]) -> _T | BuddyError:
    """Return what `decode` makes of an answer, or the error; its frames hold the answer, and are left behind."""
    try:
        return decode(interpret(answer, url))
    except BuddyError as error:
        return error.with_traceback(None)


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the decompressed body, and stop at `MAX_BODY`: aiohttp's own `read` has no limit."""
    chunks: list[bytes] = []
    size = response.content_length or 0
    if size <= MAX_BODY:
        size = 0
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                break
        else:
            return b"".join(chunks)
    raise ResponseError(f"GET {response.url}: the answer is too large: over {MAX_BODY // 2**20} MiB")


# stamina's default hook warns of each retry; where nobody has configured logging, that would end up on stderr.
_SILENT = logging.NullHandler()
