"""The command `gate`: what it waits for, what it prints of the verdict, and its exit code.

Which verdict follows from which evidence is in tests/analysis and tests/questions.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from buddy_sessions.analysis.remarks import Failing, Unknown
from buddy_sessions.cli import run
from buddy_sessions.cli.render.result import ADVICE
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.command_line import Call, Source, closed_pipe, rows

SUITE = "acme/shop/a"
URL = "https://ci/17"
OF_RUN: dict[str, Any] = {"branch": "fix", "revision": "f00d" * 10, "ci_run_url": URL}
LOST = "Fails: no session was found\nthe tests failed, but no session of them was found"
UPLOAD = "check the upload: BUDDY_UT_TOKEN, the suite, and the commit or CI run"
BROKEN = (
    "Fails: the outcome is a failure\nthe tests failed, but no test did: a file or the configuration is broken, or an "
    "upload was lost\nCompared with main: 2 commits, #1 to #2\nsee the log of the tests: running them again repairs "
    f"no broken file. If there is none, {UPLOAD}\n"
)
COMPARED = "Compared with main: 2 commits, #1 to #2\n"
NO_WAIT = "run the gate again when all sessions have ended, or wait for them with --revision or --run-url\n"
QUICK = ("--interval", "0.05s", "--quiet")
TODAY = datetime.now(UTC).date()


def add(suite: FakeSuite, *failing: str, branch: str = "main", **fields: Any) -> dict[str, Any]:
    """Add a session of eight tests, of which these fail."""
    cases = [{"name": name, "status": "FAILED", "message": f"{name} is lost"} for name in failing]
    status = "ERROR" if failing else "SUCCESSFUL"
    return suite.create(**{"branch": branch, "status": status, "tests_count": 8, "cases": cases, **fields})


class TestVerdict:
    EXCUSES = (
        "known: failed in 2 of the 3 commits of main before, failing since #2",
        "earlier: failed in 1 of the 3 commits of main before",
        f"quarantined until {TODAY + timedelta(1)}: SHOP-7",
    )

    @pytest.fixture
    def words(self, suite: FakeSuite, tmp_path: Path) -> list[str]:
        """Each test of the judged session is called as its verdict; but `late` was in quarantine until yesterday."""
        add(suite, "earlier")
        add(suite, "known")
        add(suite, "known", "other")
        add(suite, "known", "new", "earlier", "quarantined", "late", branch="fix")
        entries = {"quarantined": 1, "late": -1}
        (tmp_path / "quarantine.toml").write_text(
            "".join(
                f'[[test]]\nname = "* > {name}"\nuntil = {TODAY + timedelta(days)}\nreason = "SHOP-7"\n'
                for name, days in entries.items()
            )
        )
        return ["gate", SUITE, "4", "--quarantine", str(tmp_path / "quarantine.toml")]

    def test_rows_and_notes(self, source: Source, words: list[str], call: Call) -> None:
        code, out, err = call(*words, "--format", "jsonl", *source("failed"))
        assert code == 1
        assert [(row["name"], row["novelty"], row["failed_in"], row["since"]) for row in rows(out)] == [
            ("late", "new", 0, None),
            ("new", "new", 0, None),
            ("known", "known", 2, 2),
            ("earlier", "earlier", 1, None),
            ("quarantined", "quarantined", 0, None),
        ]
        assert err.splitlines() == [
            "Fails: 2 new failures, 1 known, 1 earlier, 1 quarantined",
            f"warning: the quarantine of '* > late' ended on {TODAY - timedelta(1)}: fix the test, or set another day",
        ]

    @pytest.mark.parametrize(
        ("output_format", "expected"),
        [
            ("table", "Fails: 2 new failures, 1 known, 1 earlier, 1 quarantined"),
            ("table", "Compared with main: 3 commits, #1 to #3"),
            ("markdown", "## ❌ Fails: 2 new failures, 1 known, 1 earlier, 1 quarantined: acme/shop/a <code>#4</code>"),
            ("junit", '" tests="5" failures="2" errors="0" skipped="3" '),
        ],
    )
    def test_no_excuse_is_silent(self, output_format: str, expected: str, words: list[str], call: Call) -> None:
        code, out, _ = call(*words, "--format", output_format)
        shown = " ".join(out.split()).replace("<code>#2</code>", "#2")
        assert code == 1
        assert [text for text in (*self.EXCUSES, expected) if text not in shown] == []


@pytest.mark.parametrize(
    ("judged", "options", "code", "shown"),
    [
        ({"tests_count": 3}, "", 1, "Fails: tests did not run\n"),
        ({"tests_count": 3}, "", 1, "pass --outcome success if they ended well, or a lower --min-tests\n"),
        ({"tests_count": 3}, "--outcome 2", 1, "If tests were removed, pass a lower --min-tests\n"),
        ({"tests_count": None}, "", 5, "\npass --outcome: it says that all tests ran\n"),
        ({"tests_count": 3}, "--outcome 0", 0, f"3 tests ran, at least 8 in each commit of main before\n{COMPARED}if"),
        ({"tests_count": 3}, "--min-tests 30%", 0, "Passes"),
        ({"tests_count": 3}, "--min-tests 0", 0, "Passes"),
        ({}, "--outcome 2", 1, BROKEN),
        ({"status": "IN_PROGRESS"}, "", 6, f"#3 did not finish\n{COMPARED}{NO_WAIT}"),
        ({}, "--count 2", 5, f"only 1 of 2 sessions exist (#3)\n{COMPARED}{NO_WAIT}"),
        (
            {"ref_name": ""},
            "",
            0,
            "#3 has no branch, so no other gate is compared with it: check ref_name in its upload",
        ),
        ({"status": "SKIPPED"}, "", 5, "#3 neither passed nor failed"),
        ({}, "--baseline mian", 5, "no session of branch 'mian' in acme/shop/a: its latest sessions are of main, fix"),
    ],
)
def test_exit_code(judged: dict[str, Any], options: str, code: int, shown: str, suite: FakeSuite, call: Call) -> None:
    """A reader of JUnit XML does not see green either."""
    add(suite)
    add(suite)
    add(suite, branch="fix", revision="f00d" * 10, **judged)
    words = ["gate", SUITE, "f00df00", *options.split(), "--quiet"]
    result = call(*words)
    assert (result.code, shown in result.out + result.err) == (code, True), result
    result = call(*words, "--format", "junit")
    assert (result.code, "<error " in result.out, ' tests="0"' in result.out) == (code, code > 0, False)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        *[(word, 0) for word in ("success", "SUCCESS", "succeeded", "passed", "0")],
        *[(word, 1) for word in ("failure", "Failed", "UNSTABLE", "PartiallySucceeded", "SucceededWithIssues", "137")],
        *[(word, 5) for word in ("cancelled", "Canceled", "ABORTED", "skipped", "NOT_BUILT")],
        *[(word, 0) for word in ("0 0", "success skipped", "not_run passed")],
        *[(word, 1) for word in ("0 1", "cancelled failure success")],
        *[(word, 5) for word in ("success cancelled", "skipped skipped")],
        *[(word, 2) for word in ("", " ", "maybe", "success ", " success", "success  success", "success,failure")],
    ],
)
def test_outcome_in_the_words_of_each_ci(word: str, code: int, suite: FakeSuite, fake: FakeBuddy, call: Call) -> None:
    add(suite)
    add(suite, **OF_RUN)
    result = call("gate", SUITE, "--run-url", URL, "--outcome", word, *QUICK)
    assert result.code == code
    assert bool(fake.requests) == (code < 2)
    if code == 2:
        assert result.err.startswith("error: Invalid value for --outcome: " if word else "error: --outcome is empty: ")


@pytest.mark.parametrize(("fields", "named"), [({"revision": "cafe" * 10}, "cafe" * 3), ({"revision": None}, "#1")])
def test_latest_commit_is_named(fields: dict[str, Any], named: str, suite: FakeSuite, call: Call) -> None:
    add(suite, **fields)
    fact = f"Judged the latest commit of main, {named}, because none was named"
    assert fact in call("gate", SUITE).out
    assert fact not in call("gate", SUITE, "1").out


class TestWaiting:
    def at_request(self, fake: FakeBuddy, number: int, act: Callable[[], object]) -> None:
        counter = iter(range(1, 99))
        fake.on_request = lambda _: next(counter) == number and act()

    @pytest.mark.parametrize(
        ("options", "running", "later", "code", "shown"),
        [
            ("", 1, [], 0, "Passes: 0 new failures, 1 known"),
            ("--count 2", 0, ["new"], 1, "Fails: 1 new failure, 1 known"),
            ("--count 3", 0, ["", ""], 0, "Passes: 0 new failures, 1 known"),
        ],
        ids=["running session", "new failure of another job", "too few tests until all jobs have uploaded"],
    )
    def test_known_failure_does_not_end_it(
        self, options: str, running: int, later: list[str], code: int, shown: str, fake: FakeBuddy, call: Call
    ) -> None:
        """Main is a matrix of three jobs. Later, the sessions that are running finish, and others are added."""
        suite = fake.add_suite("acme", "shop", "a")
        for _ in range(3):
            add(suite, "old", revision="ab" * 20)
        sessions = [add(suite, **OF_RUN, status="IN_PROGRESS") for _ in range(running)]
        add(suite, "old", **OF_RUN)

        def act() -> None:
            for session in sessions:
                suite.finish(session, "SUCCESSFUL")
            for name in later:
                add(suite, *filter(None, [name]), **OF_RUN)

        self.at_request(fake, 9, act)
        result = call("gate", SUITE, "--run-url", URL, *options.split(), *QUICK)
        assert (result.code, f"{shown}\n" in result.out) == (code, True), result

    def test_one_failed_request_of_the_verdict_does_not_end_it(
        self, fake: FakeBuddy, suite: FakeSuite, call: Call
    ) -> None:
        add(suite, **OF_RUN)
        self.at_request(fake, 2, lambda: fake.inject(Fault.status(404)))
        assert call("gate", SUITE, "--run-url", URL, *QUICK, "--attempts", "1").code == 0

    @pytest.mark.parametrize(
        ("sessions", "options", "code", "shown"),
        [
            ([], "", 5, "appeared within 1s: check that its tests have started"),
            ([], "--outcome 0", 5, f"appeared within 1s: {UPLOAD}"),
            ([], "--outcome failure", 1, f"{LOST}\nsee the log of the tests, and {UPLOAD}\n"),
            ([{}], "--count 2", 6, "only 1 of 2 sessions exist (#2)"),
            ([{}], "--count 3 --outcome failure", 1, f"\nsee why jobs uploaded nothing, and {UPLOAD}; or wait"),
            ([{}], "--after 2", 5, "no session was created since this attempt began: run all jobs again"),
            (
                [{}],
                "--after 2 --outcome success",
                0,
                "or their upload was lost\nCompared with main: 1 commit, #1\nsee with buddy-sessions list SUITE",
            ),
            ([{}, {"failing": "new"}], "--after 3 --outcome 1", 1, "#3 was ignored, because it began before this"),
            ([{"failing": "new"}], "--count 2", 1, "Fails: 1 new failure"),
            ([{"status": "IN_PROGRESS"}], "", 6, "leave out its sessions with --after"),
            ([{"status": "IN_PROGRESS"}], "--outcome 137", 1, "Fails: the test program ended before its session did\n"),
            ([{"failing": "new"}, {"status": "IN_PROGRESS"}], "--no-fail-fast", 1, "Fails: 1 new failure"),
            ([{"status": "IN_PROGRESS"}, {}], "--after 2", 0, "Passes"),
            ([{"failing": "new", "create_date": "2026-01-01T10:00:00Z"}, {}], "--after 2026-01-01T11:00Z", 0, "Passes"),
        ],
    )
    def test_not_finished_in_time(
        self, sessions: list[dict[str, Any]], options: str, code: int, shown: str, suite: FakeSuite, call: Call
    ) -> None:
        add(suite)
        for fields in sessions:
            add(suite, *fields.pop("failing", "").split(), **OF_RUN, **fields)
        result = call("gate", SUITE, "--run-url", URL, "--timeout", "1s", *options.split(), *QUICK)
        assert (result.code, shown in result.out + result.err) == (code, True), result

    def test_session_that_begins_during_the_verdict(self, fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
        """It is waited for as long as for the others."""
        add(suite, "old")
        add(suite, "old", **OF_RUN)
        begun: list[dict[str, Any]] = []

        def act(request: RecordedRequest) -> None:
            if "/cases" in request.path and not begun:
                begun.append(add(suite, **{**OF_RUN, "status": "IN_PROGRESS"}))
            elif begun and len(fake.requests) > 12:
                suite.finish(begun[0], "SUCCESSFUL")

        fake.on_request = act
        result = call("gate", SUITE, "--run-url", URL, "--count", "2", "--timeout", "5m", *QUICK)
        assert (result.code, "Passes: 0 new failures, 1 known\n" in result.out) == (0, True), result

    def test_what_was_seen_is_judged(self, suite: FakeSuite, call: Call) -> None:
        """A red job, 350 sessions of others, and a green job of the same CI run."""
        add(suite)
        add(suite, "new", **OF_RUN)
        for _ in range(350):
            suite.create("other", "SUCCESSFUL")
        add(suite, **OF_RUN)
        assert call("gate", SUITE, "--run-url", URL, "--count", "2", *QUICK).code == 1

    @pytest.mark.parametrize(("options", "code"), [([], 5), (["--timeout", "0.5s"], 6)])
    def test_number_of_sessions_in_a_database(
        self, options: list[str], code: int, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        add(suite)
        for _ in range(2):
            add(suite, **OF_RUN)
        call("sync", SUITE, "--db", str(tmp_path / "x.db"), "--cases", "failed")
        words = ["gate", SUITE, "--run-url", URL, "--db", str(tmp_path / "x.db"), "--outcome", "success", *options]
        result = call(*words, "--count", "3", *QUICK)
        assert (result.code, "only 2 of 3 sessions exist (#3, #2)" in result.out) == (code, True), result
        assert call(*words, "--count", "2", *QUICK).code == 0

    def test_lost_upload_in_a_database(self, source: Source, suite: FakeSuite, call: Call) -> None:
        """Only with a database, the advice names the command that fills it."""
        add(suite)
        options = source("failed")
        words = ["gate", SUITE, "--run-url", URL, "--outcome", "1", "--timeout", "0.1s", *options, *QUICK]
        code, out, _ = call(*words)
        assert (code, "\nrun sync first; if" in out, "sync" in out) == (1, bool(options), bool(options)), out

    def test_new_failure_ends_the_wait(self, suite: FakeSuite, call: Call) -> None:
        add(suite)
        add(suite, "pays", **OF_RUN)
        add(suite, **{**OF_RUN, "status": "IN_PROGRESS"})
        started = time.monotonic()
        assert call("gate", SUITE, "--run-url", URL, "--count", "3", "--timeout", "90s", *QUICK).code == 1
        assert time.monotonic() - started < 60

    @pytest.mark.parametrize(
        ("options", "limit"),
        [("", "30m"), ("--outcome 0", "1m"), ("--outcome 0 --timeout 5m", "5m"), ("--timeout 90s", "1m30s")],
    )
    def test_log_says_what_it_waits_for(self, options: str, limit: str, suite: FakeSuite, call: Call) -> None:
        """A session of tests that have ended, and that has not, is that of a crash."""
        add(suite, **OF_RUN)
        result = call("gate", SUITE, "--run-url", URL, *options.split())
        assert result.err == f"waiting up to {limit} for {URL} in {SUITE}\n"


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [(401, 4, "HTTP 401"), (403, 4, "HTTP 403"), (404, 7, "HTTP 404"), (500, 7, "HTTP 500")],
)
def test_error_is_no_verdict(
    status: int, code: int, reason: str, fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path
) -> None:
    """Each format says so: a file that is missing would look like a success."""
    fake.inject(Fault.status(status), times=9)
    files = {name: tmp_path / name for name in ("markdown", "junit", "github")}
    words = [word for name, path in files.items() for word in ("--write", f"{name}={path}")]
    result = call("gate", SUITE, "latest", "--attempts", "1", *words)
    assert result.code == code
    assert "\nNo verdict\n" in result.out
    assert result.err.startswith("error: ")
    assert (reason in result.out, result.err.count(reason)) == (False, 1)
    for path in files.values():
        assert reason in path.read_text(encoding="utf-8")


def test_several_formats_of_one_verdict(suite: FakeSuite, call: Call, tmp_path: Path) -> None:
    add(suite, "old")
    add(suite, "old", "new", **OF_RUN)
    paths = {name: tmp_path / name for name in ("markdown", "jsonl", "junit")}
    words = [word for name, path in paths.items() for word in ("--write", f"{name}={path}")]
    code, out, err = call("gate", SUITE, "--run-url", URL, *words, "--write", "github=-", "--quiet")
    assert (code, err) == (1, "")
    *table, annotation = out.splitlines()
    assert "Fails: 1 new failure, 1 known" in table
    assert annotation.startswith("::error title=")
    assert [json.loads(line)["novelty"] for line in paths["jsonl"].read_text().splitlines()] == ["new", "known"]
    assert "## ❌ Fails: 1 new failure, 1 known" in paths["markdown"].read_text(encoding="utf-8")
    assert 'failures="1"' in paths["junit"].read_text(encoding="utf-8")


def test_json_has_the_verdict(suite: FakeSuite, call: Call, tmp_path: Path) -> None:
    add(suite)
    add(suite, "known")
    add(suite, "known", "new", **OF_RUN)
    words = ["gate", SUITE, "f00df00", "--format", "json", "--write", f"json={tmp_path / 'gate.json'}", *QUICK]
    (value,) = rows(call(*words, "--outcome", "0").out)
    assert json.loads((tmp_path / "gate.json").read_text()) == value
    assert (value["verdict"], value["title"]) == ("fails", "Fails: 1 new failure, 1 known")
    assert (value["reasons"], value["advice"]) == ([], [])
    assert value["counts"] == {"new": 1, "known": 1, "earlier": 0, "quarantined": 0, "retried": 0}
    assert [session["relative_id"] for session in value["sessions"]] == [3]
    assert [(test["name"], test["novelty"]) for test in value["tests"]] == [("new", "new"), ("known", "known")]
    assert "Compared with main: 2 commits, #1 to #2" in value["facts"]
    (value,) = rows(call(*words, "--outcome", "cancelled").out)
    assert (value["verdict"], value["reasons"], value["counts"]) == ("none", ["the tests were cancelled"], None)
    assert value["advice"] == ["run the tests, then the gate again"]
    assert rows(call("gate", SUITE, "1", "--format", "json").out)[0]["verdict"] == "passes"


def test_latest_commit_has_no_verdict_yet(suite: FakeSuite, call: Call) -> None:
    add(suite, status="IN_PROGRESS")
    code, out, err = call("gate", SUITE)
    assert (code, "No verdict" in out, "main: #1 is running" in out, err) == (5, True, True, "")


def test_file_that_cannot_be_written_changes_no_verdict(suite: FakeSuite, call: Call) -> None:
    add(suite)
    code, _, err = call("gate", SUITE, "--write", "markdown=/dev/full")
    assert (code, err.startswith("warning: cannot write ")) == (0, True)


@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")], ids=" ".join)
@pytest.mark.parametrize(
    "words", ["2", "2 --write github=-", "2 --format jsonl", f"--run-url {URL}", f"--run-url {URL} --verbose"]
)
def test_closed_pipe_does_not_change_the_exit_code(
    words: str, streams: tuple[str, ...], suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `2>&1 | head -1`."""
    add(suite)
    add(suite, "pays", **OF_RUN)
    with closed_pipe() as pipe:
        for name in streams:
            monkeypatch.setattr(sys, name, pipe)
        code = run(["gate", SUITE, *words.split()])
    assert code == 1


def test_each_reason_has_advice() -> None:
    assert ADVICE.keys() >= {*get_args(Failing), *get_args(Unknown)}


@pytest.mark.parametrize(
    ("output_format", "shown"),
    [
        ("table", "it also failed on 2 other branches lately"),
        ("junit", 'tests="1" failures="1" errors="0" skipped="0"'),
        ("github", "::error title="),
    ],
)
def test_new_failure_that_others_have_too(output_format: str, shown: str, suite: FakeSuite, call: Call) -> None:
    """It is said, and excuses nothing."""
    add(suite)
    for branch in ("a", "b"):
        add(suite, "new", branch=branch)
    add(suite, "new", **OF_RUN)
    code, out, _ = call("gate", SUITE, "f00df00", "--quiet", "--format", output_format)
    assert (code, shown in out) == (1, True), out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("test_b.py:1: in <module>\nE   ImportError: no x", "ImportError: no x"),
        ('E     File "b.py", line 1\nE       def (\nE           ^\nE   SyntaxError: invalid', "SyntaxError: invalid"),
        ("", "RuntimeError: collection failure"),
    ],
)
def test_why_a_file_cannot_be_loaded(text: str, shown: str, suite: FakeSuite, call: Call) -> None:
    """The message of pytest does not say it."""
    add(suite, cases=[{"name": "b", "status": "ERROR", "message": "collection failure", "text": text}], status="ERROR")
    lines = call("gate", SUITE, "1", "--baseline", "other").out.splitlines()
    assert lines[[line.endswith(" > b") for line in lines].index(True) + 1].strip() == shown
