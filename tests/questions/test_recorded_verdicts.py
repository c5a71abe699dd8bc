"""Verdicts about what Buddy's reporters were recorded to send, after green commits of main in the same suite."""

from __future__ import annotations

from typing import Any

import pytest

from buddy_sessions import MAIN, BuddyClient, NoVerdictError
from buddy_sessions.analysis.judgement import ProgramOutcome
from buddy_sessions.analysis.remarks import remarks_text
from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.recordings import EXPECTED, replay_uploads

NOBODYS = "ab" * 20
"""A commit without a session: that of a run that uploaded nothing."""
WHOLE = [name for name, expected in EXPECTED.items() if "is_cut" not in expected]
PASSES = {True: "passes", False: "fails", None: "no verdict"}
STATUS: dict[bool | None, str] = {True: "red", False: "green"}


async def gate(buddy: BuddyClient, suite: FakeSuite, name: str, outcome: ProgramOutcome | None) -> str:
    """Return what a gate says, and the kinds of its reasons."""
    try:
        judgement = await buddy.judge(suite.key, name, outcome=outcome, details=False)
    except NoVerdictError:
        return "no session"
    kinds = ", ".join(reason.kind for reason in judgement.reasons)
    return PASSES[judgement.passes] + (f": {kinds}" if kinds else "")


async def replay(recording: str, fake: FakeBuddy, suite: FakeSuite) -> list[dict[str, Any]]:
    """Replay a recording after four green commits of main. Return its sessions, newest first."""
    for _ in range(4):
        suite.create("main", "SUCCESSFUL", tests_count=EXPECTED[recording].get("tests_of_main", 2), skipped_count=0)
    await replay_uploads(recording, fake, suite)
    return suite.sessions[:-4]


@pytest.mark.parametrize("recording", WHOLE)
async def test_verdict(recording: str, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    expected = EXPECTED[recording]
    sessions = await replay(recording, fake, suite)
    newest = sessions[0] if sessions else {"revision": NOBODYS}
    (status,) = await buddy.status([suite.key], branch=newest.get("ref_name") or MAIN)
    assert (STATUS.get(status.is_failing) or status.reason) == expected["status"]
    assert remarks_text(status.remarks) == expected.get("remark", "")
    name = newest.get("revision") or newest["id"]
    assert await gate(buddy, suite, name, None) == expected["gate"]
    if "outcome" in expected:
        assert await gate(buddy, suite, name, expected["outcome"]) == expected["gate_with_outcome"]


@pytest.mark.parametrize("keeps", [True, False], ids=["each-attempt-is-kept", "the-last-one-replaces-the-others"])
async def test_retry_of_playwright(keeps: bool, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """It closes the session as failed although it has ended well: only its exit code tells that from a failure."""
    fake.keeps_repeated_cases = keeps
    (session,) = await replay("playwright-retries-green", fake, suite)
    judgement = await buddy.judge(suite.key, session["revision"])
    assert (judgement.is_failing, judgement.passes) == (True, False)
    judgement = await buddy.judge(suite.key, session["revision"], outcome="success")
    assert (judgement.passes, [test.novelty for test in judgement.tests]) == (True, ["retried"] if keeps else [])
    assert list(map(str, judgement.remarks)) == (
        [] if keeps else ["#5 failed without a failing test, but the tests succeeded"]
    )
