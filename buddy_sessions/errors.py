"""Every error that this package raises, in one tree.

BuddyError                        .cursor: where a walk stood, else None
├── ConfigError (ValueError)      bad token, base URL, region, key or argument: raised before any I/O
├── ClientClosedError             the client, or the aiohttp session that it borrowed, is closed
├── TransportError                no usable answer after all attempts: DNS, connect, TLS, reset, timeout, cut body
├── ResponseError                 an answer that is no Buddy answer: not JSON, too large, a redirect, not HTTP
│   └── DecodeError               JSON of the wrong shape: .page .item .field
├── StatusError                   an HTTP status that says no: .status .messages .method .url
│   ├── BadRequestError           400
│   ├── AuthenticationError       401
│   ├── ForbiddenError            403
│   ├── NotFoundError             404
│   ├── RateLimitError            429: .reset_at .retry_after
│   └── ServerError               5xx
├── StoreError                    the file of a SessionStore cannot be used
├── UnstableListingError          the list changes faster than it can be read
└── HarvestError (ExceptionGroup) every suite that failed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # models raise ConfigError; errors only name the models that they carry
    from .models import Cursor, SuiteKey


class BuddyError(Exception):
    """The base of all errors of this package.

    Attributes:
        cursor: Where the walk stood that this error ended, so that it can be resumed; None where there was no walk.
        transient: Whether the same request may succeed later, with nothing changed on this side.
    """

    cursor: Cursor | None = None
    transient: bool = False


class ConfigError(BuddyError, ValueError):
    """An argument or a setting that cannot work. Raised before any I/O."""


class ClientClosedError(BuddyError):
    """The client, or the aiohttp session that it borrowed, is closed."""


class TransportError(BuddyError):
    """No usable answer came after all attempts: DNS, connect, TLS, reset, timeout or a body cut short."""

    transient = True  # but for a TLS failure, or a proxy that forbids


class ResponseError(BuddyError):
    """Something answered, but not as Buddy does: not JSON, too large, a redirect, or not HTTP at all."""


class DecodeError(ResponseError):
    """An answer in JSON that has not the documented shape.

    Attributes:
        page: The page's number, from 1; None where the answer has no pages.
        item: The item's index on that page, from 0; None where the page itself is wrong.
        field: The field's name, with dots where it is nested; None where the item itself is wrong.
        reason: What is wrong with it.
    """

    def __init__(
        self, reason: str, *, page: int | None = None, item: int | None = None, field: str | None = None
    ) -> None:
        places = (("page", page), ("item", item), ("field", field))
        where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        super().__init__(f"{where}: {reason}" if where else reason)
        self.reason = reason
        self.page = page
        self.item = item
        self.field = field

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class StatusError(BuddyError):
    """An answer whose HTTP status says no.

    Attributes:
        status: The HTTP status.
        messages: What Buddy said, from the body's `errors`; empty where the body held none.
        method: The request's method.
        url: The request's URL. It never holds the token.
    """

    hint = ""
    """What to do about it; added to the message."""

    def __init__(
        self,
        *,
        status: int,
        messages: Sequence[str] = (),
        method: str = "GET",
        url: str = "",
        reason: str = "",
    ) -> None:
        said = "; ".join(messages) or reason or "no message"
        answered = f"{method} {url} answered {status}: " if url else ""  # the gate sends some requests not at all
        super().__init__(f"{answered}{said}{self.hint and f' ({self.hint})'}")
        self.status = status
        self.messages = tuple(messages)
        self.method = method
        self.url = url

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class BadRequestError(StatusError):
    """400: Buddy does not accept a parameter."""


class AuthenticationError(StatusError):
    """401: the token is missing, wrong or expired."""

    hint = "check the token, and the region: a token of one region is not valid in another"


class ForbiddenError(StatusError):
    """403: the token may not read this."""

    hint = "the token needs the scope UNIT_TEST_INFO, and the workspace its API switched on"


class NotFoundError(StatusError):
    """404: no such workspace, project or suite, or the token's owner cannot see it."""

    hint = "check the names of workspace, project and suite, and that the token's owner can see them"


class RateLimitError(StatusError):
    """429: too many requests, and waiting longer than `max_wait` or `attempts` allow would be needed.

    Attributes:
        reset_at: When the allowance is renewed, in UTC; None where the answer did not say.
        retry_after: Seconds to wait, as the answer said; None where it did not.
    """

    hint = "wait, or allow a longer max_wait"

    def __init__(
        self,
        *,
        status: int = 429,
        messages: Sequence[str] = (),
        method: str = "GET",
        url: str = "",
        reason: str = "",
        reset_at: datetime | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status=status, messages=messages, method=method, url=url, reason=reason)
        self.reset_at = reset_at
        self.retry_after = retry_after


class ServerError(StatusError):
    """5xx: Buddy, or something before it, failed."""


class StoreError(BuddyError):
    """The file of a `SessionStore` cannot be used: locked, full, not to be opened, not one of ours, or closed."""


class UnstableListingError(BuddyError):
    """The list changes faster than it can be read, or the same page is served again and again."""


class HarvestError(BuddyError, ExceptionGroup[BuddyError]):
    """Every suite of a harvest that failed, raised after all others were yielded.

    Attributes:
        failures: The error of each suite that failed.
    """

    failures: Mapping[SuiteKey, BuddyError]

    def __new__(cls, failures: Mapping[SuiteKey, BuddyError]) -> Self:
        """Make the group of the failures' errors; `failures` must not be empty."""
        names = ", ".join(map(str, list(failures)[:3]))
        more = f" and {len(failures) - 3} more" if len(failures) > 3 else ""
        return super().__new__(cls, f"could not read {names}{more}", list(failures.values()))

    def __init__(self, failures: Mapping[SuiteKey, BuddyError]) -> None:
        super().__init__(self.message, list(failures.values()))
        self.failures = dict(failures)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.failures,), self.__dict__


def _rebuild(kind: type[BuddyError], args: tuple[object, ...], state: dict[str, object]) -> BuddyError:
    """Make an error again from what pickling kept: keyword arguments do not survive `Exception`'s own way."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
