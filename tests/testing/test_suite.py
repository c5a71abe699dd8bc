"""`FakeSuite`: changes to its sessions and their test cases."""

from __future__ import annotations

import json
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions.testing import FakeSuite

FIELDS = [
    *("url", "html_url", "id", "relative_id", "create_date", "start_date", "created_by", "ci_provider", "revision"),
    *("ref_type", "ref_name", "execution_id", "action_execution_id", "status", "duration", "tests_count"),
    *("failed_count", "skipped_count", "error_count"),
]
"""The fields that every session has, in the documented order."""

CASE_FIELDS = [
    *("url", "html_url", "id", "name", "test_group_name", "test_group_id", "classname", "status", "time"),
]
"""The fields of a test case in a list, in the documented order."""


@pytest.fixture
def suite() -> FakeSuite:
    return FakeSuite("acme", "shop", "MNbyVedg")


def counts(session: dict[str, Any]) -> tuple[int, ...]:
    """Return the numbers of all tests, and of those that failed, were skipped and had errors."""
    return tuple(session[name] for name in ("tests_count", "failed_count", "skipped_count", "error_count"))


def outcomes(suite: FakeSuite, session: dict[str, Any]) -> list[tuple[str, str]]:
    return [(case["name"], case["status"]) for case in suite.cases(session)]


class TestCreate:
    def test_session_has_plausible_values(self, suite: FakeSuite) -> None:
        before = datetime.now(UTC).replace(microsecond=0)
        session = suite.create(branch="develop")
        assert list(session) == FIELDS
        assert session["html_url"] == f"https://app.buddy.works/acme/shop/unit-tests/MNbyVedg/{session['id']}"
        assert session["url"] == f"{suite.url}/sessions/{session['id']}"
        assert (session["ref_type"], session["ref_name"], session["status"]) == ("BRANCH", "develop", "IN_PROGRESS")
        assert re.fullmatch("[A-Za-z0-9]{8}", session["id"])
        assert re.fullmatch("[0-9a-f]{40}", session["revision"])
        assert re.fullmatch("[0-9a-f]{24}", session["execution_id"])
        assert before <= datetime.fromisoformat(session["create_date"]) <= datetime.now(UTC)
        assert counts(session) == (0, 0, 0, 0)

    @pytest.mark.parametrize(("status", "failed"), [("SUCCESSFUL", 0), ("ERROR", 1), ("SKIPPED", 0)])
    def test_finished_session_has_counts(self, suite: FakeSuite, status: str, failed: int) -> None:
        session = suite.create(status=status)
        skipped = session["tests_count"] if status == "SKIPPED" else 0
        assert counts(session) == (session["tests_count"], failed, skipped, 0)
        assert session["tests_count"] > 0

    def test_given_fields_keep_the_documented_order(self, suite: FakeSuite) -> None:
        session = suite.create(error_message="boom", status="ERROR", ci_run_url="https://ci/1", finish_date=None)
        names = list(session)
        for field, before in (
            ("finish_date", "start_date"),
            ("ci_run_url", "ci_provider"),
            ("error_message", "status"),
        ):
            assert names.index(field) == names.index(before) + 1
        assert session["finish_date"] is None

    def test_relative_ids_are_never_reused(self, suite: FakeSuite) -> None:
        first, second = suite.create(), suite.create()
        suite.delete(second)
        assert [first["relative_id"], suite.create()["relative_id"]] == [1, 3]
        assert [suite.create(relative_id=each)["relative_id"] for each in (41, 7, None)] == [41, 7, None]
        assert suite.create()["relative_id"] == 42

    def test_duplicate_id_is_rejected(self, suite: FakeSuite) -> None:
        suite.create(id="YDnagwGk")
        with pytest.raises(ValueError, match="acme/shop/MNbyVedg already has a session 'YDnagwGk'"):
            suite.create(id="YDnagwGk")
        assert len(suite.sessions) == 1


class TestRerun:
    def test_rerun_is_of_the_same_commit(self, suite: FakeSuite) -> None:
        session = suite.create(branch="develop", ref_type="TAG", created_by=None, cases=[{"name": "a"}])
        suite.create()
        rerun = suite.rerun(session, "ERROR", error_message="timeout")
        for field in ("revision", "ref_type", "ref_name", "created_by"):
            assert rerun[field] == session[field]
        assert (rerun["relative_id"], rerun["status"], rerun["error_message"]) == (3, "ERROR", "timeout")
        assert rerun["id"] != session["id"]
        assert suite.sessions[0] == rerun

    def test_rerun_has_its_own_outcome(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "a", "status": "FAILED"}])
        assert suite.rerun(session["id"])["status"] == "IN_PROGRESS"
        assert outcomes(suite, suite.rerun(session, cases=[{"name": "a"}])) == [("a", "PASSED")]


CHANGES: dict[str, Callable[[FakeSuite, Any], object]] = {
    "add_cases": lambda suite, session: suite.add_cases(session, [{"name": "a"}]),
    "case": lambda suite, session: suite.case(session, suite.cases(session)[0]["id"]),
    "cases": lambda suite, session: suite.cases(session),
    "delete": lambda suite, session: suite.delete(session),
    "finish": lambda suite, session: suite.finish(session),
    "reopen": lambda suite, session: suite.reopen(session),
    "rerun": lambda suite, session: suite.rerun(session),
}


class TestArguments:
    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
    def test_session_or_its_id(self, suite: FakeSuite, change: Callable[[FakeSuite, Any], object]) -> None:
        change(suite, suite.create(status="SUCCESSFUL"))
        change(suite, suite.create(status="SUCCESSFUL")["id"])
        for unknown in ("nope", {"id": "nope"}):
            with pytest.raises(KeyError, match="acme/shop/MNbyVedg has no session 'nope'"):
                change(suite, unknown)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"faild_count": 3}, "a session has no field 'faild_count': did you mean 'failed_count'?"),
            ({"x": 3}, "a session has no field 'x': it has url, html_url, id"),
            ({"cases": [{"naem": "a"}]}, "a test case has no field 'naem': did you mean 'name'?"),
            ({"cases": [{"name": "a"}, {"status": "FAILED"}]}, "a test case needs a name: {'status': 'FAILED'}"),
        ],
        ids=["similar field", "other field", "field of a case", "case without a name"],
    )
    def test_wrong_field_is_rejected(self, suite: FakeSuite, fields: dict[str, Any], message: str) -> None:
        session = suite.create()
        for change in (
            suite.create,
            lambda **given: suite.finish(session, **given),
            lambda **given: suite.rerun(session, **given),
        ):
            with pytest.raises(TypeError, match=re.escape(message)):
                change(**fields)
        assert suite.sessions == [session]
        assert suite.cases(session) == []

    def test_unknown_case_is_rejected(self, suite: FakeSuite) -> None:
        with pytest.raises(KeyError, match="nope"):
            suite.case(suite.create(cases=[{"name": "t"}]), "nope")


class TestFinish:
    def test_finish_sets_date_duration_and_counts(self, suite: FakeSuite) -> None:
        started = (datetime.now(UTC) - timedelta(seconds=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
        finished = suite.finish(suite.create(start_date=started), "ERROR", error_message="boom")
        assert (finished["status"], finished["error_message"], finished["failed_count"]) == ("ERROR", "boom", 1)
        assert 89 <= finished["duration"] <= 100
        assert finished["finish_date"] > started
        assert finished["tests_count"] > 0

    def test_given_fields_are_kept(self, suite: FakeSuite) -> None:
        session = suite.create(start_date=None, tests_count=5)
        finished = suite.finish(session, duration=12, finish_date="2030-01-01T00:00:00Z")
        assert (finished["duration"], finished["finish_date"]) == (12, "2030-01-01T00:00:00Z")
        assert (finished["tests_count"], finished["status"]) == (5, "SUCCESSFUL")

    def test_status_follows_from_the_cases(self, suite: FakeSuite) -> None:
        session = suite.create()
        assert suite.cases(session) == []
        running = suite.add_cases(session, [{"name": "a"}, {"name": "b", "status": "FAILED"}])
        assert (running["status"], counts(running)) == ("IN_PROGRESS", (2, 1, 0, 0))
        finished = suite.finish(session)
        assert (finished["status"], counts(finished)) == ("ERROR", (2, 1, 0, 0))
        suite.reopen(session)
        finished = suite.finish(session, cases=[{"name": "b"}, {"name": "c", "status": "SKIPPED"}])
        assert (finished["status"], counts(finished)) == ("SUCCESSFUL", (3, 0, 1, 0))

    def test_given_status_is_kept(self, suite: FakeSuite) -> None:
        session = suite.create(status="IN_PROGRESS", cases=[{"name": "a"}])
        finished = suite.finish(session, "ERROR", failed_count=4)
        assert (finished["status"], counts(finished)) == ("ERROR", (1, 4, 0, 0))
        assert outcomes(suite, session) == [("a", "PASSED")]

    def test_no_cases_are_invented_for_an_empty_list(self, suite: FakeSuite) -> None:
        finished = suite.finish(suite.create(cases=[]))
        assert (finished["status"], counts(finished), suite.cases(finished)) == ("SUCCESSFUL", (0, 0, 0, 0), [])

    def test_reopen_removes_what_finish_set(self, suite: FakeSuite) -> None:
        session = suite.create()
        suite.finish(session, "ERROR", error_message="boom")
        reopened = suite.reopen(session)
        assert reopened["status"] == "IN_PROGRESS"
        assert {"finish_date", "error_message"}.isdisjoint(reopened)
        assert suite.reopen(session) == reopened


class TestCases:
    def test_case_has_plausible_values(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "adds_discount"}])
        (case,) = suite.cases(session)
        assert list(case) == CASE_FIELDS
        assert list(suite.case(session, case["id"])) == [*CASE_FIELDS, "data"]
        assert case["url"] == f"{session['url']}/test-groups/{case['test_group_id']}/cases/{case['id']}"
        assert case["html_url"] == session["html_url"]
        assert re.fullmatch("[0-9a-f]{24}", case["id"])
        assert (case["test_group_name"], case["classname"]) == ("tests/cart/test_total.py", "CartTest")
        assert (case["status"], case["time"]) == ("PASSED", 0.1)

    def test_given_fields_are_kept(self, suite: FakeSuite) -> None:
        given = {
            "data": "<x>",
            "id": 7,
            "name": "t",
            "url": None,
            "html_url": "here",
            "test_group_id": "g",
            "test_group_name": "group",
            "classname": None,
            "status": "FLAKY",
            "time": 2,
        }
        case = suite.case(suite.create(cases=[given]), 7)
        assert case == given
        assert list(case) == [*CASE_FIELDS, "data"]

    def test_same_test_has_other_ids_in_another_session(self, suite: FakeSuite) -> None:
        first, second = (suite.cases(suite.create(cases=[{"name": "t"}]))[0] for _ in range(2))
        assert first["name"] == second["name"]
        assert first["id"] != second["id"]
        assert first["test_group_id"] != second["test_group_id"]

    @pytest.mark.parametrize(
        ("statuses", "status", "numbers"),
        [
            (["PASSED", "PASSED"], "SUCCESSFUL", (2, 0, 0, 0)),
            (["PASSED", "SKIPPED"], "SUCCESSFUL", (2, 0, 1, 0)),
            (["SKIPPED", "SKIPPED"], "SKIPPED", (2, 0, 2, 0)),
            (["PASSED", "FAILED", "FAILED"], "ERROR", (3, 2, 0, 0)),
            (["SKIPPED", "ERROR"], "ERROR", (2, 0, 1, 1)),
            (["QUARANTINED"], "SUCCESSFUL", (1, 0, 0, 0)),
            ([], "IN_PROGRESS", (0, 0, 0, 0)),
        ],
    )
    def test_status_and_counts_follow_from_the_cases(
        self, suite: FakeSuite, statuses: list[str], status: str, numbers: tuple[int, ...]
    ) -> None:
        session = suite.create(cases=[{"name": f"t{index}", "status": each} for index, each in enumerate(statuses)])
        assert (session["status"], counts(session)) == (status, numbers)
        assert [each for _, each in outcomes(suite, session)] == statuses

    def test_case_is_added_or_replaced(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "a"}, {"name": "b", "status": "FAILED"}], status="IN_PROGRESS")
        changed = suite.add_cases(session, [{"name": "a", "status": "ERROR"}, {"name": "a", "classname": "Other"}])
        assert outcomes(suite, session) == [("a", "ERROR"), ("b", "FAILED"), ("a", "PASSED")]
        assert changed == suite.sessions[0] == {**session, "tests_count": 3, "error_count": 1}
        suite.add_cases(session, [{"name": "c", "id": suite.cases(session)[1]["id"]}])
        assert [name for name, _ in outcomes(suite, session)] == ["a", "c", "a"]

    def test_random_cases_are_kept(self, suite: FakeSuite) -> None:
        session = suite.create(status="ERROR", tests_count=20, failed_count=2)
        before = suite.cases(session)
        fixed, broken = suite.cases(session, status="FAILED")
        data = suite.case(session, broken["id"])["data"]
        names = {name: fixed[name] for name in ("name", "classname", "test_group_name")}
        changed = suite.add_cases(session, [{**names, "time": 1.0}, {"name": "new"}])
        assert counts(changed) == (21, 1, 0, 0)
        after = suite.cases(session)
        assert [case for case in after if case not in before] == [{**fixed, "status": "PASSED", "time": 1.0}, after[-1]]
        assert suite.case(session, broken["id"])["data"] == data


class TestData:
    def report(self, suite: FakeSuite, **fields: Any) -> ET.Element:
        session = suite.create(cases=[{"name": "t", **fields}])
        return ET.fromstring(suite.case(session, suite.cases(session)[0]["id"])["data"])

    @pytest.mark.parametrize("status", ["PASSED", "QUARANTINED"])
    def test_other_statuses_have_no_failure(self, suite: FakeSuite, status: str) -> None:
        root = self.report(suite, status=status, classname="CartTest", time=2.5, message="boom")
        assert (root.tag, root.attrib) == ("testcase", {"name": "t", "classname": "CartTest", "time": "2.5"})
        assert len(root) == len(self.report(suite, status=status)) == 0

    @pytest.mark.parametrize(
        ("status", "tag", "error_type"),
        [("FAILED", "failure", "AssertionError"), ("ERROR", "error", "RuntimeError"), ("SKIPPED", "skipped", None)],
    )
    def test_message_is_kept(self, suite: FakeSuite, status: str, tag: str, error_type: str | None) -> None:
        (child,) = self.report(suite, status=status, message='<5 & "6">\n¼')
        assert (child.tag, child.get("message"), child.get("type")) == (tag, '<5 & "6">\n¼', error_type)
        text = child.text or ""
        assert text.startswith("Traceback (most recent call last):\n") == bool(error_type)
        assert text.endswith(f'{error_type}: <5 & "6">\n¼\n') == bool(error_type)

    def test_type_and_text_are_kept(self, suite: FakeSuite) -> None:
        (child,) = self.report(suite, status="FAILED", message="boom", type="shop.Error", text="at line 1\n")
        assert (child.attrib, child.text) == ({"message": "boom", "type": "shop.Error"}, "at line 1\n")
        (child,) = self.report(suite, status="FAILED", type="shop.Error")
        assert (child.attrib, (child.text or "")[-12:]) == ({"type": "shop.Error"}, "\nshop.Error\n")
        (child,) = self.report(suite, status="FAILED", message=None, type=None, text=None)
        assert (child.attrib, child.text) == ({}, None)

    @pytest.mark.parametrize("status", ["FAILED", "ERROR", "SKIPPED"])
    def test_failure_is_plausible_by_default(self, suite: FakeSuite, status: str) -> None:
        (failure,) = self.report(suite, status=status)
        assert failure.get("message")
        if status != "SKIPPED":
            assert (failure.text or "").endswith(f"{failure.get('type')}: {failure.get('message')}\n")

    def test_characters_that_xml_cannot_hold_are_replaced(self, suite: FakeSuite) -> None:
        root = self.report(
            suite, name="a\x00\ud800\uffff😀\t", status="ERROR", message="\x1b[31m", text="\x08", time=None
        )
        assert root.attrib == {"name": "a\ufffd\ufffd\ufffd😀\t", "classname": "CartTest"}
        assert (root[0].get("message"), root[0].text) == ("\ufffd[31m", "\ufffd")


class TestCopies:
    def test_returned_values_are_copies(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "t", "data": "<x/>"}])
        random = suite.create(status="SUCCESSFUL", tests_count=1)
        sessions, cases = suite.sessions, [suite.cases(each)[0] for each in (session, random)]
        for copy in (session, random, *suite.sessions, *(suite.cases(each)[0] for each in (session, random))):
            copy["status"] = "nonsense"
        suite.case(session, cases[0]["id"])["status"] = suite.case(random, cases[1]["id"])["status"] = "nonsense"
        assert suite.sessions == sessions
        assert [suite.cases(each)[0] for each in (session, random)] == cases

    def test_given_cases_are_not_changed(self, suite: FakeSuite) -> None:
        given = {"name": "t", "status": "FAILED", "message": "boom"}
        suite.create(cases=(each for each in [given]))
        assert given == {"name": "t", "status": "FAILED", "message": "boom"}


def test_names_are_percent_encoded_in_urls() -> None:
    suite = FakeSuite("a b", "c/d", "é?")
    assert suite.url == "https://api.buddy.works/workspaces/a%20b/projects/c%2Fd/unit-tests/suites/%C3%A9%3F"
    assert suite.html_url == "https://app.buddy.works/a%20b/c%2Fd/unit-tests/%C3%A9%3F"
    assert suite.create()["created_by"]["url"] == "https://api.buddy.works/workspaces/a%20b/members/1"
    assert suite.create(id="a/b")["url"] == f"{suite.url}/sessions/a%2Fb"
    assert suite.create(id="..")["url"] == f"{suite.url}/sessions/%2E%2E"  # clients resolve ".."


@given(st.lists(st.tuples(st.sampled_from(["create", "finish", "reopen", "delete"]), st.integers(0)), max_size=40))
def test_sessions_are_newest_first(steps: list[tuple[str, int]]) -> None:
    suite = FakeSuite("acme", "shop", "MNbyVedg")
    expected: list[str] = []
    for step, position in steps:
        if step == "create" or not expected:
            expected.insert(0, suite.create()["id"])
            continue
        session_id = expected[position % len(expected)]
        getattr(suite, step)(session_id)
        if step == "delete":
            expected.remove(session_id)
    sessions = suite.sessions
    assert [session["id"] for session in sessions] == expected
    numbers = [session["relative_id"] for session in sessions]
    assert numbers == sorted(set(numbers), reverse=True)
    assert json.loads(json.dumps(sessions)) == sessions
    assert repr(suite) == f"<FakeSuite acme/shop/MNbyVedg with {len(sessions)} sessions>"


@pytest.fixture
def frequent_thread_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_thread_switches")
class TestThreads:
    def test_reader_sees_each_change_as_a_whole(self, suite: FakeSuite) -> None:
        sessions = deque(suite.create() for _ in range(100))

        def replace_sessions() -> None:
            for _ in range(2000):
                sessions.append(suite.create())
                suite.delete(sessions.popleft())

        with ThreadPoolExecutor(1) as thread:
            writing = thread.submit(replace_sessions)
            while not writing.done():
                numbers = [session["relative_id"] for session in suite.sessions]
                assert len(numbers) in {100, 101}
                assert numbers == list(range(numbers[0], numbers[0] - len(numbers), -1))
            writing.result()

    def test_no_change_is_lost(self, suite: FakeSuite) -> None:
        session = suite.create()

        def change(thread: int) -> None:
            for number in range(200):
                suite.add_cases(session, [{"name": f"{thread}-{number % 50}"}])
                suite.finish(session)
                suite.reopen(session)
                suite.create()
                suite.populate(1)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(change, range(4)))
        assert suite.sessions[-1]["tests_count"] == len(suite.cases(session)) == 200
        assert [each["relative_id"] for each in suite.sessions] == list(range(1601, 0, -1))
