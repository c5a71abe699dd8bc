"""What commands print, and their exit codes, when something is not found, not allowed or not reachable."""

from __future__ import annotations

import json

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, interrupt_at_request

A = "acme/shop/a"
FAILURES = {
    "unknown suite": (7, "Suite not found (404): check the workspace, the project and the IDs"),
    "rejected token": (4, "(401)"),
    "missing scope": (4, "UNIT_TEST_READ"),
    "missing token": (2, "error: no token: set BUDDY_TOKEN"),
    "interrupt": (130, ""),
    "no connection": (7, "cannot connect to 127.0.0.1:1 (connection refused): check the base URL and the network\n"),
}


@pytest.mark.usefixtures("suites")
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("command", ["list", "cases", "wait", "harvest", "watch"])
def test_failure_has_its_exit_code_and_one_line(
    command: str, failure: str, call: Call, fake: FakeBuddy, monkeypatch: pytest.MonkeyPatch
) -> None:
    match failure:
        case "rejected token":
            fake.token = "another"
        case "missing scope":
            fake.scopes = ()
        case "missing token":
            monkeypatch.delenv("BUDDY_TOKEN")
        case "interrupt":
            interrupt_at_request(fake, 1)
        case "no connection" if command in {"watch", "wait"}:
            return  # these wait until they can connect
        case "no connection":
            monkeypatch.setenv("BUDDY_API_URL", "http://127.0.0.1:1")
    key = "acme/shop/none" if failure == "unknown suite" else A
    options = ["--branch", "main"] if command == "wait" else []
    code, out, err = call(command, key, *options, "--quiet", "--attempts", "2")
    expected, message = FAILURES[failure]
    assert (code, out, message in err, "GET " in err) == (expected, "", True, False)
    if failure == "unknown suite" and command != "harvest":
        assert err.endswith("\nto see the suites of the project, run buddy-sessions status acme/shop\n")
    elif failure != "interrupt":
        assert err.count("\n") == 1


def test_url_of_a_session_lists_that_session(suites: dict[str, FakeSuite], call: Call) -> None:
    url = suites[A].sessions[3]["html_url"]
    code, out, err = call("list", url)
    assert (code, json.loads(out)["relative_id"]) == (0, 247)
    assert err == f"for its failing tests, run buddy-sessions failures {url}\n"
