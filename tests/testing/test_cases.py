"""`FakeSuite`: the test cases that a test lists, and the sessions that follow from them."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from buddy_sessions.testing import FakeSuite

FIELDS = [
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
    return [(case["name"], case["status"]) for case in suite.cases(session["id"])]


def report(suite: FakeSuite, **fields: Any) -> ET.Element:
    """Return the JUnit XML of a test case with these fields."""
    session = suite.create(cases=[{"name": "t", **fields}])
    (case,) = suite.cases(session["id"])
    return ET.fromstring(suite.case(session["id"], case["id"])["data"])


class TestFields:
    def test_case_has_the_documented_fields(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "adds_discount"}])
        (case,) = suite.cases(session["id"])
        assert list(case) == FIELDS
        assert list(suite.case(session["id"], case["id"])) == [*FIELDS, "data"]

    def test_case_has_realistic_values(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "adds_discount"}])
        (case,) = suite.cases(session["id"])
        assert case["url"] == f"{session['url']}/test-groups/{case['test_group_id']}/cases/{case['id']}"
        assert case["html_url"] == session["html_url"]
        assert re.fullmatch("[0-9a-f]{24}", case["id"])
        assert re.fullmatch("[0-9a-f]{24}", case["test_group_id"])
        assert case["test_group_name"] == "tests/cart/test_total.py"
        assert (case["classname"], case["status"], case["time"]) == ("CartTest", "PASSED", 0.1)

    def test_given_fields_are_kept(self, suite: FakeSuite) -> None:
        given = {
            "is_new": True,
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
        session = suite.create(cases=[given])
        case = suite.case(session["id"], "7")
        assert case == given
        assert list(case) == [*FIELDS, "data", "is_new"]

    def test_ids_in_urls_are_percent_encoded(self, suite: FakeSuite) -> None:
        session = suite.create(id="a/b", cases=[{"name": "t", "id": "é?", "test_group_id": ".."}])
        (case,) = suite.cases("a/b")
        assert session["url"] == f"{suite.url}/sessions/a%2Fb"
        assert session["html_url"] == f"{suite.html_url}/a%2Fb"
        assert case["url"] == f"{suite.url}/sessions/a%2Fb/test-groups/%2E%2E/cases/%C3%A9%3F"

    def test_same_test_has_other_ids_in_another_session(self, suite: FakeSuite) -> None:
        sessions = [suite.create(cases=[{"name": "t"}]) for _ in range(2)]
        first, second = (suite.cases(session["id"])[0] for session in sessions)
        assert first["name"] == second["name"]
        assert first["id"] != second["id"]
        assert first["test_group_id"] != second["test_group_id"]

    def test_case_without_a_name_is_rejected(self, suite: FakeSuite) -> None:
        with pytest.raises(ValueError, match=r"needs a name: \{'status': 'FAILED'\}"):
            suite.create(cases=[{"name": "t"}, {"status": "FAILED"}])
        assert suite.sessions == []
        session = suite.create(cases=[{"name": "t"}])
        with pytest.raises(ValueError, match="needs a name"):
            suite.add_cases(session["id"], [{"name": "u"}, {}])
        assert outcomes(suite, session) == [("t", "PASSED")]

    def test_given_cases_are_not_changed(self, suite: FakeSuite) -> None:
        given = {"name": "t", "status": "FAILED", "message": "boom"}
        session = suite.create(cases=[given])
        assert given == {"name": "t", "status": "FAILED", "message": "boom"}
        assert "message" not in suite.cases(session["id"])[0]


class TestSession:
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
        cases = [{"name": f"t{number}", "status": each} for number, each in enumerate(statuses)]
        session = suite.create(cases=cases)
        assert (session["status"], counts(session)) == (status, numbers)
        assert [each for _, each in outcomes(suite, session)] == statuses

    def test_given_status_and_counts_are_kept(self, suite: FakeSuite) -> None:
        session = suite.create(
            "dev", "IN_PROGRESS", cases=(case for case in [{"name": "t", "status": "FAILED"}]), tests_count=9
        )
        assert (session["ref_name"], session["status"]) == ("dev", "IN_PROGRESS")
        assert counts(session) == (9, 1, 0, 0)

    def test_fields_keep_the_documented_order(self, suite: FakeSuite) -> None:
        assert list(suite.create(cases=[{"name": "t"}])) == list(suite.create())

    def test_unknown_session_is_rejected(self, suite: FakeSuite) -> None:
        for read in (
            suite.cases,
            suite.test_groups,
            lambda name: suite.case(name, "c"),
            lambda name: suite.add_cases(name, []),
        ):
            with pytest.raises(KeyError, match="acme/shop/MNbyVedg has no session 'nope'"):
                read("nope")

    def test_unknown_case_is_rejected(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "t"}])
        with pytest.raises(KeyError, match="nope"):
            suite.case(session["id"], "nope")

    def test_deleted_session_has_no_cases(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "t"}])
        suite.delete(session["id"])
        with pytest.raises(KeyError):
            suite.cases(session["id"])
        assert suite.cases(suite.create(id=session["id"])["id"]) == []

    def test_returned_cases_are_copies(self, suite: FakeSuite) -> None:
        listed = suite.create(cases=[{"name": "t", "data": "<x/>"}])
        for session in (listed, suite.create(status="SUCCESSFUL", tests_count=1)):
            (case,) = suite.cases(session["id"])
            before = dict(case)
            for copy in (case, suite.case(session["id"], case["id"]), suite.test_groups(session["id"])[0]):
                copy["status"] = "nonsense"
            assert suite.cases(session["id"]) == [before]

    def test_snapshot_keeps_the_cases(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "t"}])
        (stored,) = suite.snapshot()
        suite.add_cases(session["id"], [{"name": "u"}])
        suite.delete(session["id"])
        assert [case["name"] for case in stored.cases()] == ["t"]
        assert len(stored) == len(session)
        assert dict(stored) == session


class TestData:
    def test_passed(self, suite: FakeSuite) -> None:
        root = report(suite, classname="CartTest", time=2.5)
        assert (root.tag, root.attrib) == ("testcase", {"name": "t", "classname": "CartTest", "time": "2.5"})
        assert len(root) == 0

    @pytest.mark.parametrize(
        ("status", "tag", "error_type"),
        [("FAILED", "failure", "AssertionError"), ("ERROR", "error", "RuntimeError"), ("SKIPPED", "skipped", None)],
    )
    def test_message_is_kept(self, suite: FakeSuite, status: str, tag: str, error_type: str | None) -> None:
        (child,) = report(suite, status=status, message='<5 & "6">\n¼')
        assert (child.tag, child.get("message"), child.get("type")) == (tag, '<5 & "6">\n¼', error_type)
        if error_type:
            assert (child.text or "").startswith("Traceback (most recent call last):\n")
            assert (child.text or "").endswith(f'{error_type}: <5 & "6">\n¼\n')
        else:
            assert child.text is None

    def test_type_and_text_are_kept(self, suite: FakeSuite) -> None:
        (child,) = report(suite, status="FAILED", message="boom", type="shop.Error", text="at line 1\n")
        assert (child.attrib, child.text) == ({"message": "boom", "type": "shop.Error"}, "at line 1\n")
        (child,) = report(suite, status="FAILED", type="shop.Error")
        assert child.attrib == {"type": "shop.Error"}
        assert (child.text or "").endswith("\nshop.Error\n")
        (child,) = report(suite, status="FAILED", message=None, type=None, text=None)
        assert (child.attrib, child.text) == ({}, None)

    def test_failure_is_realistic_by_default(self, suite: FakeSuite) -> None:
        (failure,) = report(suite, status="FAILED")
        assert failure.get("message")
        assert (failure.text or "").endswith(f"{failure.get('type')}: {failure.get('message')}\n")
        (skipped,) = report(suite, status="SKIPPED")
        assert skipped.get("message")

    @pytest.mark.parametrize("status", ["PASSED", "QUARANTINED"])
    def test_other_statuses_have_no_failure(self, suite: FakeSuite, status: str) -> None:
        assert len(report(suite, status=status)) == 0
        assert len(report(suite, status=status, message="boom")) == 0

    def test_characters_that_xml_cannot_hold_are_replaced(self, suite: FakeSuite) -> None:
        (child,) = root = report(suite, name="a\x00\ud800\uffff😀\t", status="ERROR", message="\x1b[31m", text="\x08")
        assert root.get("name") == "a\ufffd\ufffd\ufffd😀\t"
        assert (child.get("message"), child.text) == ("\ufffd[31m", "\ufffd")

    def test_names_that_are_no_unicode(self, suite: FakeSuite) -> None:
        session = suite.create(id="\ud800", cases=[{"name": "\ud800", "status": "FAILED"}])
        (case,) = suite.cases(session["id"])
        assert ET.fromstring(suite.case(session["id"], case["id"])["data"]).get("name") == "\ufffd"
        assert len(suite.cases(suite.create(id="\udfff", tests_count=3)["id"])) == 3

    def test_null_attributes_are_left_out(self, suite: FakeSuite) -> None:
        assert report(suite, classname=None, time=None).attrib == {"name": "t"}


class TestAddCases:
    def test_case_is_added_or_replaced(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "a"}, {"name": "b", "status": "FAILED"}], status="IN_PROGRESS")
        changed = suite.add_cases(session["id"], [{"name": "a", "status": "ERROR", "time": 3.0}, {"name": "c"}])
        assert outcomes(suite, session) == [("a", "ERROR"), ("b", "FAILED"), ("c", "PASSED")]
        assert changed == suite.sessions[0] == {**session, "tests_count": 3, "error_count": 1}
        assert suite.cases(session["id"], status="ERROR")[0]["time"] == 3.0

    def test_case_of_another_group_or_class_is_another_test(self, suite: FakeSuite) -> None:
        session = suite.create()
        cases = [{"name": "a"}, {"name": "a", "classname": "B"}, {"name": "a", "test_group_name": "c"}]
        assert suite.add_cases(session["id"], cases)["tests_count"] == 3

    def test_given_id_decides(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[{"name": "a", "id": "1"}, {"name": "a", "id": "2"}])
        assert session["tests_count"] == 2
        suite.add_cases(session["id"], [{"name": "b", "id": "2"}, {"name": "c", "id": "3"}, {"name": "d", "id": "3"}])
        assert [case["name"] for case in suite.cases(session["id"])] == ["a", "b", "d"]

    def test_running_session_stays_in_progress_until_finish(self, suite: FakeSuite) -> None:
        session = suite.create()
        assert suite.cases(session["id"]) == []
        running = suite.add_cases(session["id"], [{"name": "a"}, {"name": "b", "status": "FAILED", "message": "boom"}])
        assert (running["status"], counts(running)) == ("IN_PROGRESS", (2, 1, 0, 0))
        finished = suite.finish(session["id"])
        assert (finished["status"], counts(finished)) == ("ERROR", (2, 1, 0, 0))
        suite.reopen(session["id"])
        suite.add_cases(session["id"], [{"name": "b"}])
        finished = suite.finish(session["id"])
        assert (finished["status"], counts(finished)) == ("SUCCESSFUL", (2, 0, 0, 0))

    def test_finish_keeps_a_given_status(self, suite: FakeSuite) -> None:
        session = suite.create(status="IN_PROGRESS", cases=[{"name": "a"}])
        finished = suite.finish(session["id"], "ERROR", error_message="timeout", failed_count=4)
        assert (finished["status"], counts(finished)) == ("ERROR", (1, 4, 0, 0))
        assert outcomes(suite, session) == [("a", "PASSED")]

    def test_finish_invents_no_cases_for_an_empty_list(self, suite: FakeSuite) -> None:
        session = suite.create(cases=[])
        finished = suite.finish(session["id"])
        assert (finished["status"], counts(finished)) == ("SUCCESSFUL", (0, 0, 0, 0))
        assert suite.cases(session["id"]) == []

    def test_generated_cases_are_kept(self, suite: FakeSuite) -> None:
        session = suite.create(status="ERROR", tests_count=20, failed_count=2)
        before = suite.cases(session["id"])
        (fixed, broken) = suite.cases(session["id"], status="FAILED")
        names = {name: fixed[name] for name in ("name", "classname", "test_group_name")}
        data = suite.case(session["id"], broken["id"])["data"]
        changed = suite.add_cases(session["id"], [{**names, "time": 1.0}, {"name": "new"}])
        assert counts(changed) == (21, 1, 0, 0)
        after = suite.cases(session["id"])
        assert [case for case in after if case not in before] == [{**fixed, "status": "PASSED", "time": 1.0}, after[-1]]
        assert suite.case(session["id"], broken["id"])["data"] == data

    def test_no_case_of_another_thread_is_lost(self, suite: FakeSuite) -> None:
        session_id = suite.create()["id"]

        def add(thread: int) -> None:
            for number in range(50):
                suite.add_cases(session_id, [{"name": f"{thread}-{number}"}])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add, range(4)))
        assert suite.sessions[0]["tests_count"] == len(suite.cases(session_id)) == 200


def test_groups_add_up(suite: FakeSuite) -> None:
    def case(group: str, name: str, status: str = "PASSED", time: float | None = 0.25) -> dict[str, Any]:
        return {"name": name, "test_group_name": group, "status": status, "time": time}

    session = suite.create(
        cases=[
            *(case("a", "1", time=0.1), case("b", "1", "FAILED"), case("a", "2", "SKIPPED", 0)),
            *(
                case("c", "1", "FAILED", None),
                case("c", "2", "ERROR"),
                case("d", "1", "SKIPPED"),
                case("a", "3", time=0.2),
            ),
        ]
    )
    groups = suite.test_groups(session["id"])
    assert [(group["name"], group["status"], group["time"], *counts(group)) for group in groups] == [
        ("a", "PASSED", 0.3, 3, 0, 1, 0),
        ("b", "FAILED", 0.25, 1, 1, 0, 0),
        ("c", "ERROR", 0.25, 2, 1, 0, 1),
        ("d", "SKIPPED", 0.25, 1, 0, 1, 0),
    ]
    ids = {case["test_group_name"]: case["test_group_id"] for case in suite.cases(session["id"])}
    assert {group["name"]: group["id"] for group in groups} == ids
    assert json.loads(json.dumps(groups)) == groups
