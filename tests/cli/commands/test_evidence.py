"""`failures --baseline --exit-code`: no verdict from evidence that is incomplete, and an incomplete run is red."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call, closed_pipe, rows, sync_database
from helpers.unverified_list import serve_unverified_list

SUITE = "acme/shop/a"
GATE = ("--baseline", "main", "--exit-code", "--reread-after", "0")


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "a")


def add(suite: FakeSuite, failing: str = "", *, branch: str = "main", **fields: Any) -> None:
    """Add a session of eight tests, of which these fail."""
    cases = [{"name": name, "status": "FAILED", "message": f"{name} is lost"} for name in failing.split()]
    status = "ERROR" if failing else "SUCCESSFUL"
    suite.create(**{"branch": branch, "status": status, "tests_count": 8, "cases": cases, **fields})


CRASH = {"status": "ERROR"}
MISSING = "3 tests ran, on main 8: 5 did not run. A file that cannot be loaded uploads nothing. "


@pytest.mark.parametrize(
    ("past", "judged", "options", "code", "message"),
    [
        ([{}], {}, [], 0, ""),
        ([{}], {"failed_count": 2}, [], 5, "warning: no verdict: #2 lists 0 of its 2 failing tests: try again later"),
        ([{"failing": "pays"}], {"failing": "pays", "failed_count": 2}, [], 5, "no verdict: #2 lists 1 of its 2 "),
        ([{}], {"failing": "pays", "failed_count": 2}, [], 1, ""),
        ([{}], {"tests_count": 3}, [], 1, f"warning: {MISSING}If the change removed them, "),
        ([{}], {"tests_count": 3}, ["--min-tests", "0"], 0, ""),
        ([{}], {"tests_count": 3}, ["--min-tests", "30%"], 0, ""),
        ([{}], {"tests_count": None}, [], 0, "whether all tests ran was not checked: Buddy does not say how many "),
        ([{"tests_count": 0}], {"tests_count": 0}, [], 5, "warning: no verdict: no test ran in #2: check that "),
        ([CRASH], CRASH, [], 0, "session #2 failed without a failing test, as sessions of main did"),
        ([{**CRASH, "error_message": "timeout"}], CRASH, [], 1, ""),
        ([CRASH, {}, {}], {**CRASH, "tests_count": 3}, [], 1, MISSING),
    ],
    ids=[
        "green",
        "V1",
        "V1: known",
        "V1: new",
        "V3",
        "V3: off",
        "V3: lower share",
        "V3: no count",
        "V4",
        "V5",
        "V5: other message",
        "V5: tests did not run",
    ],
)
def test_exit_code(
    past: list[dict[str, Any]],
    judged: dict[str, Any],
    options: list[str],
    code: int,
    message: str,
    suite: FakeSuite,
    call: Call,
) -> None:
    for fields in past:
        add(suite, **fields)
    add(suite, branch="fix", **judged)
    number = str(len(suite.sessions))
    if len(past) == 1:
        result = call("failures", SUITE, number, *GATE, *options)
        messages = [line for line in result.err.splitlines() if "but the API lists" not in line]
        assert (result.code, len(messages), message in result.err) == (code, int(bool(message)), True)
    for output_format in ("table", "markdown", "junit"):
        result = call("failures", SUITE, number, *GATE, *options, "--format", output_format)
        assert result.code == code
        has_error = "<error " in result.out or "<failure " in result.out
        assert output_format != "junit" or has_error is bool(code), "a reader of the file must not see green"
        assert output_format == "junit" or ("No verdict" in result.out) is (code == 5)


def test_list_that_is_short_once_is_read_again(fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    """The first read of the test cases gets a 404."""
    add(suite)
    add(suite, "pays", branch="fix", id="judged")
    requests = (number for number in range(9))
    fake.on_request = lambda request: (
        fake.inject(Fault.status(404)) if request.path.endswith("/judged/cases") and not next(requests) else None
    )
    result = call("failures", SUITE, "judged", *GATE)
    assert (result.code, [row["name"] for row in rows(result.out)], result.err) == (1, ["pays"], "")


def test_judged_session_is_never_dropped(fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    """Of a commit with two sessions, the test cases of one cannot be read."""
    add(suite)
    for number in range(2):
        add(suite, "" if number else "pays", branch="fix", id=f"job-{number}", revision="f00d" * 10)
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/job-0/" in request.path else None
    result = call("failures", SUITE, "f00df00", *GATE)
    assert result == (5, "", "warning: no verdict: #2: its failing tests cannot be read: try again later\n")


def test_session_of_baseline_that_cannot_be_read_is_named(fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    add(suite)
    add(suite, "pays", id="old")
    add(suite, branch="fix")
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/old/" in request.path else None
    result = call("failures", SUITE, "3", *GATE)
    assert result == (0, "", "left out, because their failing tests cannot be read: #2\n")


def test_outage_of_main_is_replaced_by_older_runs(
    fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path
) -> None:
    """Most tests failed in #3: it excuses nothing, and is named."""
    for failing in ("", "", " ".join(f"test-{number}" for number in range(15)), ""):
        add(suite, failing, tests_count=20)
    add(suite, "test-3", branch="fix", tests_count=20)
    sync_database(fake, tmp_path / "sessions.db", cases="failed")
    for db in ([], ["--db", str(tmp_path / "sessions.db")]):
        code, out, err = call("failures", SUITE, "5", *GATE, "--last", "3", *db)
        assert (code, [row["baseline"] for row in rows(out)]) == (1, ["new"])
        assert err == "#3 was an outage, and excuses nothing: most of its tests failed or did not run\n"
    table = call("failures", SUITE, "5", *GATE, "--last", "3", "--format", "table").out
    assert table.splitlines()[-1] == "Compared with main: 3 sessions, #1 to #4"


@pytest.mark.parametrize("newest_only", [False, True])
def test_one_session_of_matrix_is_complete_with_the_others(newest_only: bool, suite: FakeSuite, call: Call) -> None:
    for commit in ("a", "b", "f00d"):
        for _ in range(2):
            branch = "fix" if commit == "f00d" else "main"
            add(suite, branch=branch, tests_count=4, revision=commit * 10, execution_id=commit)
    words = ["f00df00", "--newest-only"] if newest_only else ["6"]
    assert call("failures", SUITE, *words, *GATE) == (0, "", "")


@pytest.mark.parametrize("command", ["failures {}", "compare {}", "flaky {}", "slowest {}"])
def test_suite_that_tested_no_branch_is_neither_red_nor_green(command: str, suite: FakeSuite, call: Call) -> None:
    for name in ("v1", "v2"):
        suite.create(name, "ERROR", ref_type="TAG")
    result = call(*command.format(SUITE).split())
    assert (result.code, result.out) == (5, "")
    assert result.err.startswith(f"error: {SUITE} has no main branch, because its newest sessions tested no branch: ")
    assert call(*command.format(SUITE).split(), "--all-branches").code == 0 or command.startswith("compare")


@pytest.mark.parametrize("command", ["failures {} --exit-code", "flaky {}", "compare {}"])
def test_list_that_may_lack_sessions_is_no_verdict(command: str, fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    serve_unverified_list(fake, suite)
    code, out, err = call(*command.format(SUITE).split())
    assert (code, out) == (5, "")
    text = f"error: no verdict: the list of sessions of {SUITE} is not verified, some may be missing: try again"
    assert err.splitlines()[-1] == text


def test_out_of_order_the_highest_number_is_judged(fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    for failing in ("", "", "", "pays"):
        add(suite, failing)
    fake.on_request = lambda request: fake.inject(Fault.swapped(0)) if request.path.endswith("/sessions") else None
    result = call("failures", SUITE, *GATE)
    assert (result.code, [row["relative_id"] for row in rows(result.out)]) == (1, [4])
    assert result.err.splitlines()[-1] == "the list of sessions is out of order: the highest number is the newest"


@pytest.mark.parametrize(
    ("judged", "others", "baseline", "code"),
    [
        ({}, [], "main", 0),
        ({}, ["fix", "dev"], "master", 0),
        ({"failing": "pays"}, [], "main", 5),
        ({"tests_count": 0}, [], "main", 5),
        ({}, [], "dev", 5),
        ({}, ["master"], "main", 5),
        ({}, ["fix"] * 100 + ["main"], "main", 5),
    ],
    ids=["green", "master", "red", "no test ran", "other branch", "master exists", "newer session of main"],
)
def test_nothing_to_compare_with_yet(
    judged: dict[str, Any], others: list[str], baseline: str, code: int, suite: FakeSuite, call: Call
) -> None:
    """A suite in its first pull requests is green, but only if it has no session of main or master at all."""
    add(suite, branch="fix", **judged)
    for branch in others:
        add(suite, branch=branch)
    result = call("failures", SUITE, "1", "--baseline", baseline, *GATE[2:])
    text = "nothing to compare with yet: no session of main or master\n"
    assert (result.code, result.err == text) == (code, code == 0), result.err


@pytest.mark.parametrize(("since", "code"), [([], 0), (["--after", "1"], 5)], ids=["all", "not the oldest"])
def test_database_must_have_all_sessions_to_know_that_main_has_none(
    since: list[str], code: int, suite: FakeSuite, call: Call, tmp_path: Path
) -> None:
    add(suite, branch="main" if since else "fix")
    add(suite, branch="fix")
    db = ["--db", str(tmp_path / "sessions.db")]
    call("sync", SUITE, *db, "--cases", "failed", *since)
    assert call("failures", SUITE, "2", *GATE, *db).code == code


@pytest.mark.parametrize("share", ["90", "-1%", "101%", "much"])
def test_share_that_is_none(share: str, call: Call) -> None:
    result = call("failures", SUITE, "1", *GATE, f"--min-tests={share}")
    assert result == (2, "", f"error: --min-tests must be a share such as 90%, or 0, not {share!r}\n")
    assert call("failures", SUITE, "1", "--min-tests", "0").err.startswith("error: --min-tests needs a baseline")


@pytest.mark.parametrize(
    "words", ["failures {} 2 --format jsonl", "compare {} 1 2 --format table", "wait {} --after 1"]
)
def test_closed_pipe_does_not_change_the_exit_code(
    words: str, suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(suite)
    add(suite, "pays")
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = run([*words.format(SUITE).split(), "--exit-code"])
    assert code == 1
