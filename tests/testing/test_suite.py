"""`FakeSuite`: changes to its sessions and their test cases."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from buddy_sessions.testing import FakeSuite


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
        assert session["html_url"] == f"https://app.buddy.works/acme/shop/unit-tests/MNbyVedg/{session['id']}"
        assert (session["ref_type"], session["ref_name"], session["status"]) == ("BRANCH", "develop", "IN_PROGRESS")
        assert re.fullmatch("[0-9a-f]{40}", session["revision"])
        assert before <= datetime.fromisoformat(session["create_date"]) <= datetime.now(UTC)
        assert counts(session) == (0, 0, 0, 0)

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


def test_rerun_is_of_the_same_commit(suite: FakeSuite) -> None:
    session = suite.create(branch="develop", ref_type="TAG", created_by=None, cases=[{"name": "a"}])
    suite.create()
    rerun = suite.rerun(session, "ERROR", error_message="timeout")
    for field in ("revision", "ref_type", "ref_name", "created_by"):
        assert rerun[field] == session[field]
    assert (rerun["relative_id"], rerun["status"], rerun["error_message"]) == (3, "ERROR", "timeout")
    assert rerun["id"] != session["id"]
    assert suite.sessions[0] == rerun


CHANGES: dict[str, Callable[[FakeSuite, Any], object]] = {
    "add_cases": lambda suite, session: suite.add_cases(session, [{"name": "a"}]),
    "cases": lambda suite, session: suite.cases(session),
    "delete": lambda suite, session: suite.delete(session),
    "finish": lambda suite, session: suite.finish(session),
    "rerun": lambda suite, session: suite.rerun(session),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_session_or_its_id(suite: FakeSuite, change: Callable[[FakeSuite, Any], object]) -> None:
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
def test_wrong_field_is_rejected(suite: FakeSuite, fields: dict[str, Any], message: str) -> None:
    session = suite.create()
    for change in (suite.create, lambda **given: suite.finish(session, **given)):
        with pytest.raises(TypeError, match=re.escape(message)):
            change(**fields)
    assert suite.sessions == [session]
    assert suite.cases(session) == []


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
        finished = suite.finish(session, "ERROR", duration=12, finish_date="2030-01-01T00:00:00Z", failed_count=4)
        assert (finished["duration"], finished["finish_date"]) == (12, "2030-01-01T00:00:00Z")
        assert (finished["status"], counts(finished)) == ("ERROR", (5, 4, 0, 0))

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

    def test_reopen_removes_what_finish_set(self, suite: FakeSuite) -> None:
        session = suite.create()
        suite.finish(session, "ERROR", error_message="boom")
        reopened = suite.reopen(session)
        assert reopened["status"] == "IN_PROGRESS"
        assert {"finish_date", "error_message"}.isdisjoint(reopened)
        assert suite.reopen(session) == reopened


class TestCases:
    @pytest.mark.parametrize(
        ("statuses", "status", "numbers"),
        [
            (["PASSED", "PASSED"], "SUCCESSFUL", (2, 0, 0, 0)),
            (["PASSED", "SKIPPED"], "SUCCESSFUL", (2, 0, 1, 0)),
            (["SKIPPED", "SKIPPED"], "SKIPPED", (2, 0, 2, 0)),
            (["PASSED", "FAILED", "FAILED"], "ERROR", (3, 2, 0, 0)),
            (["SKIPPED", "ERROR"], "ERROR", (2, 0, 1, 1)),
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


class TestData:
    def report(self, suite: FakeSuite, **fields: Any) -> ET.Element:
        session = suite.create(cases=[{"name": "t", **fields}])
        return ET.fromstring(suite.case(session, suite.cases(session)[0]["id"])["data"])

    @pytest.mark.parametrize(
        ("fields", "tag", "message", "error_type", "text"),
        [
            ({"status": "FAILED", "message": '<5 & "6">\n¼'}, "failure", '<5 & "6">\n¼', "AssertionError", None),
            ({"status": "ERROR", "message": "boom"}, "error", "boom", "RuntimeError", None),
            (
                {"status": "FAILED", "message": "boom", "type": "E", "text": "line 1\n"},
                "failure",
                "boom",
                "E",
                "line 1\n",
            ),
        ],
        ids=["failed", "error", "text"],
    )
    def test_failure_has_the_given_values(
        self,
        suite: FakeSuite,
        fields: dict[str, Any],
        tag: str,
        message: str | None,
        error_type: str | None,
        text: str | None,
    ) -> None:
        (child,) = self.report(suite, **fields)
        assert (child.tag, child.get("message"), child.get("type")) == (tag, message, error_type)
        if text is None:  # a plausible one
            assert (child.text or "").startswith("Traceback (most recent call last):\n")
            assert (child.text or "").endswith(f"{error_type}: {message}\n")
        else:
            assert (child.text or "") == text

    def test_characters_that_xml_cannot_hold_are_replaced(self, suite: FakeSuite) -> None:
        root = self.report(
            suite, name="a\x00\ud800\uffff😀\t", status="ERROR", message="\x1b[31m", text="\x08", time=None
        )
        assert root.attrib == {"name": "a\ufffd\ufffd\ufffd😀\t", "classname": "CartTest"}
        assert (root[0].get("message"), root[0].text) == ("\ufffd[31m", "\ufffd")


def test_returned_values_are_copies(suite: FakeSuite) -> None:
    session = suite.create(cases=[{"name": "t", "data": "<x/>"}])
    before = suite.sessions, suite.cases(session), suite.case(session, suite.cases(session)[0]["id"])
    for copy in (session, suite.sessions[0], suite.cases(session)[0], suite.case(session, before[1][0]["id"])):
        copy["status"] = "nonsense"
    assert (suite.sessions, suite.cases(session), suite.case(session, before[1][0]["id"])) == before


def test_no_change_of_another_thread_is_lost(suite: FakeSuite) -> None:
    session, interval = suite.create(), sys.getswitchinterval()

    def change(thread: int) -> None:
        for number in range(200):
            suite.add_cases(session, [{"name": f"{thread}-{number % 50}"}])
            suite.finish(session)
            suite.reopen(session)
            suite.create()
            suite.populate(1)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(change, range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert suite.sessions[-1]["tests_count"] == len(suite.cases(session)) == 200
    assert [each["relative_id"] for each in suite.sessions] == list(range(1601, 0, -1))
