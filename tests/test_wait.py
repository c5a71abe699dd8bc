"""`client.wait` over a real server, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from buddy_sessions import (
    AuthenticationError,
    BuddyClient,
    BuddyError,
    ClientClosedError,
    ConfigError,
    ForbiddenError,
    NotFoundError,
    WaitTimeoutError,
)
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

pytestmark = pytest.mark.virtual_time

SHA = "5ff36f3a1b2c3d4e5f60718293a4b5c6d7e8f901"
DONE: dict[str, Any] = {"status": "SUCCESSFUL", "revision": SHA}
RUNNING: dict[str, Any] = {"status": "IN_PROGRESS", "revision": SHA}

Act = Callable[[FakeBuddy, FakeSuite], object]
Steps = list[tuple[float, Act]]


def create(count: int = 1, **fields: Any) -> Act:
    return lambda _, suite: [suite.create(**fields) for _ in range(count)]


def finish(relative_id: int, status: str = "SUCCESSFUL") -> Act:
    return lambda _, suite: suite.finish(find(suite, relative_id), status)


def delete(relative_id: int) -> Act:
    return lambda _, suite: suite.delete(find(suite, relative_id))


def find(suite: FakeSuite, relative_id: int) -> dict[str, Any]:
    return next(session for session in suite.sessions if session["relative_id"] == relative_id)


def respond(*statuses: int) -> Act:
    return lambda fake, _: fake.inject(*map(Fault.status, statuses))


async def wait(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, steps: Steps, **options: Any
) -> tuple[list[int] | BuddyError, float]:
    """Wait while the steps happen, after so many seconds. Return the sessions or the error, and the seconds."""
    loop = asyncio.get_running_loop()
    for act in [act for second, act in steps if not second]:
        act(fake, suite)
    timers = [loop.call_later(second, act, fake, suite) for second, act in steps if second]
    started = loop.time()
    try:
        outcome: list[int] | BuddyError = [each.relative_id for each in await buddy.wait(suite.key, **options)]
    except BuddyError as error:
        outcome = error
    finally:
        for timer in timers:
            timer.cancel()
    return outcome, loop.time() - started


@pytest.mark.parametrize(
    ("steps", "options", "expected", "seconds"),
    [
        pytest.param([(0, create(**DONE))], {"revision": SHA}, [1], 0, id="finished before"),
        pytest.param([(0, create(**RUNNING)), (55, finish(1))], {"revision": SHA}, [1], 55, id="running"),
        pytest.param([(65, create(**RUNNING)), (95, finish(1))], {"revision": SHA}, [1], 95, id="not started yet"),
        pytest.param([(0, create(**DONE))], {"revision": "5FF36F3"}, [1], 0, id="prefix of the commit"),
        pytest.param(
            [(0, create(status="SUCCESSFUL")), (25, create(**RUNNING)), (45, finish(2))],
            {"revision": SHA, "branch": "main"},
            [2],
            45,
            id="previous commit is not taken for this one",
        ),
        pytest.param(
            [(0, create(**DONE)), (25, create(**RUNNING)), (45, finish(2))],
            {"revision": SHA, "after": 1},
            [2],
            45,
            id="previous run of the commit is not taken for this one",
        ),
        pytest.param([(0, create(3, **DONE))], {"revision": SHA}, [3, 2, 1], 0, id="all sessions of the commit"),
        pytest.param(
            [(0, create(**DONE)), (15, create(**RUNNING)), (35, create(**DONE)), (65, finish(2, "ERROR"))],
            {"revision": SHA, "count": 3},
            [3, 2, 1],
            65,
            id="matrix",
        ),
        pytest.param(
            [(0, create(branch="main", **DONE)), (1, create(branch="fix", status="SUCCESSFUL"))],
            {"branch": "main"},
            [1],
            0,
            id="newest session of a branch",
        ),
        pytest.param(
            [(0, create(branch="main")), (15, create(branch="main")), (45, finish(2))],
            {"branch": "main"},
            [2],
            45,
            id="newest session of a branch, created while an older one runs",
        ),
        pytest.param(
            [(0, create(**DONE)), (0, create()), (25, delete(2))],
            {"branch": "main"},
            [1],
            25,
            id="newest session of a branch, after a newer one was deleted",
        ),
        pytest.param([(0, create(2, **DONE))], {"branch": "*"}, [2], 0, id="newest session of all"),
        pytest.param(
            [(0, create(execution_id="5efd", **DONE)), (1, create(status="ERROR", execution_id="5efe"))],
            {"execution_id": "5efd"},
            [1],
            0,
            id="pipeline execution",
        ),
        pytest.param(
            [(0, create(**RUNNING)), (5, create(150)), (25, finish(1))], {"revision": SHA}, [1], 25, id="150 newer ones"
        ),
        pytest.param(
            [
                (0, lambda fake, _: setattr(fake, "largest_page", 20)),
                (0, create(**RUNNING)),
                (0, create(50)),
                (25, finish(1)),
            ],
            {"revision": SHA},
            [1],
            25,
            id="on a later page of a server with short pages",
        ),
        pytest.param(
            [(0, create(**RUNNING)), (0.5, create(150)), (25, delete(1)), (45, create(**DONE))],
            {"revision": SHA},
            [152],
            45,
            id="deleted behind 150 newer ones, and run again",
        ),
        pytest.param(
            [(0, create(**DONE)), (0, create(950, status="SUCCESSFUL"))], {"revision": SHA}, [1], 0, id="950 newer ones"
        ),
    ],
)
async def test_sessions_that_are_awaited(
    fake: FakeBuddy,
    buddy: BuddyClient,
    suite: FakeSuite,
    steps: Steps,
    options: dict[str, Any],
    expected: list[int],
    seconds: float,
) -> None:
    found, waited = await wait(fake, buddy, suite, steps, **options)
    assert found == expected
    assert seconds <= waited <= seconds + 22  # a deletion is seen at the second look


@pytest.mark.parametrize(
    ("steps", "options", "error", "found", "message"),
    [
        pytest.param(
            [(0, create(status="SUCCESSFUL"))],
            {"appear_timeout": 300},
            300,
            [],
            "no session of acme/shop/unit (revision 5ff36f3) appeared within 300 s: check that its tests have started",
            id="none appeared",
        ),
        pytest.param([], {"timeout": 60, "appear_timeout": 300}, 60, [], "within 60 s", id="the shorter of both"),
        pytest.param(
            [(0, create(**RUNNING))],
            {"timeout": 1800, "appear_timeout": 300},
            1800,
            [1],
            "#1 of acme/shop/unit (revision 5ff36f3) did not finish within 1,800 s: wait longer",
            id="not finished",
        ),
        pytest.param(
            [(0, create(**DONE)), (20, create(**RUNNING))],
            {"count": 3, "timeout": 600},
            600,
            [2, 1],
            "only 2 of 3 sessions (#2, #1) of acme/shop/unit (revision 5ff36f3) appeared within 600 s",
            id="two of three",
        ),
        pytest.param(
            [(0, respond(*[503] * 100))],
            {"timeout": 300},
            300,
            [],
            "unit (revision 5ff36f3) could not be read within 300 s: check the network, or wait longer; the last look "
            "failed: HTTP 503 (injected fault) (503); GET http",
            id="server that is down",
        ),
        pytest.param(
            [(0, lambda fake, _: fake.inject(Fault.hang()))],
            {"timeout": 20},
            20,
            [],
            "could not be read within 20 s: check the network, or wait longer; the last look failed: no response",
            id="first request that hangs",
        ),
        pytest.param(
            [(0, create(**RUNNING)), (5, lambda fake, _: fake.inject(Fault.hang()))],
            {"timeout": 20},
            20,
            [1],
            "did not finish within 20 s",
            id="request that hangs",
        ),
    ],
)
async def test_too_late(
    fake: FakeBuddy,
    buddy: BuddyClient,
    suite: FakeSuite,
    steps: Steps,
    options: dict[str, Any],
    error: float,
    found: list[int],
    message: str,
) -> None:
    outcome, waited = await wait(fake, buddy, suite, steps, revision="5ff36f3", **options)
    assert isinstance(outcome, WaitTimeoutError)
    assert isinstance(outcome, TimeoutError)
    assert outcome.retryable
    assert [session.relative_id for session in outcome.sessions] == found
    assert message in str(outcome)
    assert waited == pytest.approx(error, abs=0.1)


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_later_failure_only_delays(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, status: int) -> None:
    steps: Steps = [(0, create(**RUNNING)), (15, respond(*[status] * 3)), (20, finish(1))]
    outcome, waited = await wait(fake, buddy, suite, steps, revision=SHA)
    assert outcome == [1]
    assert 40 < waited < 60


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [([401], AuthenticationError), ([403], ForbiddenError), ([404], NotFoundError), ([503, 404], NotFoundError)],
    ids=str,
)
async def test_failure_before_any_success_is_raised(
    fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, statuses: list[int], kind: type[BuddyError]
) -> None:
    """A token that is wrong, or a suite that does not exist, is not waited for; a server that is busy is."""
    outcome, _ = await wait(fake, buddy, suite, [(0, respond(*statuses))], revision=SHA)
    assert type(outcome) is kind
    assert len(fake.requests) == len(statuses)


async def test_client_that_is_closed_meanwhile(fake: FakeBuddy, suite: FakeSuite) -> None:
    buddy = BuddyClient(fake.token, base_url=fake.base_url)
    waiting = asyncio.create_task(buddy.wait(suite.key, revision=SHA))
    await asyncio.sleep(25)
    await buddy.close()
    with pytest.raises(ClientClosedError):
        await waiting


async def test_few_requests(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """The newest 1,000 sessions are searched once; each later look is one request."""
    suite.populate(1500)
    outcome, _ = await wait(fake, buddy, suite, [], revision=SHA, timeout=600)
    assert isinstance(outcome, WaitTimeoutError)
    pages = [int(request.query["page"]) for request in fake.requests]
    assert pages[:10] == [*range(1, 11)]
    assert set(pages[10:]) == {1}
    assert 54 <= len(pages[10:]) <= 66


@pytest.mark.parametrize(
    "options",
    [{}, {"count": 2}, {"revision": "abc"}, {"branch": ""}, {"execution_id": ""}, {"after": -1}]
    + [{"after": 1, name: 0} for name in ("count", "interval", "timeout", "appear_timeout")],
    ids=str,
)
async def test_invalid_arguments(buddy: BuddyClient, fake: FakeBuddy, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        await buddy.wait("acme/shop/unit", **options)
    assert not fake.requests


class SharedLimiter:
    """Admits one request in each second, of all clients together."""

    def __init__(self) -> None:
        self._next = 0.0

    async def acquire(self) -> None:
        now = asyncio.get_running_loop().time()
        self._next = max(self._next + 1, now)
        await asyncio.sleep(self._next - now)


async def test_fifty_jobs_share_the_quota_of_their_account(fake: FakeBuddy, suite: FakeSuite) -> None:
    """Each job is a client of its own, and would send six requests a minute."""
    loop, limiter = asyncio.get_running_loop(), SharedLimiter()
    requests: list[float] = []

    def count(_: object) -> None:
        requests.append(loop.time())
        if len(requests) > 60 and requests[-1] - requests[-61] < 59.9:
            fake.inject(Fault.status(429))

    async def job(number: int) -> list[int]:
        async with BuddyClient(fake.token, base_url=fake.base_url, limiter=limiter, max_attempts=1) as buddy:
            return [each.relative_id for each in await buddy.wait(suite.key, revision=f"{number:040x}")]

    def finish_all() -> None:
        for session in suite.sessions:
            suite.finish(session)

    fake.on_request = count
    for number in range(1, 51):
        suite.create(revision=f"{number:040x}")
    loop.call_later(600, finish_all)
    started = loop.time()
    assert await asyncio.gather(*map(job, range(1, 51))) == [[number] for number in range(1, 51)]
    assert 600 < loop.time() - started < 700
    assert {request.status for request in fake.requests} == {200}
    assert len(requests) > 550
