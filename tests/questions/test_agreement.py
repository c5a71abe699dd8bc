"""A law: the API, a database, a bot, a report, agents and the rules agree, at each step of a history."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import AsyncExitStack, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from buddy_sessions import MAIN, BuddyClient, BuddyError, SessionStore, StatusChange, StatusWatch, SuiteKey
from buddy_sessions.analysis import Judgement, SuiteStatus
from buddy_sessions.analysis.remarks import remarks_text
from buddy_sessions.cli.commands.mcp_server import Tools
from buddy_sessions.cli.commands.report import command as report
from buddy_sessions.cli.suite_selection import KeyDefaults
from buddy_sessions.questions.questions import Questions
from buddy_sessions.testing import FakeBuddy
from helpers import rules
from helpers.effort import repeats
from helpers.random_histories import BRANCHES, History, histories

SUITE = SuiteKey("acme", "shop", "unit")
HISTORIES = repeats(quick=3, thorough=10, long=200)
TITLES = {True: "Passes", False: "Fails", None: "No verdict"}
STATES: dict[bool | None, Literal["red", "green", "no verdict"]] = {True: "red", False: "green", None: "no verdict"}


@settings(max_examples=HISTORIES, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(histories(max_sessions=12), st.sampled_from([None, *BRANCHES]))
def test_all_that_judge_agree(history: History, baseline: str | None) -> None:
    assume(not any(rules.lists_fewer(history.cases, row) for row in history.rows))  # it is read again after ten seconds
    with TemporaryDirectory() as folder:
        asyncio.run(live(history, baseline, Path(folder) / "sessions.db"))


async def live(history: History, baseline: str | None, path: Path) -> None:
    """Create the sessions one by one; after each, ask all."""
    async with (
        FakeBuddy() as fake,
        BuddyClient(fake.token, base_url=fake.base_url) as buddy,
        SessionStore(path) as store,
        AsyncExitStack() as stack,
    ):
        suite = fake.add_suite(*SUITE)
        events: list[StatusChange] = []
        newest = 0  # of the commits that decided the status; a bot ignores that an older one is run again
        watch = await stack.enter_async_context(buddy.watch_status([SUITE], interval=3600))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.push_async_callback(watch.aclose)
        group.create_task(collect(watch, events))
        for index, row in reversed([*enumerate(history.rows)]):
            suite.create(cases=list(history.cases(row["id"])), **row)
            await store.sync(buddy, [SUITE], cases="all").run()
            rows, now = history.rows[index:], datetime.now(UTC)
            for name in filter(None, ("latest", row["revision"], row["relative_id"])):
                judgement, found = await verdict_of(buddy, name, baseline)
                assert (await verdict_of(store, name, baseline))[1] == found, (row, name)
                if judgement is not None and name != "latest":
                    asked = row["id"] if isinstance(name, int) else name
                    ruled = rules.gate(rows, history.cases, asked, baseline=baseline or rules.MAIN, now=now)
                    assert judgement.passes == ruled.passes, (row, name, ruled.reason, found)
            (status,), (saved,) = await buddy.status([SUITE]), await store.status()
            assert seen_in(status) == seen_in(saved), row
            assert status.is_failing == rules.status(rows, now=now).is_failing, row
            await watch.settled()
            if status.commit is not None and status.commit.first.relative_id >= newest:
                newest = status.commit.first.relative_id
                assert [event.commit.is_failing for event in events][-1:] == [status.is_failing], row
        (status,) = await buddy.status([SUITE])
        for ask in (buddy, store):
            await agents_agree(ask, status, history.rows[0]["relative_id"], baseline or "main")
        assert await reported(path) == STATES[status.is_failing]


async def collect(watch: StatusWatch, events: list[StatusChange]) -> None:
    async for event in watch:
        events.append(event)  # noqa: PERF401 - each one is looked at before the next


def seen_in(status: SuiteStatus) -> Any:
    commits = [commit and [each.id for each in commit.counted] for commit in (status.commit, status.since)]
    return status.branch, status.is_failing, status.reason, remarks_text(status.remarks), status.is_since_exact, commits


async def verdict_of(ask: Questions, name: str | int, baseline: str | None) -> tuple[Judgement | None, Any]:
    """Return the verdict, and what must be equal."""
    try:
        judgement = await ask.judge(SUITE, name, baseline=baseline or MAIN)
    except BuddyError as error:
        return None, (type(error), str(error))
    tests = [(test.case.key, test.novelty, test.failed_in) for test in judgement.tests]
    texts = [list(map(str, each)) for each in (judgement.reasons, judgement.remarks)]
    return judgement, (judgement.is_failing, judgement.passes, texts, tests)


async def agents_agree(ask: BuddyClient | SessionStore, status: SuiteStatus, number: int, baseline: str) -> None:
    """Assert that agents list the suite with its status, and get the verdict on a session."""
    tools = Tools(ask, KeyDefaults())
    listed = {state: str(SUITE) in await tools.list_suites("acme/shop", status=state) for state in STATES.values()}
    assert listed == {state: state == STATES[status.is_failing] for state in STATES.values()}
    expected, _ = await verdict_of(ask, number, baseline)
    if expected is not None:
        answer = await tools.get_failures(str(SUITE), session=f"#{number}", baseline=baseline)
        assert TITLES[expected.passes] in answer


async def reported(path: Path) -> str:
    """Return what a report says about the suite."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()):
        await report(db=path, output_format="jsonl")
    summary = json.loads(output.getvalue().splitlines()[0])
    return "red" if summary["red"] else "no verdict" if summary["not_judged"] else "green"
