"""`FakeSuite`: changes to its sessions and their test cases."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from buddy_sessions import Session
from buddy_sessions.testing import FakeSuite
from buddy_sessions.testing.random_history import Runner

UNTIL = datetime(2026, 1, 30, 15, 0, tzinfo=UTC)


@pytest.fixture
def suite() -> FakeSuite:
    return FakeSuite("acme", "shop", "MNbyVedg")


def test_relative_id_follows_the_highest_one(suite: FakeSuite) -> None:
    assert [suite.create(relative_id=each)["relative_id"] for each in (41, 7, None)] == [41, 7, None]
    assert suite.create()["relative_id"] == 42
    assert repr(suite) == "<FakeSuite acme/shop/MNbyVedg with 4 sessions>"


def test_duplicate_id_is_rejected(suite: FakeSuite) -> None:
    suite.create(id="YDnagwGk")
    with pytest.raises(ValueError, match="acme/shop/MNbyVedg already has a session 'YDnagwGk'"):
        suite.create(id="YDnagwGk")
    assert len(suite.sessions) == 1


def test_session_or_its_id(suite: FakeSuite) -> None:
    suite.delete(suite.create())
    suite.delete(suite.create()["id"])
    for unknown in ("nope", {"id": "nope"}):
        with pytest.raises(KeyError, match="acme/shop/MNbyVedg has no session 'nope'"):
            suite.delete(unknown)


@pytest.mark.parametrize("runner", ["pytest", "jest"])
def test_rerun_is_of_the_same_commit_and_run(runner: Runner) -> None:
    """On GitHub, a re-run has the URL of the first one. In Buddy, each run has an ID of its own."""
    suite = FakeSuite("acme", "shop", "MNbyVedg", runner=runner)
    first, other = suite.create(branch="fix"), suite.create()
    rerun = suite.rerun(first)
    for name in ("created_by", "ci_run_url", "revision", "ref_name"):
        assert rerun.get(name) == first.get(name)
    assert rerun["revision"] != other["revision"]
    runs = [session.get("ci_run_url") or session["execution_id"] for session in (first, other, rerun)]
    assert len(set(runs)) == (2 if runner == "jest" else 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"status": "red"}, "a session has no status 'red': use IN_PROGRESS, SUCCESSFUL, ERROR, SKIPPED, or a new one"),
        ({"cases": [{"name": "a", "status": "SUCCESSFUL"}]}, "a test case has no status 'SUCCESSFUL': use PASSED, "),
        ({"faild_count": 3}, "a session has no field 'faild_count': did you mean 'failed_count'?"),
        ({"x": 3}, "a session has no field 'x': it has url, html_url, id"),
        (
            {"create_date": datetime(2026, 1, 31, tzinfo=UTC)},
            "create_date of a session is text in the API: pass '2",
        ),
        ({"brnach": "main"}, "a session has no field 'brnach': did you mean 'branch'?"),
        ({"cases": ["a"]}, "a test case is a mapping of fields, such as {'name': 'adds'}, not 'a'"),
        ({"cases": [{"naem": "a"}]}, "a test case has no field 'naem': did you mean 'name'?"),
        ({"cases": [{"name": "a"}, {"status": "FAILED"}]}, "a test case needs a name: {'status': 'FAILED'}"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value)[:40],
)
def test_wrong_field_is_rejected(suite: FakeSuite, fields: dict[str, Any], message: str) -> None:
    session = suite.create("main", "PAUSED", cases=[{"name": "a", "status": "TIMED_OUT"}])  # Buddy adds values
    for change in (suite.create, lambda **given: suite.finish(session, **given)):
        with pytest.raises(ValueError if " status " in message else TypeError, match=re.escape(message)):
            change(**fields)
    assert suite.sessions == [session]
    assert [case["status"] for case in suite.cases(session)] == ["TIMED_OUT"]


def test_create_takes_every_field_of_a_session(suite: FakeSuite) -> None:
    fields: dict[str, Any] = dict.fromkeys(Session.__annotations__)
    assert suite.create(**fields).keys() == fields.keys()


def test_finish_sets_date_duration_and_counts(suite: FakeSuite) -> None:
    """Unless they are given."""
    started = (datetime.now(UTC) - timedelta(seconds=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
    session = suite.create(start_date=started)
    finished = suite.finish(session, "ERROR", error_message="boom")
    assert (finished["status"], finished["error_message"], finished["failed_count"]) == ("ERROR", "boom", 1)
    assert 89 <= finished["duration"] <= 100
    reopened = suite.reopen(session)
    assert {"finish_date", "error_message"}.isdisjoint(reopened)
    given: dict[str, Any] = {"duration": 12, "finish_date": "2030-01-01T00:00:00Z", "failed_count": 4}
    assert suite.finish(session, "ERROR", **given) == {**reopened, **given, "status": "ERROR"}


def test_populate_continues_the_history_until_now(suite: FakeSuite) -> None:
    suite.populate(50, until=UNTIL).populate(50)
    sessions = suite.sessions[::-1]
    assert [session["relative_id"] for session in sessions] == list(range(1, 101))
    dates = [session["create_date"] for session in sessions]
    assert dates == sorted(dates)
    assert dates[49] <= "2026-01-30T15:00:00Z"
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(dates[-1]) < timedelta(hours=1)


@pytest.mark.parametrize(
    ("count", "until", "message"),
    [
        (1, UNTIL.replace(tzinfo=None), "time zone"),
        (1, UNTIL - timedelta(days=30), "sessions up to 2026-01-30"),
        (-1, UNTIL, "count must be at least 0, not -1"),
    ],
)
def test_wrong_argument_is_rejected(suite: FakeSuite, count: int, until: datetime, message: str) -> None:
    suite.populate(1, until=UNTIL)
    with pytest.raises(ValueError, match=message):
        suite.populate(count, until=until)


def test_characters_that_xml_cannot_hold_are_replaced(suite: FakeSuite) -> None:
    session = suite.create(cases=[{"name": "t", "status": "ERROR", "message": "\x1b[31m\ud800"}])
    (child,) = ET.fromstring(suite.case(session, suite.cases(session)[0]["id"])["data"])
    assert (child.tag, child.get("message"), child.get("type")) == ("error", "\ufffd[31m\ufffd", "RuntimeError")
