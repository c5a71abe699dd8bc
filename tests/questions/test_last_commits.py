"""The tests of the last commits: which sessions are read, from the API and from a database, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings

from buddy_sessions import MAIN, BuddyClient, ConfigError, NoVerdictError, Session, SessionStatus, TestCase, TestStatus
from buddy_sessions.analysis.commits import identify_commit, make_commit
from buddy_sessions.analysis.reruns import find_possible_rerun
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.pages import save_page
from buddy_sessions.store.saved_source import load_tested_again
from buddy_sessions.store.suites import SuiteState
from buddy_sessions.store.sync_rules import ListEvidence
from buddy_sessions.testing import FakeBuddy, FakeSuite, Fault
from helpers.effort import repeats
from helpers.list_source import SUITE, Ask, ask_about
from helpers.random_histories import History, histories

all_cases = pytest.mark.parametrize("ask", ["api", "all"], indirect=True)


def numbers(sessions: Sequence[Session]) -> list[int]:
    return [session.relative_id for session in sessions]


def at(hour: int) -> dict[str, str]:
    """Return the dates of a session that ends half a second before the next one begins."""
    return {"create_date": f"2026-01-01T1{hour}:00:00.5Z", "finish_date": f"2026-01-01T1{hour + 1}:00:00Z"}


async def test_sessions_are_read_at_once(fake: FakeBuddy, suite: FakeSuite) -> None:
    for _ in range(40):
        suite.create(status="SUCCESSFUL", tests_count=200)
    fake.latency = 0.05
    async with BuddyClient(fake.token, base_url=fake.base_url, max_concurrency=8) as buddy:
        runs = await buddy.recent_tests(suite.key, last=32)
    assert [len(run.cases) for run in runs] == [200] * 32
    assert numbers([run.session for run in runs]) == [*range(9, 41)]
    assert len(fake.requests) == 1 + 32 * 3  # the last request of each session shows that its list has ended
    assert 4 < fake.max_in_flight <= 8  # on a busy machine, one may end before the last one begins


@pytest.mark.parametrize(
    ("branch", "last", "expected"),
    [(MAIN, 3, [4, 6, 7]), (MAIN, 99, [1, 3, 4, 6, 7]), ("dev", 1, [5]), ("dev", 2, [2, 5])],
)
async def test_last_commits_of_a_branch(
    branch: Any, last: int, expected: list[int], buddy: BuddyClient, suite: FakeSuite
) -> None:
    """Running and skipped sessions have no verdict."""
    for number in range(1, 8):
        suite.create("dev" if number in {2, 5} else "main", cases=[{"name": "adds"}])
    suite.create()
    suite.create("dev", status="SKIPPED")
    runs = await buddy.recent_tests(suite.key, last=last, branch=branch)
    assert numbers([run.session for run in runs]) == expected


async def test_1000_sessions_are_searched(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    """After the newest 100, which say which branch is the main one."""
    for number in range(1202):
        suite.create(status="SKIPPED" if number > 1 else "SUCCESSFUL")
    with pytest.raises(NoVerdictError, match=r"has no finished session of branch 'main' yet$"):
        await buddy.recent_tests(suite.key)
    assert len(fake.requests) == 11
    suite.create("fix", "SKIPPED", ref_type="PULL_REQUEST")  # no list of its own
    with pytest.raises(NoVerdictError, match=r"^no session of branch 'fix'"):
        await buddy.recent_tests(suite.key, branch="fix")
    assert len(fake.requests) == 11 + 11


async def test_deleted_session_is_left_out(fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
    for _ in range(3):
        suite.create(cases=[{"name": "adds"}])
    newest = suite.sessions[0]["id"]
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if f"/{newest}/" in request.path else None
    assert numbers([run.session for run in await buddy.recent_tests(suite.key)]) == [1, 2]
    fake.on_request = lambda request: fake.inject(Fault.status(404)) if "/cases" in request.path else None
    with pytest.raises(NoVerdictError, match=r"^the sessions of acme/shop/unit were deleted meanwhile: try again$"):
        await buddy.recent_tests(suite.key)


class TestFlaky:
    async def test_passed_when_it_was_run_again(self, suite: FakeSuite, ask: Ask) -> None:
        """`adds`, which the next commit repaired, is not flaky."""
        for hour, (commit, failing) in enumerate((("a", ""), ("b", "pays"), ("b", ""), ("c", "adds"), ("d", ""))):
            cases = [{"name": name, "status": "FAILED" if name == failing else "PASSED"} for name in ("pays", "adds")]
            suite.create(revision=commit * 40, cases=cases, **at(hour))
        found = await (await ask()).flaky(suite.key)
        assert [(test.key.name, test.revisions, test.flips) for test in found.tests] == [("pays", ("b" * 40,), 0)]
        assert numbers(found.wasted) == [2]

    @pytest.mark.virtual_time  # a list that is too short is read again, ten seconds later
    @pytest.mark.parametrize(("fields", "wasted"), [({}, [2, 4]), ({"failed_count": 2}, [])])
    async def test_sessions_that_failed_only_because_of_them(
        self, fields: dict[str, Any], wasted: list[int], buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        """Not one in which another test failed, nor one that crashed, or lists fewer failing tests than it counts."""
        for failing in ([], ["flaky"], [], ["flaky"], [], ["flaky", "broken"]):
            names = {name: "FAILED" if name in failing else "PASSED" for name in ("flaky", "broken")}
            cases = [{"name": name, "status": status} for name, status in names.items()]
            suite.create(cases=cases, **(fields if failing else {}))
        suite.create(status="ERROR", cases=[{"name": "broken"}])
        assert numbers((await buddy.flaky(suite.key)).wasted) == wasted

    @pytest.mark.parametrize(
        "commit", [{"revision": "f1" * 20}, {"revision": None, "ci_run_url": "https://ci.example"}]
    )
    @pytest.mark.parametrize(("later", "found"), [("", ["pays"]), ("pays", []), ("adds", ["pays"])])
    async def test_evidence_of_another_branch(
        self, later: str, found: list[str], commit: dict[str, Any], suite: FakeSuite, ask: Ask
    ) -> None:
        """Main says how many sessions a commit has. A test that also fails in the re-run is none."""
        for hour, (branch, failing) in enumerate((("main", ""), ("main", ""), ("fix", "pays"), ("fix", later))):
            cases = [{"name": name, "status": "FAILED" if name == failing else "PASSED"} for name in ("pays", "adds")]
            suite.create(branch, cases=cases, **(commit if branch == "fix" else {}), **at(hour))
        flaky = await (await ask()).flaky(suite.key)
        name = commit.get("ci_run_url", commit["revision"])
        assert [(test.key.name, test.revisions) for test in flaky.tests] == [(each, (name,)) for each in found]

    @pytest.mark.parametrize(("ask", "searched"), [("api", 100), ("failed", 1000)], indirect=["ask"])
    @pytest.mark.parametrize(("above", "is_found"), [(3, True), (2, False)])
    async def test_lowest_commit_may_have_older_sessions(
        self, above: int, is_found: bool, searched: int, suite: FakeSuite, ask: Ask
    ) -> None:
        suite.create()
        for hour, status in enumerate(("FAILED", "PASSED")):
            suite.create("fix", revision="f1" * 20, cases=[{"name": "pays", "status": status}], **at(hour))
        for _ in range(searched - above):
            suite.create(status="SUCCESSFUL", cases=[])
        assert bool((await (await ask()).flaky(suite.key)).tests) == is_found

    @all_cases
    async def test_oldest_commit_of_the_suite(self, suite: FakeSuite, ask: Ask) -> None:
        for hour, status in enumerate(("FAILED", "PASSED")):
            suite.create("fix", revision="f1" * 20, cases=[{"name": "pays", "status": status}], **at(hour))
        suite.create(status="SUCCESSFUL")
        assert [test.key.name for test in (await (await ask()).flaky(suite.key)).tests] == ["pays"]

    @pytest.mark.parametrize("commits", ["abcDefGhi", "aBbcdXxe"])
    async def test_outages_make_no_test_flaky(self, commits: str, suite: FakeSuite, ask: Ask) -> None:
        """The upper-case sessions are outages. Some commits pass when they are tested again; x is one of a fix."""
        for hour, commit in enumerate(commits):
            status = "FAILED" if commit.isupper() else "PASSED"
            cases = [{"name": f"test {index}", "status": status} for index in range(30)]
            suite.create("fix" if commit in "Xx" else "main", revision=commit.lower() * 40, cases=cases, **at(hour))
        assert (await (await ask()).flaky(suite.key)).tests == []

    @pytest.mark.parametrize(("outages", "is_found"), [(2, True), (3, False)])
    async def test_commits_before_many_outages_do_not_count(
        self, outages: int, is_found: bool, suite: FakeSuite, ask: Ask
    ) -> None:
        """At most as many outages as other commits are left out."""
        for status in ("FAILED", "PASSED"):
            suite.create(cases=[{"name": "pays", "status": status}])
        for _ in range(outages):
            suite.create(cases=[{"name": f"test {index}", "status": "FAILED"} for index in range(30)])
        assert bool((await (await ask()).flaky(suite.key, last=2, flips=1)).tests) == is_found

    async def test_most_expensive_first(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        """`often` flips more often, but never alone."""
        for failing in ("", "often rare", "", "often rare", "", "alone", "", "often rare", "alone", "", "alone", ""):
            names = [{"name": name, "status": "FAILED"} for name in failing.split()]
            suite.create(cases=[*names, *({"name": f"passes {index}"} for index in range(5 - len(names)))])
        found = await buddy.flaky(suite.key, last=40)
        assert [(test.key.name, test.wasted, test.flips) for test in found.tests] == [
            ("alone", 3, 6),
            ("often", 0, 6),
            ("rare", 0, 6),
        ]

    async def test_requests(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        """One for the list, one for each red session; with many tests, too."""
        for number in range(40):
            failing = [{"name": "flaky", "status": "FAILED"}] if number % 4 == 0 else [{"name": "flaky"}]
            suite.create(cases=[*failing, *({"name": f"passes {index}"} for index in range(300))])
        (test,) = (await buddy.flaky(suite.key, last=40)).tests
        assert (test.commits, test.failed, test.flips, len(fake.requests)) == (40, 10, 19, 1 + 10)


@settings(max_examples=repeats(quick=20, thorough=100, long=1000))
@given(histories(max_sessions=8))
def test_nothing_that_was_tested_again_is_lost(history: History) -> None:
    """A law: `find_possible_rerun`, and a database in SQL, choose all commits that have a re-run."""
    commits: dict[tuple[str | None, str], list[Session]] = {}
    for session in reversed(history.sessions):
        commits.setdefault((session.ref_name, identify_commit(session)), []).append(session)
    with TemporaryDirectory() as folder, closing(DatabaseFile(f"{folder}/sessions.db")) as file:
        file.open()
        save_page(file, SUITE, ListEvidence(claimed=SuiteState(), sessions=history.sessions), history.now)
        found, _ = load_tested_again(file, SUITE)
    for sessions in commits.values():
        is_possible = find_possible_rerun(sessions) is not None
        assert is_possible or not make_commit(sessions, [], 1, as_of=history.now).reruns
        assert not is_possible or all(session in found for session in sessions)


async def test_slowest(buddy: BuddyClient, suite: FakeSuite) -> None:
    for seconds in (9.0, 2.0, 1.0):
        suite.create(cases=[{"name": "fast", "time": 0.004}, {"name": "slow", "time": seconds}])
    suite.create(cases=[{"name": "fast", "time": 0.006}, {"name": "slow", "time": 0, "status": "SKIPPED"}])
    found = await buddy.slowest(suite.key)
    assert [(test.key.name, test.median, test.slowest) for test in found] == [("slow", 2, 9), ("fast", 0.004, 0.006)]
    assert [test.key.name for test in await buddy.slowest(suite.key, threshold=0.5)] == ["slow"]
    assert [test.key.name for test in await buddy.slowest(suite.key, last=1)] == ["fast"]


class TestCompare:
    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ([], ([4], [7])),
            ([None, 6], ([2], [6])),
            ([None, "https://app.buddy.works/acme/shop/unit-tests/unit/five"], ([3], [5])),
            ([None, "f00df00"], ([2], [6])),
            ([None, "8888888"], ([6], [8])),
            ([2, 3], ([2], [3])),
        ],
        ids=["main branch", "branch", "pull request", "commit", "commit without verdict", "both"],
    )
    @all_cases
    async def test_default_sessions(
        self, names: list[Any], expected: tuple[list[int], list[int]], suite: FakeSuite, ask: Ask
    ) -> None:
        """The new session is the latest of the main branch, the old one is that before it on its branch."""
        for number, ref in enumerate(["main", "dev", "PR", "main", "PR", "dev", "main", "dev"], start=1):
            suite.create(
                id="five" if number == 5 else str(number) * 8,
                branch=ref,
                ref_type="PULL_REQUEST" if ref == "PR" else "BRANCH",
                status="SUCCESSFUL" if number < 8 else "SKIPPED",
                revision="f00d" * 10 if number == 6 else str(number) * 40,
                cases=[{"name": f"t{number}"}],
            )
        found = await (await ask()).compare(suite.key, *names)
        assert (numbers(found.old), numbers(found.new)) == expected
        sides = [[case.name for case in cases] for cases in (found.removed, found.added)]
        assert sides == [[f"t{number}" for number in side] for side in expected]

    @all_cases
    async def test_all_sessions_of_a_commit(self, suite: FakeSuite, ask: Ask) -> None:
        for number, commit in enumerate("aabbb", start=1):
            suite.create(cases=[{"name": f"t{number}", "status": "FAILED"}], revision=commit * 40)
        found = await (await ask()).compare(suite.key)
        assert (numbers(found.old), numbers(found.new)) == ([2, 1], [5, 4, 3])
        assert [case.name for case in found.newly_failing] == ["t3", "t4", "t5"]
        assert [case.name for case in found.removed] == ["t1", "t2"]

    @pytest.mark.parametrize("name", ["latest", "bbbbbbb", "https://ci.example/1"])
    @all_cases
    async def test_session_that_was_run_again_is_left_out(self, name: str, suite: FakeSuite, ask: Ask) -> None:
        suite.create(cases=[{"name": "pays"}])
        for hour, status in enumerate(("FAILED", "PASSED")):
            cases = [{"name": "pays", "status": status}]
            suite.create(revision="b" * 40, ci_run_url="https://ci.example/1", cases=cases, **at(hour))
        found = await (await ask()).compare(suite.key, new=name)
        assert (numbers(found.old), numbers(found.new), found.newly_failing) == ([1], [3], [])

    async def test_ci_run_that_does_not_count(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        """It was run again with another URL, but is compared if it is named."""
        suite.create(cases=[{"name": "pays"}])
        for hour, status in enumerate(("FAILED", "PASSED")):
            cases = [{"name": "pays", "status": status}]
            suite.create(revision="b" * 40, ci_run_url=f"https://ci.example/{hour}", cases=cases, **at(hour))
        found = await buddy.compare(suite.key, new="https://ci.example/0")
        assert (numbers(found.old), numbers(found.new)) == ([1], [2])

    @pytest.mark.parametrize(("cases", "crashed"), [([], [2]), ([{"name": "pays", "status": "FAILED"}], [])])
    async def test_crash(
        self, cases: list[dict[str, str]], crashed: list[int], buddy: BuddyClient, suite: FakeSuite
    ) -> None:
        suite.create(cases=[{"name": "pays"}])
        suite.create(status="ERROR", cases=cases)
        assert numbers((await buddy.compare(suite.key)).crashed) == crashed

    async def test_session_without_an_earlier_one(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create(cases=[{"name": "pays"}])
        with pytest.raises(NoVerdictError, match=r"^nothing to compare #1 with: no older commit$"):
            await buddy.compare(suite.key)

    @pytest.mark.parametrize("name", ["#1", "latest", "a" * 40])
    async def test_session_with_itself_is_an_error(self, name: str, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create(cases=[{"name": "pays"}], revision="a" * 40)
        with pytest.raises(ConfigError, match=r"^nothing to compare: both names are of #1: name two commits$"):
            await buddy.compare(suite.key, 1, name)


class TestTests:
    @all_cases
    async def test_sessions_of_a_commit(self, suite: FakeSuite, ask: Ask) -> None:
        """Of `latest`, those that count; unfinished ones are left out if others have finished."""
        for commit, status in (("1", None), ("1", "IN_PROGRESS"), ("2", None), ("2", None)):
            suite.create(revision=commit * 40, status=status, cases=[{"name": "adds"}])
        source = await ask()
        found = {name: await source.tests(suite.key, name) for name in ("latest", "1111111", 3)}
        assert {name: numbers([run.session for run in runs]) for name, runs in found.items()} == {
            "latest": [4, 3],
            "1111111": [1],
            3: [3],
        }

    async def test_requests(self, fake: FakeBuddy, buddy: BuddyClient, suite: FakeSuite) -> None:
        """Only tests with the status are requested, and the messages of as many failing tests as are wanted."""
        failing = [{"name": name, "status": "FAILED", "message": f"{name} failed"} for name in ("pays", "sells")]
        suite.create(cases=[{"name": "adds"}, *failing, {"name": "sends", "status": "SKIPPED"}])
        for status, details, has_message in (
            (None, False, [False] * 4),
            (TestStatus.SKIPPED, True, [False]),
            (TestStatus.FAILED, 1, [True, False]),
        ):
            fake.requests.clear()
            (run,) = await buddy.tests(suite.key, status=status, details=details)
            first, *details_of = [request for request in fake.requests if "/cases" in request.path]
            assert (first.query.get("status"), len(details_of)) == (status, sum(has_message))
            assert [case.failure is not None for case in run.cases] == has_message

    async def test_id_is_unique_only_in_its_group(self) -> None:
        session = Session(id="a", relative_id=1, status=SessionStatus.ERROR)
        statuses = {"a.py": TestStatus.PASSED, "b.py": TestStatus.FAILED}
        cases = [TestCase(id="1", test_group_id=group, name="pays", status=statuses[group]) for group in statuses]
        (run,) = await ask_about([session], lambda _: cases, as_of=datetime.now(UTC)).tests(SUITE, 1, details=True)
        assert list(run.cases) == cases

    async def test_only_session_is_running(self, buddy: BuddyClient, suite: FakeSuite) -> None:
        suite.create(status="IN_PROGRESS", cases=[{"name": "adds"}])
        with pytest.raises(NoVerdictError, match=r"^no tests of acme/shop/unit: main: #1 is running$"):
            await buddy.tests(suite.key)
        assert numbers([run.session for run in await buddy.tests(suite.key, 1)]) == [1]
