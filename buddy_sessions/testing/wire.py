"""The formats of the API: JSON responses, times, URLs, recorded requests, the headers of the rate limit. No I/O."""

import json
import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, TypeAlias
from urllib.parse import quote

import attrs

JsonObject: TypeAlias = dict[str, Any]
"""A session, a test case, a test group or a suite in the API's JSON."""

DEFAULT_PER_PAGE = 20  # documented

CASE_STATUSES = ("PASSED", "FAILED", "SKIPPED", "ERROR")
_STATUSES = {"session": ("IN_PROGRESS", "SUCCESSFUL", "ERROR", "SKIPPED"), "test case": CASE_STATUSES}

API_URL, APP_URL = "https://api.buddy.works", "https://app.buddy.works"


def json_body(content: JsonObject) -> bytes:
    """Return the body of a response with this content."""
    # A lone surrogate cannot be encoded in UTF-8; backslashreplace turns it into its JSON escape.
    return json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace")


def error_body(message: str) -> bytes:
    """Return the body of an error, in the shape that Buddy's Go SDK reads (`client.go`)."""
    return json_body({"errors": [{"message": message}]})


def format_time(seconds: int) -> str:
    """Return Unix seconds in the API's format: `2025-10-21T06:42:16Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def path_segment(name: object) -> str:
    """Return a name or an ID percent-encoded as one segment of a URL's path."""
    segment = quote(str(name), safe="", errors="backslashreplace")
    # Clients resolve the segments "." and ".."; in an encoded form, some leave them alone.
    return segment.replace(".", "%2E") if segment in {".", ".."} else segment


def check_fields(kind: str, given: Mapping[str, object], allowed: Collection[str]) -> None:
    """Raise TypeError for an unknown field, so that a typing error does not pass a test, and for a datetime."""
    if not isinstance(given, Mapping):
        raise TypeError(f"a {kind} is a mapping of fields, such as {{'name': 'adds'}}, not {given!r}")
    for name, value in given.items():
        if isinstance(value, datetime):
            raise TypeError(f"{name} of a {kind} is text in the API: pass {format_time(int(value.timestamp()))!r}")
        if name not in allowed:
            similar = get_close_matches(name, {*allowed, "branch"} - {name}, n=1)  # what `create` calls ref_name
            hint = f": did you mean {similar[0]!r}?" if similar else f": it has {', '.join(allowed)}"
            raise TypeError(f"a {kind} has no field {name!r}{hint}")


def check_status(kind: str, status: str) -> None:
    """Raise ValueError for a status that no session or test case has, unless Buddy may have added it."""
    may_be_new = status.isupper() and not any(status in statuses for statuses in _STATUSES.values())
    if status not in _STATUSES[kind] and not may_be_new:
        hint = f"use {', '.join(_STATUSES[kind])}, or a new one in capitals"
        raise ValueError(f"a {kind} has no status {status!r}: {hint}")


@attrs.define(eq=False)
class RecordedRequest:
    """A request that the server received.

    Attributes:
        method: The HTTP method.
        path: The path as it was sent, percent-encoded, without the query.
        query: The decoded parameters of the query. Only the first value of a repeated parameter is kept.
        headers: The headers, with case-insensitive names.
        body: What was uploaded; empty for a GET request.
        status: The status of the response; None before it is sent, and if no complete response is sent.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    status: int | None = None

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
        """Return whether a request at `now`, in Unix seconds, is allowed, and the headers of its response.

        A window of `seconds` seconds allows `limit` requests.
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
