"""Harvests of many suites with a rejected token, or with a server that is down for ever or for a while."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from buddy_sessions import (
    AuthenticationError,
    BuddyClient,
    BuddyError,
    Harvest,
    RateLimitError,
    ResponseError,
    ServerError,
    Session,
    SuiteKey,
    TransportError,
)
from buddy_sessions.testing import FakeBuddy, Fault
from helpers.faults import TOKEN, CheckedReader

pytestmark = [pytest.mark.fault, pytest.mark.virtual_time]

MAX_CONCURRENCY = 8
"""The default of the client."""

OnFailure = Literal["raise", "collect"]


@pytest.fixture
def fake(fake: FakeBuddy) -> FakeBuddy:
    fake.latency = 0.01
    return fake


def suite_keys(count: int) -> list[SuiteKey]:
    return [SuiteKey("acme", "shop", f"s{number}") for number in range(count)]


def add_suites(fake: FakeBuddy, count: int, sessions: int) -> list[SuiteKey]:
    for key in suite_keys(count):
        fake.add_suite(*key).populate(sessions)
    return suite_keys(count)


async def collect(harvest: Harvest) -> list[Session]:
    async with harvest:
        return [session async for _, session in harvest]


@pytest.mark.parametrize(
    ("is_callable", "on_failure", "max_concurrency", "latency"),
    [
        (False, "raise", 50, 5.0),
        (False, "collect", MAX_CONCURRENCY, 5.0),
        (True, "raise", 1, 0.01),
        (True, "collect", 50, 0.01),
    ],
)
async def test_harvest_with_a_rejected_token(
    reader: CheckedReader,
    fake: FakeBuddy,
    is_callable: bool,
    on_failure: OnFailure,
    max_concurrency: int,
    latency: float,
) -> None:
    """It ends at once, whether the responses arrive before or after all workers have sent a request."""
    fake.token, fake.latency = "none of them", latency
    suites, tokens = add_suites(fake, 300, 0), list[str]()

    async def new_token() -> str:
        tokens.append(f"{TOKEN}-{len(tokens)}")
        return tokens[-1]

    error = await reader.fail(
        fake,
        AuthenticationError,
        requests=range(1, max_concurrency + 2 + 1),
        function=lambda buddy: collect(buddy.harvest(suites, on_failure=on_failure)),
        token=new_token if is_callable else TOKEN,
        max_concurrency=max_concurrency,
    )
    assert error.not_tried == 300 - max_concurrency
    assert str(error).endswith(f"; {error.not_tried} suites were not tried")
    assert len(tokens) == 2 * is_callable


@pytest.mark.parametrize("on_failure", ["raise", "collect"])
@pytest.mark.parametrize(
    ("fault", "error_type"),
    [
        pytest.param(Fault.status(503), ServerError, id="503"),
        pytest.param(Fault.disconnect(), TransportError, id="disconnect"),
        pytest.param(Fault.hang(), TransportError, id="hang"),
        pytest.param(Fault.body(b"<html>"), ResponseError, id="html"),
        pytest.param(Fault.status(429, headers={"Retry-After": "900"}), RateLimitError, id="429"),
    ],
)
async def test_harvest_from_a_server_that_is_down(
    reader: CheckedReader, fake: FakeBuddy, fault: Fault, error_type: type[BuddyError], on_failure: OnFailure
) -> None:
    """It ends after 20 suites, each of which is tried three times at most."""
    fake.on_request = lambda _: fake.inject(fault)
    error = await reader.fail(
        fake,
        error_type,
        requests=range(1, 2 * 3 * 20 + 1),  # aiohttp sends a request again if a reused connection was closed
        function=lambda buddy: collect(buddy.harvest(suite_keys(2000), concurrency=1, on_failure=on_failure)),
    )
    assert str(error).endswith("; 1,980 suites were not tried")
    assert error.retryable


@pytest.mark.parametrize("fault", [Fault.status(503), Fault.disconnect(), Fault.hang()], ids=str)
async def test_outage_of_3_seconds(fake: FakeBuddy, fault: Fault) -> None:
    """With the default settings, every suite is complete."""

    async def fail() -> None:
        await asyncio.sleep(0.1)  # in the middle: without an outage, the harvest takes 0.2 seconds
        fake.on_request = lambda _: fake.inject(fault)
        await asyncio.sleep(3)
        fake.on_request = None

    suites = add_suites(fake, 160, 3)
    outage = asyncio.create_task(fail())
    started = asyncio.get_running_loop().time()
    async with BuddyClient(TOKEN, base_url=fake.base_url) as buddy, buddy.harvest(suites) as harvest:
        found = [session async for _, session in harvest]
    await outage
    assert (len(found), harvest.failures, harvest.stats.suites) == (160 * 3, {}, 160)
    assert asyncio.get_running_loop().time() - started > 3
