"""The meaning of a response, and of an error of aiohttp in its place. Does no I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from attrs import field, frozen
from yarl import URL

from .._base.figures import format_duration
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
from .credentials import Secret
from .rate_limit import wait_advice

_E = TypeVar("_E", bound=BaseException)
_T = TypeVar("_T")

_STATUS_ERRORS: dict[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    404: NotFoundError,
}

_MAX_SCOPES = 500  # characters

_MAX_VALUES = 2**19
"""The maximum number of JSON values in a body."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, controls of the text direction, and surrogates, which cannot be encoded."""


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
    if status == 404 and all(message.casefold() == "not found" for message in messages):  # Buddy says what
        advice = "check the base URL first, then the workspace, the project and the IDs"
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
    if isinstance(error, aiohttp.ClientHttpProxyError):
        proxy = error.request_info.real_url.with_user(None)
        message = f"the proxy {proxy} responded with {error.status} {text}"
        return TransportError(message, retryable=error.status >= 500, url=str(url))
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ServerFingerprintMismatch):
        reason = _clean(str(getattr(error, "os_error", error)), header)
        return TransportError(f"TLS failed with {error.host}:{error.port}: {reason}", retryable=False, url=str(url))
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        # aiohttp reports a response that it cannot parse as status 400, which the server has not sent.
        return ResponseError(f"the response is not HTTP: {text}", url=str(url))
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        number = cause.errno or 0  # negative: of the resolver; none if several addresses failed with different ones
        reason = os.strerror(number).lower() if number > 0 else _clean(cause.strerror or str(cause), header)
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
