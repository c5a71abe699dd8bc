"""`history`: since when a test fails, from the API and from a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buddy_sessions import BuddyClient, ConfigError, SessionStore
from buddy_sessions.analysis import TestHistory
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.list_source import Ask

STATUSES = {"P": "PASSED", "F": "FAILED", "E": "ERROR", "S": "SKIPPED"}


def add(suite: FakeSuite, statuses: str, *, other: str = "P", **fields: Any) -> None:
    """Add a session for each letter, oldest first, each of a commit of its own: - if `pays` did not run."""
    for letter in statuses:
        cases = [{"name": "other", "status": STATUSES[other]}]
        cases += [] if letter == "-" else [{"name": "pays", "status": STATUSES[letter]}]
        suite.create(**{"cases": cases, **fields})


def facts(history: TestHistory) -> tuple[bool | None, int, int | None, bool]:
    """Return whether the test fails, for how many commits, the session before, and whether there may be older ones."""
    before = None if history.before is None else history.before.session.relative_id
    return history.is_failing, len(history.streak), before, history.may_have_older


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("PPFEFF", (True, 4, 2, False)),
        ("PFPP", (False, 2, 2, False)),
        ("FPS-PF", (True, 1, 5, False)),
        ("F", (True, 1, None, False)),
        ("P" * 10 + "F", (True, 1, 10, True)),
        ("P" + "F" * 15, (True, 15, 1, False)),  # longer than the ten commits that are searched
    ],
)
async def test_since_when_it_fails(statuses: str, expected: Any, suite: FakeSuite, ask: Ask) -> None:
    add(suite, statuses)
    assert facts(await (await ask()).history(suite.key, "pays")) == expected


async def test_failure_before_the_searched_commits(buddy: BuddyClient, suite: FakeSuite) -> None:
    add(suite, "F" + "P" * 15)
    assert facts(await buddy.history(suite.key, "pays")) == (False, 10, None, True)
    assert facts(await buddy.history(suite.key, "pays", last=16)) == (False, 15, 1, False)


@pytest.mark.parametrize(
    ("statuses", "other", "requests"),
    [
        pytest.param("P" * 90 + "PFFFF", "P", 5, id="four red sessions, then a green one"),
        pytest.param("P" * 90 + "PFFFF", "F", 11, id="ten red sessions, four with the test"),
        pytest.param("F" + "P" * 30, "P", 2, id="no failure among ten green sessions"),
        pytest.param("P" * 30, "F", 12, id="no failure among ten red sessions"),
    ],
)
async def test_requests(
    statuses: str, other: str, requests: int, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite
) -> None:
    """One for the list, one for each red session of ten commits; one for 100 tests if the test did not fail there."""
    add(suite, statuses, other=other)
    await buddy.history(suite.key, "pays")
    assert len(fake.requests) == requests


async def test_streak_across_more_sessions_than_one_list_has(buddy: BuddyClient, suite: FakeSuite) -> None:
    add(suite, "PF")
    add(suite, "-" * 120, branch="dev")
    add(suite, "F")
    assert facts(await buddy.history(suite.key, "pays")) == (True, 2, 1, False)


async def test_unit_is_the_commit(suite: FakeSuite, ask: Ask) -> None:
    """Each has two jobs: `pays` runs only in the second one, or fails in the first one of two."""
    for number, jobs in enumerate(("-P", "-F", "FP"), 1):
        add(suite, jobs, revision=f"{number:040x}")
    history = await (await ask()).history(suite.key, "pays")
    assert [outcome.session.relative_id for outcome in history.outcomes] == [5, 4, 2]
    assert facts(history)[:2] == (True, 2)


async def test_branch(suite: FakeSuite, ask: Ask) -> None:
    add(suite, "P")
    add(suite, "F", branch="fix")
    history = await (await ask()).history(suite.key, "pays", branch="fix")
    assert (history.branch, facts(history)[:2]) == ("fix", (True, 1))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("adds", ["adds"]),  # a whole name comes before a part
        ("ADDS  tw", ["adds twice"]),
        ("a… twice", ["adds twice"]),
        ("ad", ["adds", "adds twice"]),
        ("CartTest", ["adds", "adds twice", "pays"]),
    ],
)
async def test_text_names_a_test(text: str, found: list[str], suite: FakeSuite, ask: Ask) -> None:
    """Text that fits several is an error that names them."""
    suite.create(cases=[{"name": name, "status": "FAILED"} for name in ("adds", "adds twice", "pays")])
    source = await ask()
    if len(found) == 1:
        assert (await source.history(suite.key, text)).key.name == found[0]
    else:
        with pytest.raises(
            ConfigError, match=f"fits {len(found)} failing tests: pass more of the name as test"
        ) as caught:
            await source.history(suite.key, text)
        assert [note.rpartition(" > ")[2] for note in caught.value.__notes__] == found


async def test_session_that_was_not_saved_is_named(buddy: BuddyClient, suite: FakeSuite, tmp_path: Path) -> None:
    """Otherwise an older one looks like the newest."""
    async with SessionStore(tmp_path / "sessions.db") as store:
        add(suite, "F")
        await store.sync(buddy, [suite.key], cases="failed").run()
        add(suite, "F")
        await store.sync(buddy, [suite.key]).run()
        history = await store.history(suite.key, "pays")
    assert [session.relative_id for session in history.unread] == [2]
    assert [outcome.session.relative_id for outcome in history.outcomes] == [1]


@pytest.mark.parametrize("text", ["loads user 3f2a9c1b", "loads user", "loads user 00aa11bb"])
async def test_random_ids_in_a_name(text: str, suite: FakeSuite, ask: Ask) -> None:
    """The same test has another name in each session."""
    suite.create(cases=[{"name": "pays", "status": "PASSED"}])
    for number in ("77d0e4f2", "5e6f7a8b", "3f2a9c1b"):
        suite.create(cases=[{"name": f"loads user {number}", "status": "FAILED"}])
    assert facts(await (await ask()).history(suite.key, text)) == (True, 3, 1, False)


async def test_commit_in_which_not_all_tests_ran_says_nothing(suite: FakeSuite, ask: Ask, buddy: BuddyClient) -> None:
    """A cancelled run closes as passed. It is no commit in which the test did not fail: the culprit is before it."""
    add(suite, "PPF")
    suite.create(cases=[{"name": "other"}])
    add(suite, "F")
    found = await buddy.compare(suite.key)
    assert ([case.name for case in found.still_failing], found.newly_failing) == (["pays"], [])
    assert [session.relative_id for session in found.old] == [3]
    suite.create("fix", cases=[{"name": "pays", "status": "FAILED"}, {"name": "other"}], revision="f1" * 20)
    source = await ask()
    history = await source.history(suite.key, "pays")
    assert facts(history) == (True, 2, 2, False)
    assert [outcome.session.relative_id for outcome in history.outcomes] == [5, 3, 2, 1]
    (test,) = (await source.judge(suite.key, "f1" * 20)).tests
    assert test.since is not None
    assert (test.novelty, test.failed_in, test.since.first.relative_id) == ("known", 2, 3)


async def test_passing_test_while_the_newest_commit_runs(buddy: BuddyClient, suite: FakeSuite) -> None:
    add(suite, "PP")
    suite.create(cases=[{"name": "other"}], status="IN_PROGRESS", revision="ab" * 20)
    suite.create(cases=[{"name": "other"}], revision="ab" * 20)
    assert facts(await buddy.history(suite.key, "pays"))[:2] == (False, 2)
