"""The errors of this package, in one tree.

BuddyError                        .cursor: the position of the read, or None; .retryable .url .attempts
├── ConfigError (ValueError)      a bad token, URL, region, suite or argument: usually raised before a request is sent
├── ClientClosedError             the client, or your aiohttp session, is closed
├── TransportError                no usable response after all attempts: DNS, connect, TLS, reset, timeout, truncation
├── WaitTimeoutError (TimeoutError) .sessions: those that appeared in time; may be empty
├── NoVerdictError                no such session, commit or branch, or sessions may have been missed
├── ResponseError                 a response that is not Buddy's: not JSON, too large, a redirect, not HTTP
│   └── DecodeError               JSON of the wrong shape: .page .item .field
├── StatusError                   an HTTP status that reports an error: .status .messages .method
│   ├── BadRequestError           400
│   ├── AuthenticationError       401
│   ├── ForbiddenError            403: .scopes .accepted_scopes
│   ├── NotFoundError             404
│   ├── RateLimitError            429: .reset_at .retry_after
│   └── ServerError               5xx
├── StoreError                    the file of a SessionStore cannot be used
├── UnstableListingError          the list changes faster than it can be read
└── HarvestError (ExceptionGroup) .failures: every suite that failed
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Self

from .models import Cursor, Session, SuiteKey

_ARGUMENT = re.compile(r"""\{((\w+)(?:="?(\w+)"?)?)\}""")
"""An argument in an advice, with or without a value: `{max_wait}`, `{cases="failed"}`."""


class BuddyError(Exception):
    """The base class of all errors of this package.

    Attributes:
        cursor: The position of the read that failed, to continue it; None if no session was read.
        retryable: Whether the same call may succeed later.
        url: The URL of the request that failed, which never contains the token; empty if there was none.
        attempts: How many times it was sent; 0 if it was not sent, or there was none.
        ends_harvest: Whether it ends a harvest or a sync at once, because no other suite can be read or saved either.
        not_tried: The number of suites that were not tried, if the error ended a harvest of a list or another iterable
            with a length; otherwise None.
    """

    cursor: Cursor | None = None
    retryable: bool = False
    url: str = ""
    attempts: int = 0
    ends_harvest: bool = False
    not_tried: int | None = None

    _advice = ""
    """The advice, with arguments in braces."""

    def __init__(
        self, message: str, *, retryable: bool | None = None, advice: str | None = None, url: str = ""
    ) -> None:
        super().__init__(message)
        if advice is not None:
            self._advice = advice
        if url:
            self.url = url
        if retryable is not None:
            self.retryable = retryable

    @property
    def advice(self) -> str:
        """What a user can do, the end of the text; empty if the message says it, or nothing helps."""
        return _ARGUMENT.sub(r"\1", self._advice)

    @property
    def arguments(self) -> list[str]:
        """The names of the arguments that the advice is about."""
        return [name for _, name, _ in _ARGUMENT.findall(self._advice)]

    @property
    def without_advice(self) -> str:
        """The text without the advice, for readers who cannot follow it."""
        return super().__str__()

    def describe(self, name_argument: Callable[[str, str], str]) -> str:
        """Return the text without the URL, for programs in which arguments have other names.

        `name_argument` returns what to write for the name of an argument in Python and its value, which is empty if the
        advice is to pass any.
        """
        return self._text(_ARGUMENT.sub(lambda match: name_argument(match[2], match[3] or ""), self._advice))

    def __str__(self) -> str:
        return self._text(self.advice, self.url)

    def _text(self, advice: str, url: str = "") -> str:
        parts = [": ".join(filter(None, (self.without_advice, advice)))]
        if self.attempts > 1:
            parts.append(f"{self.attempts} attempts")
        if url:
            parts.append(f"GET {url}")
        if self.not_tried:
            parts.append(f"{'1 suite was' if self.not_tried == 1 else f'{self.not_tried:,} suites were'} not tried")
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Without a call of the constructor: `Exception` itself would pass `args` to it, which is only the message.
        return type(self).__new__, (type(self),), {**self.__dict__, "args": self.args}


class ConfigError(BuddyError, ValueError):
    """A bad argument or setting. Usually raised before a request is sent."""


class ClientClosedError(BuddyError):
    """The client, or your aiohttp session, is closed."""

    ends_harvest = True


class TransportError(BuddyError):
    """No usable response after all attempts: DNS, connect, TLS, reset, timeout or a truncated body.

    Retryable, except for a TLS failure and for a proxy that refuses the request.

    Attributes:
        is_connected: False if no connection could be made.
    """

    retryable = True
    is_connected: bool = True


class WaitTimeoutError(BuddyError, TimeoutError):
    """The awaited sessions did not appear, or did not finish, in time.

    If the last request failed, `__cause__` is its error.

    Attributes:
        sessions: Those that appeared, as they were last seen, newest first; empty if there is none.
    """

    retryable = True

    def __init__(self, message: str, sessions: Sequence[Session] = ()) -> None:
        super().__init__(message)
        self.sessions = list(sessions)


class ResponseError(BuddyError):
    """A response that is not Buddy's: not JSON, too large, a redirect, or not HTTP.

    Too large: over 4 MiB after decompression (a test case or the list of suites: 16 MiB), or over 524,288 JSON values.
    """


class DecodeError(ResponseError):
    """A JSON response that does not have the documented shape.

    Attributes:
        page: The number of the page, from 1; None if the response has no pages.
        item: The index of the item on that page, from 0; None if the page itself is wrong.
        field: The name of the field, with dots if it is nested; None if the item itself is wrong.
    """

    def __init__(
        self, reason: str, *, page: int | None = None, item: int | None = None, field: str | None = None
    ) -> None:
        places = (("page", page), ("item", item), ("field", field))
        where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        super().__init__(f"{where}: {reason}" if where else reason)
        self.page = page
        self.item = item
        self.field = field


class StatusError(BuddyError):
    """A response whose HTTP status reports an error.

    Attributes:
        status: The HTTP status.
        messages: Buddy's messages, from `errors` in the body; empty if the body contained none.
        method: The method of the request: GET.
    """

    method = "GET"

    _cause = "the request failed"
    """The cause, if Buddy gave no message."""

    def __init__(
        self,
        *,
        status: int,
        messages: Sequence[str] = (),
        url: str = "",
        retryable: bool | None = None,
        not_from_buddy: bool = False,
        advice: str | None = None,
    ) -> None:
        message = f"{'; '.join(messages) or self._cause} ({status})"
        if not_from_buddy:
            message, advice = f"{message}, but the response is not Buddy's: probably a proxy's", "check the base URL"
        super().__init__(message, retryable=retryable, advice=advice, url=url)
        self.status = status
        self.messages = tuple(messages)


class BadRequestError(StatusError):
    """400: Buddy rejects a parameter."""

    _cause = "bad request"


class AuthenticationError(StatusError):
    """401: the token is missing, wrong or expired."""

    ends_harvest = True
    _cause = "the token was rejected"
    _advice = "check the token and the region (a token of one region is not valid in another)"


class ForbiddenError(StatusError):
    """403: the token is not allowed to read this.

    Attributes:
        scopes: The scopes of the token; None if the response did not report them.
        accepted_scopes: The scopes of which the request needs one; None if the response did not report them.
    """

    _cause = "access denied"
    _advice = (
        "give the token the scopes UNIT_TEST_READ and, for projects, PROJECT_READ (formerly UNIT_TEST_INFO and "
        "WORKSPACE); enable the API in the workspace"
    )

    def __init__(
        self,
        *,
        messages: Sequence[str] = (),
        url: str = "",
        scopes: Sequence[str] | None = None,
        accepted_scopes: Sequence[str] | None = None,
        not_from_buddy: bool = False,
    ) -> None:
        causes = list(messages) or [self._cause]
        if scopes is not None:
            causes.append(f"the token has {', '.join(scopes) or 'no scope'}")
        if accepted_scopes:
            causes.append(f"this needs {' or '.join(accepted_scopes)}")
        super().__init__(status=403, messages=causes, url=url, not_from_buddy=not_from_buddy)
        self.messages = tuple(messages)
        self.scopes = None if scopes is None else tuple(scopes)
        self.accepted_scopes = None if accepted_scopes is None else tuple(accepted_scopes)


class NotFoundError(StatusError):
    """404: the workspace, project, suite or session does not exist, or the token's owner cannot see it."""

    _cause = "not found"
    _advice = "check the workspace, the project and the IDs, and that the token's owner can see them"


class RateLimitError(StatusError):
    """429: too many requests, and the wait would be longer than `max_wait` allows.

    Attributes:
        reset_at: The end of the rate limit's window, in UTC; None if the response did not report it.
        retry_after: Seconds to wait; None if the response did not report it.
    """

    _cause = "too many requests"
    _advice = "wait, or allow a longer {max_wait}"
    retryable = True

    def __init__(
        self,
        *,
        messages: Sequence[str] = (),
        url: str = "",
        reset_at: datetime | None = None,
        retry_after: float | None = None,
        advice: str | None = None,
    ) -> None:
        super().__init__(status=429, messages=messages, url=url, advice=advice)
        self.reset_at = reset_at
        self.retry_after = retry_after


class ServerError(StatusError):
    """5xx: Buddy, or a proxy in front of it, failed. Retryable, except for 501."""

    _cause = "the server failed"
    _advice = "try again later"
    retryable = True


class StoreError(BuddyError):
    """The file of a `SessionStore` cannot be used: locked, full, unreadable, of another program, or closed.

    Retryable while another process is syncing into the file, or another watch of the same name is running.
    """


class UnstableListingError(BuddyError):
    """The list changes faster than it can be read, or the server returns the same page again and again.

    Try again when fewer sessions are created. If it stays, `buddy-sessions doctor SUITE` says what is unusual.
    """

    retryable = True


class NoVerdictError(BuddyError):
    """A question has no answer: no such session, commit or branch exists, or sessions may have been missed."""


class HarvestError(BuddyError, ExceptionGroup[BuddyError]):
    """Some suites of a harvest could not be read. Raised after all others were read. Retryable if all failures are.

    Attributes:
        failures: The error of each suite that failed.
    """

    failures: Mapping[SuiteKey, BuddyError]

    def __new__(cls, failures: Mapping[SuiteKey, BuddyError]) -> Self:
        """Create the group from the errors of the failed suites; `failures` must not be empty."""
        names = ", ".join(map(str, list(failures)[:3]))
        more = f" and {len(failures) - 3} more" if len(failures) > 3 else ""
        return super().__new__(cls, f"could not read {names}{more}", list(failures.values()))

    def __init__(self, failures: Mapping[SuiteKey, BuddyError]) -> None:
        super().__init__(self.message, retryable=all(error.retryable for error in failures.values()))
        self.args = (self.message, self.exceptions)  # those of an ExceptionGroup; BuddyError sets only the message
        self.failures = dict(failures)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.failures,), self.__dict__
