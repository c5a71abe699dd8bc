"""The command `wait`. What it waits for is in tests/test_wait.py."""

from __future__ import annotations

from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call, numbers, rows

A = "acme/shop/a"
SHA = "5ff36f3a1b2c3d4e5f60718293a4b5c6d7e8f901"


def test_session_that_finishes_meanwhile(call: Call, fake: FakeBuddy, suite: FakeSuite) -> None:
    suite.create(status="SUCCESSFUL", revision=SHA)
    running = suite.create(revision=SHA)
    fake.on_request = lambda _: len(fake.requests) == 2 and suite.finish(running, "ERROR")
    code, out, err = call("wait", A, "--revision", SHA, "--after", "1", "--interval", "1s", "--exit-code")
    assert (code, numbers(out), rows(out)[0]["status"]) == (1, [2], "ERROR")
    assert err == f"waiting up to 30m for {SHA} of {A}\n"  # in the log of a CI job


def test_fail_fast_does_not_wait_for_the_others(call: Call, suite: FakeSuite) -> None:
    suite.create(revision=SHA)
    suite.create(status="ERROR", revision=SHA)
    result = call("wait", A, "--revision", SHA, "--fail-fast", "--quiet", "--exit-code")
    assert (result.code, numbers(result.out), result.err) == (1, [2, 1], "")


@pytest.mark.parametrize(
    ("arguments", "session", "code", "message"),
    [
        ("", {}, 5, f"error: no session of {A} (commit 5ff36f3) appeared within "),
        ("--count 2", {"revision": SHA, "status": "SUCCESSFUL"}, 5, "error: only 1 of 2 sessions (#1) of "),
        ("--branch mian", {}, 5, f"\nno session of branch 'mian' in {A}: its latest sessions are of main; check the"),
        ("", {"revision": SHA}, 6, f"error: #1 of {A} (commit 5ff36f3) did not finish within "),
        ("--attempts 1", None, 7, "; the last request failed: HTTP 503 (injected fault) (503)\n"),
    ],
    ids=["none appeared", "too few appeared", "unknown branch", "not finished", "server that is down"],
)
def test_exit_codes_tell_why(
    arguments: str,
    session: dict[str, Any] | None,
    code: int,
    message: str,
    fake: FakeBuddy,
    suite: FakeSuite,
    call: Call,
) -> None:
    if session is None:
        fake.inject(Fault.status(503), times=9)
    else:
        suite.create(**session)
    result = call("wait", A, "--revision", SHA[:7], "--timeout", "0.2s", *arguments.split(), "--exit-code")
    assert (result.code, result.out, message in result.err) == (code, "", True), result.err
