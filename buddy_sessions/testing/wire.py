"""Recorded requests, JSON responses, and the headers of the rate limit. No I/O."""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import attrs

DEFAULT_PER_PAGE = 20  # documented


class JsonResponse(NamedTuple):
    """The status and the JSON body of a response."""

    status: int
    body: bytes


def success_response(content: dict[str, Any]) -> JsonResponse:
    """Return a 200 response with this content."""
    # A lone surrogate cannot be encoded in UTF-8; backslashreplace turns it into its JSON escape.
    return JsonResponse(200, json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace"))


def error_response(status: int, message: str) -> JsonResponse:
    """Return an error response in the shape that Buddy's Go SDK reads (`client.go`)."""
    return JsonResponse(status, json.dumps({"errors": [{"message": message}]}, ensure_ascii=False).encode())


@attrs.define(on_setattr=attrs.setters.frozen, eq=False)
class RecordedRequest:
    """A request that the server received. Frozen, except for `status`, which is set when the response is sent.

    Attributes:
        method: The HTTP method.
        path: The path as it was sent, percent-encoded, without the query.
        query: The decoded parameters of the query. Only the first value of a repeated parameter is kept.
        headers: The headers, with case-insensitive names.
        status: The status of the response; None before it is sent, and if no complete response is sent.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int | None = attrs.field(default=None, on_setattr=attrs.setters.NO_OP)

    @property
    def page(self) -> int:
        """The requested page; 1 by default. Raises ValueError if it is not a number."""
        return int(self.query.get("page", 1))

    @property
    def per_page(self) -> int:
        """The requested page size; 20 by default. Raises ValueError if it is not a number."""
        return int(self.query.get("per_page", DEFAULT_PER_PAGE))


@attrs.define
class RateLimitWindows:
    """Counts requests in fixed windows, and reports the count in the headers that Buddy's Go SDK reads.

    The first window starts with the first request, so that no test starts just before a reset. It is up to one second
    longer than the others, so that windows of whole seconds end on whole seconds, as the reset is reported.
    """

    first: int | None = None  # start of the first window in Unix seconds, rounded up
    window: int = 0  # number of the current window
    used: int = 0  # requests in the current window

    def count(self, now: float, limit: int, seconds: float) -> tuple[bool, dict[str, str]]:
        """Count a request against the limit.

        Args:
            now: The time of the request, in Unix seconds.
            limit: The number of requests allowed per window.
            seconds: The length of a window, in seconds.

        Returns:
            Whether the request is allowed, and the headers of its response.
        """
        if self.first is None:
            self.first = math.ceil(now)
        window = max(0, int((now - self.first) // seconds))
        if window != self.window:
            self.window, self.used = window, 0
        is_allowed = self.used < limit
        if is_allowed:
            self.used += 1
        return is_allowed, {
            "X-Rate-Limit-Limit": str(limit),
            "X-Rate-Limit-Remaining": str(max(0, limit - self.used)),
            "X-Rate-Limit-Reset": str(math.ceil(self.first + (window + 1) * seconds)),
        }
