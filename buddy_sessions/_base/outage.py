"""Notices that the cause of failures is outside of the suites that fail: a rejected token, an outage, TLS, a proxy."""

from __future__ import annotations

from ..errors import AuthenticationError, BuddyError, StatusError, TransportError

_MAX_EQUAL_FAILURES = 20


class Outage:
    """Counts equal failures in a row."""

    def __init__(self) -> None:
        self._last: tuple[object, ...] = ()
        self._count = 0

    def on_success(self) -> None:
        """Count anew."""
        self._count = 0

    def is_shown_by(self, error: BuddyError) -> bool:
        """Return whether no other suite can be read either, as the failures with this one show."""
        kind = (type(error), error.status if isinstance(error, StatusError) else None)
        self._count = self._count + 1 if kind == self._last else 1
        self._last = kind
        is_down = self._count >= _MAX_EQUAL_FAILURES and (error.retryable or isinstance(error, TransportError))
        return is_down or isinstance(error, AuthenticationError)
