"""What a response, or an error of aiohttp in its place, means, and whether its request is sent again. Does no I/O."""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from attrs import define, field, frozen
from yarl import URL

from .._base.figures import Stats, format_duration
from .._decoding.converter import error_messages
from .._decoding.hooks import has_more_values
from ..errors import (
    AuthenticationError,
    BadRequestError,
    BuddyError,
    ConfigError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    StatusError,
    TransportError,
)
from ..models import RateLimit
from .credentials import Credentials, Secret
from .rate_limit import WaitBudget, wait_advice

_E = TypeVar("_E", bound=BaseException)
_T = TypeVar("_T")
_log = logging.getLogger("buddy_sessions")

_STATUS_ERRORS: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    404: NotFoundError,
}

_LONGEST_BACKOFF = 20.0  # seconds
_JITTER = 0.5  # of the backoff

_MAX_SCOPES = 500  # characters

_MAX_VALUES = 2**19
"""The maximum number of JSON values in a body."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, controls of the text direction, and surrogates, which cannot be encoded."""

_SSL_ARGUMENT = re.compile(r" ssl:(?:\w+|<[^>]*>)(?= \[)")
"""The argument `ssl` in a message of aiohttp: noise, and the address of an `SSLContext` differs in each process."""


@frozen
class Response:
    """The parts of an HTTP response that matter here. Its `repr` hides those in which a server may repeat the token."""

    status: int
    rate_limit: RateLimit | None
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_throttled: bool = False
    """Whether the server asks the client to wait."""


def decode_response(response: Response, url: URL, header: Secret, decode: Callable[[bytes], _T]) -> _T:
    """Return the decoded body of a success. Raises StatusError or ResponseError. Neither contains the token."""
    error = response_error(response, url, header)
    if error is not None:
        raise error
    if has_more_values(response.body, _MAX_VALUES):
        raise ResponseError(f"the response is too large: over {_MAX_VALUES:,} JSON values", url=str(url))
    body = header.hide(response.body)
    try:
        return decode(body)
    except ResponseError as undecodable:
        failure = strip_traceback(undecodable)  # its frames hold the decoded document
        failure.url = str(url)
    redacted = header.redact(body)
    if redacted == body:
        raise failure
    return decode(redacted)


def response_error(response: Response, url: URL, header: Secret) -> BuddyError | None:
    """Return the error that a status reports, or None for a success. Its texts are redacted."""
    status = response.status
    if status == 200:
        return None
    if 300 <= status < 400:
        location = header.redact(response.headers.get("Location", ""))[:200]
        return ResponseError(f"unexpected redirect ({status}) to {location!r}: check the base URL", url=str(url))
    if status < 300:
        return ResponseError(f"unexpected status {status}: check the base URL", url=str(url))
    messages = [_escape_controls(message) for message in error_messages(response.body, header.redact)]
    limit = response.rate_limit or RateLimit()
    advice = wait_advice(limit.retry_after) if limit.retry_after and response.is_throttled else None
    if status == 429:
        return RateLimitError(
            messages=messages, url=str(url), reset_at=limit.reset_at, retry_after=limit.retry_after, advice=advice
        )
    # Buddy explains each 4xx. A proxy may leave the body empty, too, but then nothing shows that it was a proxy.
    not_from_buddy = status < 500 and not messages and bool(response.body.strip())
    if status == 403:
        return ForbiddenError(
            messages=messages,
            url=str(url),
            scopes=_read_scopes(response, header, ""),
            accepted_scopes=_read_scopes(response, header, "Accepted-"),
            not_from_buddy=not_from_buddy,
        )
    kind = _STATUS_ERRORS.get(status, ServerError if status >= 500 else StatusError)
    # 408: the request arrived too slowly. 501: the server will never support it.
    retryable = status == 408 or (status >= 500 and status != 501)
    return kind(
        status=status,
        messages=messages,
        url=str(url),
        retryable=retryable,
        not_from_buddy=not_from_buddy,
        advice="" if status == 501 else advice,
    )


def _read_scopes(response: Response, header: Secret, kind: str) -> list[str] | None:
    """Return the scopes in a header; None if it is absent. Buddy's documentation also spells its name with a zero."""
    for name in (f"X-{kind}OAuth-Scopes", f"X-{kind}0Auth-Scopes"):
        if name in response.headers:
            text = _escape_controls(header.redact(response.headers[name]))[:_MAX_SCOPES]
            return text.replace(",", " ").split()
    return None


def translate(error: Exception, url: URL, header: Secret, timeout: float | None) -> BuddyError:
    """Return this package's error for one of aiohttp's. `timeout` is that of the request, in seconds."""
    if isinstance(error, BuddyError):
        error.url = str(url)
        return error
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientConnectionError):  # as for a certificate
        # Raised before anything is sent: the session has credentials of its own, or the URL of a proxy is invalid.
        if "AUTHORIZATION header" in str(error):
            return ConfigError(
                f"http_session has credentials of its own for {url.host}: create it without auth, "
                "and without trust_env if ~/.netrc has an entry for this host"
            )
        return ConfigError(f"the aiohttp session cannot send this request: {_clean(str(error), header)}")
    if isinstance(error, TimeoutError):
        return TransportError(f"no response within {format_duration(timeout)}", url=str(url))
    return _connection_error(error, url, header)


def _connection_error(error: Exception, url: URL, header: Secret) -> BuddyError:
    text = _clean(str(getattr(error, "message", "") or error) or type(error).__name__, header)
    text = _SSL_ARGUMENT.sub("", text)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        proxy = error.request_info.real_url.with_user(None)
        message = f"the proxy {proxy} responded with {error.status} {text}"
        return TransportError(message, retryable=error.status >= 500, url=str(url))
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        return TransportError(f"TLS failed: {text}", retryable=False, url=str(url))
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        # aiohttp reports a response that it cannot parse as status 400, which the server has not sent.
        return ResponseError(f"the response is not HTTP: {text}", url=str(url))
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno or 0  # negative: of the resolver; none if several addresses were tried
        reason = os.strerror(number).lower() if number > 0 else text.rpartition("[")[2].rstrip("]")
        is_proxy = isinstance(error, aiohttp.ClientProxyConnectionError)
        what, advice = ("the proxy ", "the proxy") if is_proxy else ("", "the base URL and the network")
        message = f"cannot connect to {what}{error.host}:{error.port} ({reason}): check {advice}"
        failure = TransportError(message, url=str(url))
        failure.is_connected = False
        return failure
    return TransportError(text, url=str(url))


def _clean(text: str, header: Secret) -> str:
    """Return the text of an error of aiohttp, which may quote the response, on one line and without secrets."""
    words = header.redact(text).split()
    words = ["***@" + word.rpartition("@")[2] if "@" in word else word for word in words]  # a proxy's password
    return _escape_controls(" ".join(words)[:300])


def _escape_controls(text: str) -> str:
    r"""Return a text with its control characters as in a string literal, for instance `\x1b`."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def strip_traceback(error: _E) -> _E:
    """Return an error without the frames and errors that led to it, which hold the response and secrets."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class RetryQuota:
    """Limits the retries of all calls of a client together, so that a server that is down is not overloaded.

    The numbers are those of botocore: 500 credits; a retry costs 5, a retry that succeeds returns them, and any other
    success returns 1. With many requests at once, there are up to 2500 credits: a short outage fails all of them, each
    up to three times, and more requests while these wait.
    """

    CAPACITY = 500
    MAX_CAPACITY = 2500
    COST = 5

    def __init__(self, max_concurrency: int) -> None:
        self._capacity = self._credits = max(self.CAPACITY, min(6 * self.COST * max_concurrency, self.MAX_CAPACITY))

    def acquire(self) -> bool:
        """Pay for one retry. Return whether there were enough credits."""
        if self._credits < self.COST:
            return False
        self._credits -= self.COST
        return True

    def record_success(self, *, retried: bool) -> None:
        self._credits = min(self._capacity, self._credits + (self.COST if retried else 1))


@define
class Attempts:
    """The attempts of one call so far, and the decision whether to send its request once more."""

    max_attempts: int
    first_pause: float  # seconds
    quota: RetryQuota
    budget: WaitBudget
    requests: int = 0
    failures: int = 0
    throttled: BuddyError | None = None  # the error of the last response, if it asked the client to wait
    _has_new_token: bool = False
    _is_not_json: bool = False  # the last response

    def is_to_repeat(self, response: Response, url: URL, header: Secret, credentials: Credentials) -> bool:
        """Return whether a response is no failed attempt: it asks the client to wait, or for a new token, once."""
        self.throttled = response_error(response, url, header) if response.is_throttled else None
        needs_token = response.status == 401 and not self._has_new_token and credentials.is_outdated(header)
        self._has_new_token |= needs_token
        is_repeated = self.throttled is not None or needs_token
        if is_repeated:
            self._is_not_json = False
        return is_repeated

    def pause_after(self, error: BuddyError) -> float:
        """Return the seconds to wait before the next attempt. An error that is final is raised.

        The first pause is doubled for each further one, plus up to half of it. By default, four attempts take at least
        3.5 s, so that they outlast a short outage.
        """
        self.failures += 1
        was_not_json, self._is_not_json = self._is_not_json, isinstance(error, ResponseError)
        pause = min(self.first_pause * 2.0 ** min(self.failures - 1, 10), _LONGEST_BACKOFF / (1 + _JITTER))
        pause *= random.uniform(1, 1 + _JITTER)  # noqa: S311 - not a secret
        # Two responses in a row that are not JSON are probably the page of a proxy, not truncated bodies.
        is_final = not error.retryable or self.failures >= self.max_attempts or (was_not_json and self._is_not_json)
        if is_final or pause > self.budget.remaining or not self.quota.acquire():
            raise error
        # The kind says which warnings a program may hide: the error follows, if no later attempt succeeds.
        kind = "retry" if getattr(error, "is_connected", True) else "no connection"
        arguments = strip_traceback(error), self.failures, self.max_attempts - 1, pause
        _log.warning("%s; retry %d of %d in %.1f s", *arguments, extra={"kind": kind})
        self.budget.spend(pause)
        return pause

    def record_success(self) -> None:
        self.quota.record_success(retried=self.failures > 0)

    def stats(self, *, invalid_fields: int) -> Stats:
        """Return the cost of the call."""
        retries, waited = max(0, self.requests - 1), self.budget.waited
        return Stats(requests=self.requests, retries=retries, waited=waited, invalid_fields=invalid_fields)
