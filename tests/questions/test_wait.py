"""`client.wait` over a real server, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from buddy_sessions import (
    AuthenticationError,
    BuddyClient,
    BuddyError,
    ClientClosedError,
    ForbiddenError,
    NotFoundError,
    TransportError,
    WaitTimeoutError,
)
from buddy_sessions._base.figures import format_duration
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault

pytestmark = pytest.mark.virtual_time

SHA = "5ff36f3a1b2c3d4e5f60718293a4b5c6d7e8f901"
COMMIT: dict[str, Any] = {"revision": SHA}
RUN_URL = "https://github.com/acme/shop/actions/runs/17"

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


def ago(**parts: int) -> str:
    return (datetime.now(UTC) - timedelta(**parts)).strftime("%Y-%m-%dT%H:%M:%SZ")


DONE, RUNNING = create(status="SUCCESSFUL", **COMMIT), create(**COMMIT)
OLDEST = create(create_date=ago(days=3, hours=1), **COMMIT)
HANG: Act = lambda fake, _: fake.inject(Fault.hang())  # noqa: E731 - a short name for a table
SHORT_PAGES: Act = lambda fake, _: setattr(fake, "largest_page", 20)  # noqa: E731 - likewise

AWAITED: dict[str, tuple[Steps, dict[str, Any], list[int], float]] = {
    "not started yet": ([(65, RUNNING), (95, finish(1))], COMMIT, [1], 95),
    "prefix of the commit": ([(0, DONE)], {"revision": "5FF36F3"}, [1], 0),
    "previous commit is not taken for this one": (
        [(0, create(status="SUCCESSFUL")), (25, RUNNING), (45, finish(2))],
        {**COMMIT, "branch": "main"},
        [2],
        45,
    ),
    "previous run of the commit is not taken for this one": (
        [(0, DONE), (25, RUNNING), (45, finish(2))],
        {**COMMIT, "after": 1},
        [2],
        45,
    ),
    "all sessions of the commit, a matrix": (
        [(0, DONE), (15, RUNNING), (35, DONE), (65, finish(2, "ERROR"))],
        {**COMMIT, "count": 3},
        [3, 2, 1],
        65,
    ),
    "newest session of a branch, created while an older one runs": (
        [(0, create()), (15, create()), (45, finish(2))],
        {"branch": "main"},
        [2],
        45,
    ),
    "newest session of a branch, after a newer one was deleted": (
        [(0, DONE), (0, create()), (25, delete(2))],
        {"branch": "main"},
        [1],
        25,
    ),
    "newest session of all": ([(0, create(2, status="SUCCESSFUL"))], {"after": 0}, [2], 0),
    "newest 150 sessions of a branch": (
        [(0, create(160, status="SUCCESSFUL"))],
        {"branch": "main", "count": 150},
        [*range(160, 10, -1)],
        0,
    ),
    "CI run, not another one of the same commit": (
        [(0, create(status="ERROR", **COMMIT)), (0, create(ci_run_url=f"{RUN_URL}/")), (25, finish(2))],
        {"run_url": RUN_URL},
        [2],
        25,
    ),
    "CI run, not one whose URL begins like this": (
        [(0, create(status="ERROR", ci_run_url=f"{RUN_URL}0")), (15, create(ci_run_url=RUN_URL, status="SUCCESSFUL"))],
        {"run_url": f"{RUN_URL}/"},
        [2],
        15,
    ),
    "re-run of a CI run, on a branch": (
        [
            (0, create(status="ERROR", ci_run_url=RUN_URL)),
            (5, create(branch="fix", ci_run_url=RUN_URL)),
            (15, create(status="SUCCESSFUL", ci_run_url=RUN_URL)),
        ],
        {"run_url": RUN_URL, "after": 1, "branch": "main"},
        [3],
        15,
    ),
    "exists already, below 800 others": ([(0, DONE), (0, create(800))], COMMIT, [1], 0),
    "created with a page of newer ones between two polls": (
        [(0, create()), (5, DONE), (5, create(100))],
        COMMIT,
        [2],
        5,
    ),
    "runs on below 1,050 newer ones, while another one has finished": (
        [(0, RUNNING), (0, DONE), (5, create(1050)), (45, finish(1))],
        COMMIT,
        [2, 1],
        45,
    ),
    "on a later page of a server with short pages": (
        [(0, SHORT_PAGES), (0, RUNNING), (0, create(50)), (25, finish(1))],
        COMMIT,
        [1],
        25,
    ),
    "first red one of three": (
        [(0, RUNNING), (0, RUNNING), (25, finish(2, "ERROR"))],
        {**COMMIT, "count": 3, "fail_fast": 1},
        [2, 1],
        25,
    ),
    "second red one": (
        [(0, create(status="ERROR", **COMMIT)), (0, RUNNING), (0, RUNNING), (25, finish(3, "ERROR"))],
        {**COMMIT, "fail_fast": 2},
        [3, 2, 1],
        25,
    ),
    "re-run that began at a time": (
        [(0, OLDEST), (0, create(create_date=ago(days=1), **COMMIT)), (15, DONE), (25, finish(2))],
        {**COMMIT, "after": datetime.now(UTC) - timedelta(days=2)},
        [3, 2],
        25,
    ),
}


@pytest.mark.parametrize("name", AWAITED)
async def test_sessions_that_are_awaited(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, name: str) -> None:
    steps, options, expected, seconds = AWAITED[name]
    found, waited = await wait(fake, buddy, suite, steps, **options)
    assert found == expected
    assert seconds <= waited <= seconds + 11


async def test_requests(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """One for the newest session of a branch; a commit is searched among 1,000."""
    create(1200, status="SUCCESSFUL")(fake, suite)
    await buddy.wait(suite.key, branch="main")
    assert len(fake.requests) == 1
    with pytest.raises(WaitTimeoutError):
        await buddy.wait(suite.key, revision=SHA, timeout=1)
    assert len(fake.requests) == 1 + 10


TOO_LATE: dict[str, tuple[Steps, dict[str, Any], list[int], str]] = {
    "none appeared": (
        [(0, create(status="SUCCESSFUL"))],
        {"appear_timeout": 300},
        [],
        "no session of acme/shop/unit (commit 5ff36f3) appeared within 5m: check that its tests have started",
    ),
    "not finished": (
        [(0, RUNNING)],
        {"appear_timeout": 300},
        [1],
        "#1 of acme/shop/unit (commit 5ff36f3) did not finish within 30m: wait longer, or if an earlier run was killed",
    ),
    "two of three": (
        [(0, DONE), (20, RUNNING)],
        {"count": 3, "timeout": 600},
        [2, 1],
        "only 2 of 3 sessions (#2, #1) of acme/shop/unit (commit 5ff36f3) appeared within 10m",
    ),
    "server that is down": (
        [(0, respond(*[503] * 100))],
        {"timeout": 300},
        [],
        "could not be read within 5m: check the network, or wait longer; the last request failed: HTTP 503",
    ),
    "request that hangs": ([(0, RUNNING), (5, HANG)], {"timeout": 20}, [1], "did not finish within 20s"),
}


@pytest.mark.parametrize("name", TOO_LATE)
async def test_too_late(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, name: str) -> None:
    steps, options, found, message = TOO_LATE[name]
    error, waited = await wait(fake, buddy, suite, steps, revision="5ff36f3", **options)
    assert isinstance(error, WaitTimeoutError)
    assert isinstance(error, TimeoutError)
    assert error.retryable
    assert [session.relative_id for session in error.sessions] == found
    assert message in str(error)
    assert f" within {format_duration(round(waited))}" in str(error)
    assert (error.__cause__ is not None) == ("the last request failed" in message)


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_later_failure_only_delays(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite, status: int) -> None:
    steps: Steps = [(0, RUNNING), (15, respond(*[status] * 3)), (20, finish(1))]
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


async def test_server_that_cannot_be_reached_is_not_waited_for(suite: FakeSuite) -> None:
    """Its URL may be wrong."""
    async with BuddyClient("token", base_url="http://127.0.0.1:1") as buddy:
        started = asyncio.get_running_loop().time()
        with pytest.raises(TransportError, match="cannot connect"):
            await buddy.wait(suite.key, revision=SHA, timeout=1800)
    assert asyncio.get_running_loop().time() - started < 60


async def test_client_that_is_closed_meanwhile(fake: FakeBuddy, suite: FakeSuite) -> None:
    buddy = BuddyClient(fake.token, base_url=fake.base_url)
    waiting = asyncio.create_task(buddy.wait(suite.key, revision=SHA))
    await asyncio.sleep(25)
    await buddy.close()
    with pytest.raises(ClientClosedError):
        await waiting
