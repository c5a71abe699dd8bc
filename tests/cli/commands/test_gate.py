"""`failures --baseline`: which failures count, each excuse, and the exit code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.command_line import Call, rows, sync_database

SUITE = "acme/shop/a"
GATE = ("--baseline", "main", "--exit-code")
TODAY = datetime.now(UTC).date()
OF_COMMIT: dict[str, Any] = {"branch": "fix", "revision": "f00d" * 10}
each_gate = pytest.mark.parametrize("gate", [GATE, ["--exit-code"]], ids=["baseline", "alone"])


@pytest.fixture
def suite(fake: FakeBuddy) -> FakeSuite:
    return fake.add_suite("acme", "shop", "a")


def add(suite: FakeSuite, *failing: str, branch: str = "main", **fields: Any) -> None:
    """Add a session of eight tests, of which these fail."""
    cases: list[dict[str, Any]] = [{"name": name, "status": "FAILED", "message": f"{name} is lost"} for name in failing]
    fields = {"branch": branch, "status": "ERROR" if failing else "SUCCESSFUL", "tests_count": 8, **fields}
    suite.create(**{"cases": [*cases, {"name": "passes"}], **fields})


def quarantine(path: Path, **entries: int) -> str:
    """Write a quarantine that ends in so many days, and return its path."""
    texts = [
        f'[[test]]\nname = "*{name}"\nuntil = {TODAY + timedelta(days)}\nreason = "SHOP-7"\n'
        for name, days in entries.items()
    ]
    path.write_text("".join(texts))
    return str(path)


class TestVerdicts:
    EXCUSES = (
        "known: failed in 2 of the last 3 on main",
        "flaky: failed in 1 of the last 3 on main",
        f"quarantined until {TODAY + timedelta(1)}: SHOP-7",
    )

    @pytest.fixture
    def words(self, fake: FakeBuddy, suite: FakeSuite, tmp_path: Path) -> list[str]:
        """Each test of the judged session is called as its verdict; but `late` was in quarantine until yesterday."""
        add(suite, "flaky", "known")
        add(suite)
        add(suite, "known", "other")
        add(suite, "known", "new", "flaky", "quarantined", "late", branch="fix")
        sync_database(fake, tmp_path / "sessions.db", cases="failed")
        fake.requests.clear()
        file = quarantine(tmp_path / "quarantine.toml", antined=-2, quarantined=1, late=-1, unused=1)
        return ["failures", SUITE, "4", *GATE, "--quarantine", file]

    @pytest.mark.parametrize("source", ["api", "database"])
    def test_rows_and_notes(self, source: str, words: list[str], fake: FakeBuddy, call: Call, tmp_path: Path) -> None:
        words += ["--db", str(tmp_path / "sessions.db")] if source == "database" else []
        code, out, err = call(*words)
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
        assert (not fake.requests) is (source == "database")

    @pytest.mark.parametrize("output_format", ["table", "table --group", "markdown", "junit"])
    def test_no_excuse_is_silent(self, output_format: str, words: list[str], call: Call) -> None:
        code, out, _ = call(*words, "--format", *output_format.split())
        shown = " ".join(out.split()).replace("&#58;", ":")
        assert code == 1
        assert [excuse for excuse in self.EXCUSES if excuse not in shown] == []

    def test_formats(self, words: list[str], call: Call) -> None:
        assert call(*words, "--format", "csv").out.splitlines()[0].endswith(",baseline,failed_in")
        assert '" tests="5" failures="2" errors="0" skipped="3" ' in call(*words, "--format", "junit").out
        table = call(*words, "--format", "table").out
        *_, verdict, since, baseline = table.splitlines()
        assert verdict == "2 new failures, 1 known, 1 flaky, 1 quarantined"
        assert since.startswith("Failing since #3: commit ")
        assert baseline == "Compared with main: 3 sessions, #1 to #3"
        markdown = call(*words, "--format", "markdown").out
        assert "## ❌ 2 new failures, 1 known, 1 flaky, 1 quarantined: <code>fix</code> <a href=" in markdown
        assert (
            "### Causes\n\n- 1 test (new): <code>AssertionError&#58; late is lost</code>\n- 1 test (new): " in markdown
        )
        titles = ["Causes", "New (2)", "Known (1)", "Flaky (1)", "Quarantined (1)"]
        assert [line[4:] for line in markdown.splitlines() if line.startswith("###")] == titles
        assert f"\nthe quarantine of '&#42;late' ended on {TODAY - timedelta(1)}&#58; fix the test, or" in markdown
        assert "\nFailing since <code>&#35;3</code>&#58; commit " in markdown


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
def test_session_that_is_no_baseline(other: dict[str, Any] | None, suite: FakeSuite, call: Call) -> None:
    """Without a baseline, there is no verdict: neither green nor red."""
    if other is not None:
        add(suite, "pays", **{"revision": "a" * 40, **other})
    add(suite, "pays", branch="main", revision=None if other is None else "b" * 40)
    judged = len(suite.sessions)
    add(suite, "pays", branch="main", revision="c" * 40)
    code, out, err = call("failures", SUITE, f"#{judged}", *GATE)
    assert (code, out) == (5, "")
    assert err.startswith(f"error: nothing older and of another commit to compare #{judged} with: ")


@pytest.mark.parametrize(("last", "verdict", "code"), [("2", "new", 1), ("3", "flaky", 0), (None, "flaky", 0)])
def test_more_sessions_excuse_more(last: str | None, verdict: str, code: int, suite: FakeSuite, call: Call) -> None:
    for failing in (["pays"], [], []):
        add(suite, *failing)
    add(suite, "pays", branch="fix")
    result = call("failures", SUITE, "4", *GATE, *(["--last", last] if last else []))
    assert (result.code, [row["baseline"] for row in rows(result.out)]) == (code, [verdict])


@each_gate
@pytest.mark.parametrize("of_run", [OF_COMMIT, {**OF_COMMIT, "ci_run_url": "https://ci/17"}], ids=["commit", "CI run"])
class TestCommit:
    @pytest.mark.parametrize(
        ("failing", "arguments", "expected"),
        [
            (["pays", ""], [], ["pays"]),
            (["pays", "sells"], [], ["pays", "sells"]),
            (["pays", ""], ["--newest-only"], []),
            (["pays", "sells"], ["--newest-only"], ["sells"]),
            (["pays", "pays"], [], ["pays"]),
            (["", ""], [], []),
            (["pays", "sells"], ["--after", "2"], ["sells"]),
        ],
    )
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
            add(suite, *filter(None, [name]), **of_run)
        code, out, err = call("failures", SUITE, of_run.get("ci_run_url", "f00df00"), *gate, *arguments)
        assert (code, sorted(row["name"] for row in rows(out)), err) == (bool(expected), expected, "")

    @pytest.mark.parametrize("arguments", [[], ["--newest-only"]], ids=["all", "newest only"])
    @pytest.mark.parametrize("finished", [True, False], ids=["others finished", "alone"])
    def test_unfinished_session_is_no_verdict(
        self,
        gate: list[str],
        of_run: dict[str, Any],
        finished: bool,
        arguments: list[str],
        suite: FakeSuite,
        call: Call,
    ) -> None:
        """Unless --after leaves it out."""
        add(suite)
        add(suite, status="IN_PROGRESS", **of_run)
        name = of_run.get("ci_run_url", "f00df00")
        what = f"CI run {name}" if "ci_run_url" in of_run else f"commit {'f00d' * 10}"
        if finished:
            add(suite, **of_run)
        error = (
            f"error: no verdict: #2 of {what} did not finish; wait with buddy-sessions wait, or, if an earlier run was "
            "killed, add --after 2\n"
        )
        assert call("failures", SUITE, name, *gate, *arguments) == (5, "", error)
        code, out, err = call("failures", SUITE, name, *gate, *arguments, "--after", "2")
        missing = f"error: {SUITE} has no session of {what} above #2 yet: wait for one\n"
        assert (code, out, err) == ((0, "", "") if finished else (5, "", missing))

    def test_unfinished_session_of_another_run_does_not_count(
        self, gate: list[str], of_run: dict[str, Any], suite: FakeSuite, call: Call
    ) -> None:
        add(suite)
        add(suite, **of_run)
        add(suite, status="IN_PROGRESS", **{**of_run, "revision": "f00e" * 10, "ci_run_url": "https://ci/18"})
        assert call("failures", SUITE, of_run.get("ci_run_url", "f00df00"), *gate) == (0, "", "")


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
def test_list_is_read_again_only_if_numbers_are_missing(
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


@each_gate
class TestOneSession:
    @pytest.mark.parametrize(
        ("status", "error"),
        [
            ("IN_PROGRESS", "no verdict: #2 did not finish; wait with "),
            ("SKIPPED", "session #2 neither passed nor failed: "),
        ],
    )
    def test_session_without_verdict_has_none(
        self, gate: list[str], status: str, error: str, fake: FakeBuddy, suite: FakeSuite, call: Call, tmp_path: Path
    ) -> None:
        add(suite)
        add(suite, branch="fix", status=status)
        sync_database(fake, tmp_path / "sessions.db", cases="failed")
        for db in ([], ["--db", str(tmp_path / "sessions.db")]):
            code, out, err = call("failures", SUITE, "2", *gate, *db)
            assert (code, out, err.startswith(f"error: {error}")) == (5, "", True), err

    def test_latest_one_after_another(self, gate: list[str], suite: FakeSuite, call: Call) -> None:
        add(suite)
        add(suite, "pays")
        assert call("failures", SUITE, "latest", *gate, "--after", "1").code == 1
        assert call("failures", SUITE, "latest", *gate, "--after", "2").code == 5


def add_matrix(suite: FakeSuite, run: int, *jobs: str | None, branch: str = "main") -> None:
    """Add a CI run of jobs, in each of which this test fails, or none; None for a job that still runs."""
    for failing in jobs:
        status = {} if failing is not None else {"status": "IN_PROGRESS"}
        names = [failing] if failing else []
        add(suite, *names, branch=branch, ci_run_url=f"https://ci/{run}", revision=f"{run:x}" * 40, **status)


@pytest.mark.parametrize(
    ("jobs", "options", "code", "judged"),
    [
        (["", "pays", ""], [], 1, [8]),
        (["", "pays", ""], ["--after", "8"], 0, []),
        (["pays", "sells", ""], [], 1, [8, 7]),
        (["", "pays", None], [], 0, []),
        (["", "pays", "", "", "", ""], [], 0, []),
    ],
    ids=["red job", "after it", "two red jobs", "running", "run again"],
)
def test_latest_is_a_ci_run(
    jobs: list[str | None],
    options: list[str],
    code: int,
    judged: list[int],
    suite: FakeSuite,
    call: Call,
    tmp_path: Path,
    fake: FakeBuddy,
) -> None:
    """All its jobs are judged. While one is running, the run before is the latest."""
    for run in (1, 2):
        add_matrix(suite, run, "", "", "")
    add_matrix(suite, 3, *jobs)
    sync_database(fake, tmp_path / "sessions.db", cases="failed")
    for db in ([], ["--db", str(tmp_path / "sessions.db")]):
        result = call("failures", SUITE, "--exit-code", *options, *db)
        assert (result.code, [row["relative_id"] for row in rows(result.out)], result.err) == (code, judged, "")


def test_latest_without_one_of_its_jobs_is_red(suite: FakeSuite, call: Call) -> None:
    """The gate of a branch does not pass over a CI run in which a job has uploaded nothing."""
    for run in (1, 2):
        add_matrix(suite, run, "", "", "")
    add_matrix(suite, 3, "", "", "", branch="fix")
    add_matrix(suite, 4, "", "", branch="fix")
    result = call("failures", SUITE, "--branch", "fix", *GATE)
    assert (result.code, "did not run" in result.err) == (1, True)


def test_run_with_a_running_job_is_no_baseline(suite: FakeSuite, call: Call) -> None:
    add_matrix(suite, 1, "", "")
    add_matrix(suite, 2, "", "")
    add_matrix(suite, 3, "pays", None)
    add_matrix(suite, 4, "pays", "", branch="fix")
    result = call("failures", SUITE, "4444444", *GATE)
    assert (result.code, [row["baseline"] for row in rows(result.out)]) == (1, ["new"])


def test_earlier_attempt_is_no_baseline_without_a_revision(suite: FakeSuite, call: Call) -> None:
    add(suite)
    add(suite, "pays", ci_run_url="https://ci/2", revision=None)
    add(suite, "pays", ci_run_url="https://ci/2", revision=None)
    result = call("failures", SUITE, "https://ci/2", "--after", "2", *GATE)
    assert (result.code, [row["baseline"] for row in rows(result.out)]) == (1, ["new"])


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
    """Even if those of the baseline did, too, and another one of its commit passed."""
    crash: dict[str, Any] = {"status": "ERROR", "cases": [], "error_message": "disk full", "tests_count": 0}
    add(suite, **crash)
    add(suite, branch="fix", revision="f00d" * 10)
    add(suite, branch="fix", revision="f00d" * 10, **crash)
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


@pytest.mark.parametrize("deleted", ["judged", "main"])
def test_deleted_session_is_no_verdict(deleted: str, fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    add(suite, "pays", id="main")
    add(suite, "pays", id="judged", branch="fix")
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if f"/{deleted}/" in request.path else None
    what = "#2" if deleted == "judged" else "the sessions to compare with"
    error = f"error: no verdict: the failing tests of {what} cannot be read: try again later\n"
    assert call("failures", SUITE, "judged", *GATE, "--reread-after", "0") == (5, "", error)


def test_green_sessions_of_the_baseline_cost_no_request(fake: FakeBuddy, suite: FakeSuite, call: Call) -> None:
    """Of 50 sessions of main, 12 are red: 25 requests, and 3 for the judged session and its failing test."""
    for number in range(50):
        add(suite, *(["pays"] if number % 4 == 1 and number < 48 else []))
    add(suite, "pays", id="judged", branch="fix")
    fake.requests.clear()
    assert call("failures", SUITE, "judged", *GATE, "--last", "50").code == 0
    assert len(fake.requests) == 25 + 1 + 2 + 1


def test_causes(suite: FakeSuite, call: Call) -> None:
    add(suite, "old")
    names = ["order 17", "order 18", "old", "cart"]
    add(suite, *names, branch="fix")
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
    assert lines[3:7] == [
        "2 tests: AssertionError: order <number> is lost",
        f"  {key}order 17",
        f"  {key}order 18",
        "",
    ]
