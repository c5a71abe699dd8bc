from __future__ import annotations

from datetime import UTC, datetime

import pytest
from yarl import URL

from buddy_sessions._http.responses import Response, interpret
from buddy_sessions.errors import (
    AuthenticationError,
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    StatusError,
)
from buddy_sessions.models import RateLimit

REQUEST_URL = URL("https://api.buddy.works/x")


def test_body_of_a_200_is_returned() -> None:
    assert interpret(Response(200, None, "", b"{}"), REQUEST_URL) == b"{}"


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, BadRequestError, False),
        (401, AuthenticationError, False),
        (403, ForbiddenError, False),
        (404, NotFoundError, False),
        (405, StatusError, False),
        (408, StatusError, True),
        (429, RateLimitError, True),
        (500, ServerError, True),
        (501, ServerError, False),
        (599, ServerError, True),
    ],
)
def test_error_status_is_a_typed_error(status: int, kind: type[StatusError], retryable: bool) -> None:
    body = b'{"errors": [{"message": "Not like this"}]}'
    with pytest.raises(StatusError) as caught:
        interpret(Response(status, None, "", body), REQUEST_URL)
    error = caught.value
    assert (type(error), error.status, error.retryable) == (kind, status, retryable)
    assert (error.messages, error.method, error.url) == (("Not like this",), "GET", str(REQUEST_URL))
    assert str(error).startswith(f"Not like this ({status})")
    assert str(error).endswith(f"; GET {REQUEST_URL}")


def test_429_carries_the_reported_rate_limit() -> None:
    limit = RateLimit(reset_at=datetime(2025, 10, 21, tzinfo=UTC), retry_after=60.0)
    with pytest.raises(RateLimitError) as caught:
        interpret(Response(429, limit, "", b""), REQUEST_URL)
    assert (caught.value.reset_at, caught.value.retry_after) == (limit.reset_at, 60.0)


@pytest.mark.parametrize("status", [101, 201, 204, 206, 301, 304])
def test_unexpected_status_is_not_a_response_of_buddy(status: int) -> None:
    with pytest.raises(ResponseError, match=rf"unexpected .*{status}.*: check the base URL; GET https:") as caught:
        interpret(Response(status, None, "/elsewhere", b""), REQUEST_URL)
    assert not caught.value.retryable
