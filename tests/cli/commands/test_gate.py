"""The gates `failures --baseline` and `--exit-code`: what is judged, what is printed of it, and the exit code.

Which verdict follows from which evidence is in tests/analysis/test_judgement.py.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault, RecordedRequest
from helpers.command_line import Call, Source, closed_pipe, rows
from helpers.unverified_list import serve_unverified_list

SUITE = "acme/shop/a"
GATE = ("--baseline", "main", "--exit-code", "--reread-after", "0")
TODAY = datetime.now(UTC).date()
OF_COMMIT: dict[str, Any] = {"branch": "fix", "revision": "f00d" * 10}
CRASH: dict[str, Any] = {"status": "ERROR", "error_message": "disk full"}
each_gate = pytest.mark.parametrize("gate", [GATE, ["--exit-code"]], ids=["baseline", "alone"])


def add(suite: FakeSuite, *failing: str, branch: str = "main", **fields: Any) -> None:
    """Add a session of eight tests, of which these fail."""
    cases = [{"name": name, "status": "FAILED", "message": f"{name} is lost"} for name in failing]
    status = "ERROR" if failing else "SUCCESSFUL"
    suite.create(**{"branch": branch, "status": status, "tests_count": 8, "cases": cases, **fields})


class TestVerdicts:
    EXCUSES = (
        "known: failed in 2 of the last 3 on main",
        "flaky: failed in 1 of the last 3 on main",
        f"quarantined until {TODAY + timedelta(1)}: SHOP-7",
    )

    @pytest.fixture
    def words(self, suite: FakeSuite, tmp_path: Path) -> list[str]:
        """Each test of the judged session is called as its verdict; but `late` was in quarantine until yesterday."""
        add(suite, "flaky", "known")
        add(suite)
        add(suite, "known", "other")
        add(suite, "known", "new", "flaky", "quarantined", "late", branch="fix")
        entries = {"antined": -2, "quarantined": 1, "late": -1, "unused": 1}
        (tmp_path / "quarantine.toml").write_text(
            "".join(
                f'[[test]]\nname = "*{name}"\nuntil = {TODAY + timedelta(days)}\nreason = "SHOP-7"\n'
                for name, days in entries.items()
            )
        )
        return ["failures", SUITE, "4", *GATE, "--quarantine", str(tmp_path / "quarantine.toml")]

    def test_rows_and_notes(self, source: Source, words: list[str], call: Call) -> None:
        code, out, err = call(*words, *source("failed"))
        assert code == 1
        assert [(row["name"], row["baseline"], row["failed_in"], row["failure"]["message"]) for row in rows(out)] == [
            ("new", "new", 0, "new is lost"),
            ("late", "new", 0, "late is lost"),
            ("known", "known", 2, "known is lost"),
            ("flaky", "flaky", 1, "flaky is lost"),
            ("quarantined", "quarantined", 0, "quarantined is lost"),
        ]
        assert err.splitlines() == [
            f"warning: the quarantine of '*antined' ended on {TODAY - timedelta(2)}: fix the test, or set another day",
            f"warning: the quarantine of '*late' ended on {TODAY - timedelta(1)}: fix the test, or set another day",
            "the quarantine of '*unused' is unused: no failing test has that name",
        ]

    @pytest.mark.parametrize(
        ("output_format", "expected"),
        [
            ("table", "2 new failures, 1 known, 1 flaky, 1 quarantined Failing since #3: commit "),
            ("table --group", "Compared with main: 3 sessions, #1 to #3"),
            ("markdown", f"the quarantine of '&#42;late' ended on {TODAY - timedelta(1)}: fix the test, or"),
            ("junit", '" tests="5" failures="2" errors="0" skipped="3" '),
        ],
    )
    def test_no_excuse_is_silent(self, output_format: str, expected: str, words: list[str], call: Call) -> None:
        code, out, _ = call(*words, "--format", *output_format.split())
        shown = " ".join(out.split()).replace("&#58;", ":")
        assert code == 1
        assert [text for text in (*self.EXCUSES, expected) if text not in shown] == []
        if output_format == "markdown":
            titles = ["Causes", "New (2)", "Known (1)", "Flaky (1)", "Quarantined (1)"]
            assert [line[4:] for line in out.splitlines() if line.startswith("###")] == titles


@pytest.mark.parametrize(
    ("judged", "options", "code", "message"),
    [
        ({}, [], 0, ""),
        ({"failed_count": 2}, [], 5, "warning: no verdict: #2 lists 0 of its 2 failing tests: try again later"),
        ({"tests_count": 3}, [], 1, "warning: 3 tests ran, on main 8: 5 did not run. A file that cannot be loaded "),
        ({"tests_count": 3}, ["--min-tests", "0"], 0, ""),
        ({"tests_count": 3}, ["--min-tests", "30%"], 0, ""),
        ({"tests_count": None}, [], 0, "whether all tests ran was not checked: Buddy does not say how many "),
        ({"tests_count": 0}, ["--min-tests", "0"], 5, "warning: no verdict: no test ran in #2: check that "),
        (CRASH, [], 1, ""),
    ],
    ids=["green", "V1", "V3", "V3: off", "V3: lower share", "V3: no count", "V4", "V5"],
)
def test_exit_code(
    judged: dict[str, Any], options: list[str], code: int, message: str, source: Source, suite: FakeSuite, call: Call
) -> None:
    """A reader of JUnit XML must not see green either."""
    add(suite)
    add(suite, branch="fix", **judged)
    options = [*options, *source("failed")]
    result = call("failures", SUITE, "2", *GATE, *options)
    messages = [line for line in result.err.splitlines() if "but the API lists" not in line]
    assert (result.code, len(messages), message in result.err) == (code, int(bool(message)), True)
    for output_format in ("table", "markdown", "junit"):
        result = call("failures", SUITE, "2", *GATE, *options, "--format", output_format)
        has_error = "<error " in result.out or "<failure " in result.out
        assert result.code == code
        assert has_error is bool(code) if output_format == "junit" else ("No verdict" in result.out) is (code == 5)


@pytest.mark.parametrize(
    ("output_format", "shown"),
    [
        ("table", "session #3 failed without a failing test: disk full"),
        ("junit", '<error message="disk full"'),
        ("markdown", "\nsession <code>&#35;3</code> failed without a failing test&#58; disk full\n"),
        ("jsonl", ""),
    ],
)
@each_gate
def test_session_that_failed_without_a_failing_test_is_red(
    gate: list[str], output_format: str, shown: str, suite: FakeSuite, call: Call
) -> None:
    """Even if another one of its commit passed."""
    add(suite)
    add(suite, branch="fix", revision="f00d" * 10)
    add(suite, branch="fix", revision="f00d" * 10, **CRASH)
    code, out, err = call("failures", SUITE, "f00df00", *gate, "--format", output_format)
    verdict = "red: Failed without a failing test\n" if output_format == "markdown" else ""
    assert (code, shown in out, err) == (1, True, verdict)


@pytest.mark.parametrize(
    ("options", "verdict"),
    [(GATE, "green: 0 new failures, 1 known\n"), (["--exit-code"], "red: 1 of 8 tests failed\n"), ([], "")],
    ids=["baseline", "alone", "no gate"],
)
def test_markdown_is_in_a_file_so_the_verdict_is_on_stderr(
    options: list[str], verdict: str, suite: FakeSuite, call: Call
) -> None:
    add(suite, "pays")
    add(suite, "pays", branch="fix")
    assert call("failures", SUITE, "2", *options, "--format", "markdown").err == verdict


class TestBaseline:
    @pytest.mark.parametrize(
        "other",
        [
            {"revision": "b" * 40},
            {"branch": "dev"},
            {"ref_type": "TAG"},
            {"ref_type": "PULL_REQUEST"},
            {"status": "IN_PROGRESS"},
            {"status": "SKIPPED"},
            None,
        ],
        ids=["same commit", "other branch", "tag", "pull request", "unfinished", "skipped", "newer"],
    )
    def test_session_that_is_none(self, other: dict[str, Any] | None, suite: FakeSuite, call: Call) -> None:
        """Without a baseline, there is no verdict: neither green nor red."""
        if other is not None:
            add(suite, "pays", **{"revision": "a" * 40, **other})
        add(suite, "pays", revision=None if other is None else "b" * 40)
        judged = len(suite.sessions)
        add(suite, "pays", revision="c" * 40)
        code, out, err = call("failures", SUITE, f"#{judged}", *GATE)
        assert (code, out) == (5, "")
        assert err.startswith(f"error: nothing older and of another commit to compare #{judged} with: ")

    def test_earlier_attempt_is_none(self, suite: FakeSuite, call: Call) -> None:
        add(suite)
        for _ in range(2):
            add(suite, "pays", ci_run_url="https://ci/2", revision=None)
        result = call("failures", SUITE, "https://ci/2", "--after", "2", *GATE)
        assert (result.code, [row["baseline"] for row in rows(result.out)]) == (1, ["new"])

    @pytest.mark.parametrize(("last", "verdict", "code"), [("2", "new", 1), ("3", "flaky", 0), ("10", "flaky", 0)])
    def test_more_sessions_excuse_more(self, last: str, verdict: str, code: int, suite: FakeSuite, call: Call) -> None:
        for failing in (["pays"], [], []):
            add(suite, *failing)
        add(suite, "pays", branch="fix")
        result = call("failures", SUITE, "4", *GATE, "--last", last)
        assert (result.code, [row["baseline"] for row in rows(result.out)]) == (code, [verdict])

    def test_outage_is_replaced_by_older_runs(self, source: Source, suite: FakeSuite, call: Call) -> None:
        """Most tests failed in #3: it excuses nothing, and is named."""
        for failing in (0, 0, 15, 0):
            add(suite, *(f"test-{number}" for number in range(failing)), tests_count=20)
        add(suite, "test-3", branch="fix", tests_count=20)
        options = ["--last", "3", "--format", "table", *source("failed")]
        code, out, err = call("failures", SUITE, "5", *GATE, *options)
        assert (code, out.splitlines()[-1]) == (1, "Compared with main: 3 sessions, #1 to #4")
        assert err == "#3 was an outage, and excuses nothing: most of its tests failed or did not run\n"

    def test_green_sessions_cost_no_request(self, fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
        """Of 50 sessions of main, 12 are red: 25 requests, and 3 for the judged session and its failing test."""
        for number in range(50):
            add(suite, *(["pays"] if number % 4 == 1 and number < 48 else []))
        add(suite, "pays", id="judged", branch="fix")
        fake.requests.clear()
        assert call("failures", SUITE, "judged", *GATE, "--last", "50").code == 0
        assert len(fake.requests) == 25 + 1 + 2 + 1

    @pytest.mark.parametrize(
        ("judged", "others", "baseline", "code"),
        [
            ({}, [], "main", 0),
            ({}, ["fix", "dev"], "master", 0),
            ({"failed_count": 1, "status": "ERROR"}, [], "main", 5),
            ({}, [], "dev", 5),
            ({}, ["master"], "main", 5),
            ({}, ["fix"] * 100 + ["main"], "main", 5),
        ],
        ids=["green", "master", "red", "other branch", "master exists", "newer session of main"],
    )
    def test_nothing_to_compare_with_yet(
        self, judged: dict[str, Any], others: list[str], baseline: str, code: int, suite: FakeSuite, call: Call
    ) -> None:
        """A suite in its first pull requests is green, but only if it has no session of main or master at all."""
        add(suite, branch="fix", **judged)
        for branch in others:
            add(suite, branch=branch)
        result = call("failures", SUITE, "1", "--baseline", baseline, *GATE[2:])
        text = "nothing to compare with yet: no session of main or master\n"
        assert (result.code, result.err == text) == (code, code == 0), result.err

    @pytest.mark.parametrize(("since", "code"), [([], 0), (["--after", "1"], 5)], ids=["all", "not the oldest"])
    def test_database_must_have_all_sessions_to_know_that(
        self, since: list[str], code: int, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        add(suite, branch="main" if since else "fix")
        add(suite, branch="fix")
        db = ["--db", str(tmp_path / "sessions.db")]
        call("sync", SUITE, *db, "--cases", "failed", *since)
        assert call("failures", SUITE, "2", *GATE, *db).code == code


@pytest.mark.parametrize(
    ("judged", "broken", "times", "code", "message"),
    [
        ("f00df00", "first", 1, 1, ""),
        ("f00df00", "first", 99, 5, "warning: no verdict: #3: its failing tests cannot be read: try again later\n"),
        ("#3", "first", 99, 5, "error: no verdict: the failing tests of #3 cannot be read: try again later\n"),
        ("f00df00", "old-2", 99, 1, "left out, because their failing tests cannot be read: #2\n"),
        (
            *("f00df00", "old", 99, 5),
            "error: no verdict: the failing tests of the sessions to compare with cannot be read: try again later\n",
        ),
    ],
    ids=["once", "one of two", "the only one", "one of the baseline", "the baseline"],
)
def test_session_that_cannot_be_read(
    judged: str, broken: str, times: int, code: int, message: str, fake: FakeBuddy, suite: FakeSuite, call: Call
) -> None:
    """A judged one is read again, and never dropped; one of the baseline is named."""
    for number in (1, 2):
        add(suite, "other", id=f"old-{number}")
    add(suite, "pays", branch="fix", revision="f00d" * 10, id="first")
    add(suite, branch="fix", revision="f00d" * 10, id="second")
    left = iter(range(times))

    def fail(request: RecordedRequest) -> None:
        if f"/{broken}" in request.path and request.path.endswith("/cases") and next(left, None) is not None:
            fake.inject(Fault.status(404))

    fake.on_request = fail
    result = call("failures", SUITE, judged, *GATE)
    assert (result.code, "pays" in result.out, result.err) == (code, code == 1, message)


@pytest.mark.parametrize("of_run", [{}, {"ci_run_url": "https://ci/17"}], ids=["commit", "CI run"])
class TestCommit:
    @pytest.mark.parametrize(
        ("failing", "arguments", "expected"),
        [
            (["pays", "sells"], [], ["pays", "sells"]),
            (["pays", ""], ["--newest-only"], []),
            (["pays", "pays"], [], ["pays"]),
            (["", ""], [], []),
            (["pays", "sells"], ["--after", "2"], ["sells"]),
        ],
    )
    @each_gate
    def test_all_its_finished_sessions_are_judged(
        self,
        gate: list[str],
        of_run: dict[str, Any],
        failing: list[str],
        arguments: list[str],
        expected: list[str],
        suite: FakeSuite,
        call: Call,
    ) -> None:
        add(suite)
        for name in failing:
            add(suite, *filter(None, [name]), branch="fix", revision="f00d" * 10, **of_run)
        code, out, err = call("failures", SUITE, of_run.get("ci_run_url", "f00df00"), *gate, *arguments)
        assert (code, sorted(row["name"] for row in rows(out)), err) == (bool(expected), expected, "")

    @each_gate
    def test_unfinished_session_is_no_verdict(
        self, gate: list[str], of_run: dict[str, Any], suite: FakeSuite, call: Call
    ) -> None:
        """Unless --after leaves it out; one of another run does not count."""
        add(suite)
        fields: dict[str, Any] = {"branch": "fix", "revision": "f00d" * 10, **of_run}
        add(suite, **fields, status="IN_PROGRESS")
        add(suite, status="IN_PROGRESS", **{**fields, "revision": "f00e" * 10, "ci_run_url": "https://ci/18"})
        name = of_run.get("ci_run_url", "f00df00")
        what = f"CI run {name}" if of_run else f"commit {'f00d' * 10}"
        error = (
            f"error: no verdict: #2 of {what} did not finish; wait with buddy-sessions wait, or, if an earlier run was "
            "killed, add --after 2\n"
        )
        missing = f"error: {SUITE} has no session of {what} above #2 yet: wait for one\n"
        assert call("failures", SUITE, name, *gate) == (5, "", error)
        assert call("failures", SUITE, name, *gate, "--after", "2") == (5, "", missing)
        add(suite, **fields)
        assert call("failures", SUITE, name, *gate, "--newest-only") == (5, "", error)
        assert call("failures", SUITE, name, *gate, "--after", "2") == (0, "", "")


@each_gate
@pytest.mark.parametrize("faults", [[Fault.missing_row(1)], [Fault.short_page(1)] * 2], ids=["row", "two pages"])
@pytest.mark.parametrize("name", ["f00df00", "https://ci/17"])
def test_session_that_one_list_lacks_is_judged(
    name: str, faults: list[Fault], gate: list[str], fake: FakeBuddy, suite: FakeSuite, call: Call
) -> None:
    add(suite)
    add(suite, "pays", **OF_COMMIT, ci_run_url="https://ci/17")
    add(suite, **OF_COMMIT, ci_run_url="https://ci/17")
    remaining = iter(faults)
    fake.on_request = lambda request: (
        fake.inject(*filter(None, [next(remaining, None)])) if request.path.endswith("/sessions") else None
    )
    assert call("failures", SUITE, name, *gate).code == 1


@pytest.mark.parametrize(("deleted", "cost"), [(None, 1), (1, 2)])
def test_list_with_a_missing_relative_id_is_read_again(
    deleted: int | None, cost: int, fake: FakeBuddy, suite: FakeSuite, call: Call
) -> None:
    for _ in range(3):
        add(suite)
    add(suite, ci_run_url="https://ci/17")
    if deleted is not None:
        suite.delete(suite.sessions[deleted])
    fake.requests.clear()
    assert call("failures", SUITE, "https://ci/17", "--exit-code").code == 0
    assert len([request for request in fake.requests if request.path.endswith("/sessions")]) == cost


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("IN_PROGRESS", "no verdict: #2 did not finish; wait with "),
        ("SKIPPED", "session #2 neither passed nor failed: "),
    ],
)
@each_gate
def test_session_without_verdict_has_none(
    gate: list[str], status: str, error: str, source: Source, suite: FakeSuite, call: Call
) -> None:
    add(suite)
    add(suite, branch="fix", status=status)
    code, out, err = call("failures", SUITE, "2", *gate, *source("failed"))
    assert (code, out, err.startswith(f"error: {error}")) == (5, "", True), err


class TestMatrix:
    """Three jobs upload a session each."""

    def add(self, suite: FakeSuite, run: int, *jobs: str | None, branch: str = "main") -> None:
        """Add a CI run of jobs, in each of which this test fails, or none; None for a job that still runs."""
        for failing in jobs:
            status = {} if failing is not None else {"status": "IN_PROGRESS"}
            names = [failing] if failing else []
            add(suite, *names, branch=branch, ci_run_url=f"https://ci/{run}", revision=f"{run:x}" * 40, **status)

    @pytest.fixture(autouse=True)
    def green_runs(self, suite: FakeSuite) -> None:
        for run_number in (1, 2):
            self.add(suite, run_number, "", "", "")

    @pytest.mark.parametrize(
        ("jobs", "options", "code", "judged"),
        [
            (["pays", "sells", ""], [], 1, [8, 7]),
            (["", "pays", ""], ["--after", "8"], 0, []),
            (["", "pays", None], [], 0, []),
            (["", "pays", "", "", "", ""], [], 0, []),
        ],
        ids=["two red jobs", "after them", "running", "run again"],
    )
    def test_latest_is_a_ci_run(
        self,
        jobs: list[str | None],
        options: list[str],
        code: int,
        judged: list[int],
        suite: FakeSuite,
        source: Source,
        call: Call,
    ) -> None:
        """All its jobs are judged. While one is running, the run before is the latest."""
        self.add(suite, 3, *jobs)
        result = call("failures", SUITE, "--exit-code", *options, *source("failed"))
        assert (result.code, [row["relative_id"] for row in rows(result.out)], result.err) == (code, judged, "")

    def test_latest_without_one_of_its_jobs_is_red(self, suite: FakeSuite, call: Call) -> None:
        """The gate of a branch does not pass over a CI run in which a job has uploaded nothing."""
        self.add(suite, 3, "", "", "", branch="fix")
        self.add(suite, 4, "", "", branch="fix")
        result = call("failures", SUITE, "--branch", "fix", *GATE)
        assert (result.code, "did not run" in result.err) == (1, True)

    @pytest.mark.parametrize("words", [["3333333", "--newest-only"], ["9"]], ids=str)
    def test_one_session_is_complete_with_the_others(self, words: list[str], suite: FakeSuite, call: Call) -> None:
        self.add(suite, 3, "", "", "", branch="fix")
        assert call("failures", SUITE, *words, *GATE) == (0, "", "")

    def test_run_with_a_running_job_is_no_baseline(self, suite: FakeSuite, call: Call) -> None:
        self.add(suite, 3, "pays", "", None)
        self.add(suite, 4, "pays", "", "", branch="fix")
        result = call("failures", SUITE, "4444444", *GATE)
        assert (result.code, [row["baseline"] for row in rows(result.out)]) == (1, ["new"])


@pytest.mark.parametrize("command", ["failures {}", "compare {}", "flaky {}"])
class TestNoVerdict:
    def test_suite_that_tested_no_branch(self, command: str, suite: FakeSuite, call: Call) -> None:
        for name in ("v1", "v2"):
            suite.create(name, "ERROR", ref_type="TAG")
        words = command.format(SUITE).split()
        result = call(*words)
        assert (result.code, result.out) == (5, "")
        text = f"error: {SUITE} has no main branch, because its newest sessions tested no branch: "
        assert result.err.startswith(text)
        assert call(*words, "--all-branches").code == 0 or command.startswith("compare")

    def test_list_that_may_lack_sessions(self, command: str, fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
        serve_unverified_list(fake, suite)
        code, out, err = call(*command.format(SUITE).split())
        assert (code, out) == (5, "")
        text = f"error: no verdict: the list of sessions of {SUITE} is not verified, some may be missing: try again"
        assert err.splitlines()[-1] == text


def test_out_of_order_the_highest_number_is_judged(fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    for failing in ([], [], [], ["pays"]):
        add(suite, *failing)
    fake.on_request = lambda request: fake.inject(Fault.swapped(0)) if request.path.endswith("/sessions") else None
    result = call("failures", SUITE, *GATE)
    assert (result.code, [row["relative_id"] for row in rows(result.out)]) == (1, [4])
    assert result.err.splitlines()[-1] == "the list of sessions is out of order: the highest number is the newest"


def test_causes(suite: FakeSuite, call: Call) -> None:
    add(suite, "old")
    add(suite, "order 17", "order 18", "old", "cart", branch="fix")
    result = call("failures", SUITE, "2", "--group", "--baseline", "main")
    key = "tests/cart/test_total.py > CartTest > "
    found = [(row["template"], row["count"], row["new"], row["tests"]) for row in rows(result.out)]
    assert found == [
        ("order <number> is lost", 2, 2, [f"{key}order 17", f"{key}order 18"]),
        ("cart is lost", 1, 1, [f"{key}cart"]),
        ("old is lost", 1, 0, [f"{key}old"]),
    ]
    assert [row["new"] for row in rows(call("failures", SUITE, "2", "--group").out)] == [None] * 3
    lines = call("failures", SUITE, "2", "--group", "--format", "table").out.splitlines()
    title = "2 tests: AssertionError: order <number> is lost"
    assert lines[3:7] == [title, f"  {key}order 17", f"  {key}order 18", ""]


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
