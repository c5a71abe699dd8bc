"""What passes over the wire besides sessions: requests, errors, the rate limit's headers. No I/O."""

import json
import math
from collections.abc import Mapping
from typing import Any

import attrs

DEFAULT_PER_PAGE = 20  # documented

Answer = tuple[int, bytes]
"""A status and a body of JSON."""


def ok(body: dict[str, Any]) -> Answer:
    """Return an answer that carries `body`."""
    # Half a character becomes the escape that JSON has for it.
    return 200, json.dumps(body, ensure_ascii=False).encode(errors="backslashreplace")


def error(status: int, message: str) -> Answer:
    """Return an error in the shape that Buddy's Go SDK reads (`client.go`)."""
    return status, json.dumps({"errors": [{"message": message}]}, ensure_ascii=False).encode()


@attrs.define(on_setattr=attrs.setters.frozen, eq=False)
class RecordedRequest:
    """A request that the server received. Frozen, but for `status`, which comes with the answer.

    Attributes:
        method: The HTTP method.
        path: The path as it was sent, percent-encoded, without the query.
        query: The query's parameters, decoded; of a repeated one the first.
        headers: The headers; a name is found in any case.
        status: The status that was answered. None while that is under way, and for good if it was cut off.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int | None = attrs.field(default=None, on_setattr=attrs.setters.NO_OP)

    @property
    def page(self) -> int:
        """The page that was asked for, 1 if none was. Raises ValueError where it is no number."""
        return int(self.query.get("page", 1))

    @property
    def per_page(self) -> int:
        """The page size that was asked for, 20 if none was. Raises ValueError where it is no number."""
        return int(self.query.get("per_page", DEFAULT_PER_PAGE))


@attrs.define
class RateWindows:
    """Counts requests in fixed windows, and says so in the headers that Buddy's Go SDK reads.

    The first window begins with the first request and lasts up to a second longer than the others. So windows
    of whole seconds end on whole seconds, as the reset is told, and no test begins just before a reset.
    """

    first: int | None = None
    window: int = 0
    spent: int = 0

    def spend(self, now: float, limit: int, seconds: float) -> tuple[bool, dict[str, str]]:
        """Count a request at `now` (Unix seconds) against `limit` in `seconds`.

        Returns:
            Whether it is allowed, and the headers that its answer carries.
        """
        if self.first is None:
            self.first = math.ceil(now)
        window = max(0, int((now - self.first) // seconds))
        if window != self.window:
            self.window, self.spent = window, 0
        allowed = self.spent < limit
        self.spent += allowed
        return allowed, {
            "X-Rate-Limit-Limit": str(limit),
            "X-Rate-Limit-Remaining": str(max(0, limit - self.spent)),
            "X-Rate-Limit-Reset": str(math.ceil(self.first + (window + 1) * seconds)),
        }
