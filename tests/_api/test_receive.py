"""`Api.receive`: a response as it is."""

from __future__ import annotations

import pytest

from buddy_sessions import BuddyClient, RateLimitError, TransportError
from buddy_sessions.testing import FakeBuddy, Fault


@pytest.mark.parametrize("status", [200, 302, 404, 503])
async def test_any_status_is_returned_once(fake: FakeBuddy, buddy: BuddyClient, status: int) -> None:
    fake.inject(Fault.status(status, body=b"<html>", headers={"Location": "/login"}))
    response = await buddy.api.receive("workspaces", "a/b", page=2)
    assert (response.status, response.body, response.headers["location"]) == (status, b"<html>", "/login")
    assert [(request.path, request.query) for request in fake.requests] == [("/workspaces/a%2Fb", {"page": "2"})]


async def test_token_is_not_in_the_response(fake: FakeBuddy, buddy: BuddyClient) -> None:
    fake.inject(Fault.status(401, body=f"no {fake.token}".encode(), headers={"X-Token": fake.token}))
    response = await buddy.api.receive("user", "token")
    assert (response.body, response.headers["x-token"]) == (b"no ***", "***")


async def test_no_response(fake: FakeBuddy, buddy: BuddyClient) -> None:
    fake.inject(Fault.truncate(3), Fault.status(429, headers={"Retry-After": "3600"}))
    with pytest.raises(TransportError):
        await buddy.api.receive("workspaces")
    assert (await buddy.api.receive("workspaces")).status == 429
    with pytest.raises(RateLimitError):
        await buddy.api.receive("workspaces")
