"""A law: a client, a database that has synced the same sessions, and a bot agree, at each step of a history."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from buddy_sessions import BuddyClient, BuddyError, SessionStore, StatusChange, StatusWatch, SuiteKey
from buddy_sessions.analysis.remarks import remarks_text
from buddy_sessions.questions.questions import Questions
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers import rules
from helpers.effort import repeats
from helpers.random_histories import BRANCHES, History, histories

HISTORIES = repeats(quick=3, thorough=10, long=200)


@settings(max_examples=HISTORIES, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(histories(max_sessions=12), st.sampled_from([None, *BRANCHES]))
def test_client_and_database_agree(history: History, baseline: str | None) -> None:
    assume(not any(rules.lists_fewer(history.cases, row) for row in history.rows))  # it is read again after ten seconds
    with TemporaryDirectory() as folder:
        asyncio.run(live(history, baseline, Path(folder)))


async def live(history: History, baseline: str | None, folder: Path) -> None:
    """Create the sessions one by one; after each, ask both."""
    async with (
        FakeBuddy() as fake,
        BuddyClient(fake.token, base_url=fake.base_url) as buddy,
        SessionStore(folder / "sessions.db") as store,
        AsyncExitStack() as stack,
    ):
        suite = fake.add_suite("acme", "shop", "unit")
        events: list[StatusChange] = []
        newest = 0  # of the commits that decided the status; a bot ignores that an older one is run again
        watch = await stack.enter_async_context(buddy.watch_status([suite.key], interval=3600))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.push_async_callback(watch.aclose)
        group.create_task(collect(watch, events))
        for row in reversed(history.rows):
            suite.create(cases=list(history.cases(row["id"])), **row)
            await store.sync(buddy, [suite.key], cases="all").run()
            for name in ("latest", row["revision"], row["relative_id"]):
                if name is not None:
                    answers = [await verdict_of(each, suite, name, baseline) for each in (buddy, store)]
                    assert answers[0] == answers[1], (row, name)
            answers = [await status_of(each, suite) for each in (buddy, store)]
            assert answers[0] == answers[1], row
            await watch.settled()
            (status,) = await buddy.status([suite.key])
            if status.commit is not None and status.commit.first.relative_id >= newest:
                newest = status.commit.first.relative_id
                assert [event.commit.is_failing for event in events][-1:] == [status.is_failing], row


async def collect(watch: StatusWatch, events: list[StatusChange]) -> None:
    async for event in watch:
        events.append(event)  # noqa: PERF401 - each one is looked at before the next


async def status_of(ask: Questions, suite: FakeSuite) -> Any:
    (status,) = await ask.status([suite.key])
    commits = [commit and [each.id for each in commit.counted] for commit in (status.commit, status.since)]
    return status.branch, status.is_failing, status.reason, remarks_text(status.remarks), status.is_since_exact, commits


async def verdict_of(ask: Questions, suite: FakeSuite, name: str | int, baseline: str | None) -> Any:
    options: dict[str, Any] = {} if baseline is None else {"baseline": baseline}
    try:
        judgement = await ask.judge(SuiteKey(*suite.key), name, **options)
    except BuddyError as error:
        return type(error), str(error)
    tests = [(test.case.key, test.novelty, test.failed_in) for test in judgement.tests]
    return (
        judgement.is_failing,
        judgement.passes,
        *(list(map(str, each)) for each in (judgement.reasons, judgement.remarks)),
        tests,
    )
