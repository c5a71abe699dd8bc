from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from yarl import URL

from buddy_sessions._http.credentials import Secret
from buddy_sessions._http.responses import Response, response_error
from buddy_sessions.errors import (
    AuthenticationError,
    BadRequestError,
    BuddyError,
    ForbiddenError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    StatusError,
)
from buddy_sessions.models import RateLimit

REQUEST_URL = URL("https://api.buddy.works/x")


def error_of(status: int, *, location: str = "", body: bytes = b"", rate_limit: RateLimit | None = None) -> BuddyError:
    error = response_error(Response(status, rate_limit, location, body), REQUEST_URL, Secret("Bearer s3cr3t-t0ken"))
    assert error is not None
    return error


def test_200_is_no_error() -> None:
    assert response_error(Response(200, None, "", b"{}"), REQUEST_URL, Secret()) is None


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
    error = error_of(status, body=b'{"errors": [{"message": "Not like this"}]}')
    assert isinstance(error, StatusError)
    assert (type(error), error.status, error.retryable) == (kind, status, retryable)
    assert (error.messages, error.method, error.url) == (("Not like this",), "GET", str(REQUEST_URL))
    assert str(error).startswith(f"Not like this ({status})")
    assert str(error).endswith(f"; GET {REQUEST_URL}")


def test_429_carries_the_reported_rate_limit() -> None:
    limit = RateLimit(reset_at=datetime(2025, 10, 21, tzinfo=UTC), retry_after=60.0)
    error = error_of(429, rate_limit=limit)
    assert isinstance(error, RateLimitError)
    assert (error.reset_at, error.retry_after) == (limit.reset_at, 60.0)


@pytest.mark.parametrize("status", [101, 201, 204, 206, 301, 304])
def test_unexpected_status_is_not_a_response_of_buddy(status: int) -> None:
    error = error_of(status, location="/elsewhere")
    assert type(error) is ResponseError
    assert re.match(rf"unexpected .*{status}.*: check the base URL; GET https:", str(error))
    assert not error.retryable
