from __future__ import annotations

import copy
import pickle
import re
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import (
    CIProvider,
    Cursor,
    Member,
    Project,
    RefType,
    Session,
    SessionStatus,
    Suite,
    SuiteKey,
    TestCase,
    TestKey,
    TestStatus,
)
from buddy_sessions.models import parse_session_url
from helpers.recordings import RECORDINGS, cases_of


def session(**fields: Any) -> Session:
    return Session(**{"id": "YDnagwGk", "relative_id": 2, "status": SessionStatus.SUCCESSFUL, **fields})


@pytest.mark.parametrize("model", [Member, Project, Suite, Session, TestCase])
def test_fields_are_keyword_arguments(model: Any) -> None:
    """So that a field can be added anywhere."""
    with pytest.raises(TypeError):
        model("a", "b", "c")


@pytest.mark.parametrize("enum", [SessionStatus, CIProvider, RefType, TestStatus])
def test_unknown_enum_value_is_kept(enum: Any) -> None:
    value: Any = enum("SOMETHING_NEW")
    assert value.value == value.name == str(value) == "SOMETHING_NEW"
    assert {value: 1}["SOMETHING_NEW"] == 1
    assert value == "SOMETHING_NEW"
    assert isinstance(value, enum)
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == enum("SOMETHING_NEW")
    assert "SOMETHING_NEW" not in list(enum)
    assert all(enum(str(member)) is member and hash(member) == hash(str(member)) for member in enum)
    with pytest.raises(ValueError, match="7"):
        enum(7)


@pytest.mark.parametrize(
    ("status", "finish_date", "finished", "failing"),
    [
        ("SUCCESSFUL", None, True, False),
        ("ERROR", None, True, True),
        ("SKIPPED", None, True, False),
        ("IN_PROGRESS", None, False, False),
        ("IN_PROGRESS", datetime(2025, 1, 1, tzinfo=UTC), False, False),
        ("TIMED_OUT", datetime(2025, 1, 1, tzinfo=UTC), True, False),
    ],
)
@pytest.mark.parametrize("failed_count", [None, 2])
def test_finished_and_failing(
    status: str, finish_date: datetime | None, finished: bool, failing: bool, failed_count: int | None
) -> None:
    """A session with an unknown status is finished if it has a finish date, and then red if it has failing tests."""
    one = session(status=SessionStatus(status), finish_date=finish_date, failed_count=failed_count)
    is_red = failing or (status == "TIMED_OUT" and failed_count == 2)
    assert (one.is_finished, one.is_failing) == (finished, is_red)
    assert one.has_verdict == (is_red or status == "SUCCESSFUL")


COUNTS = {"tests_count": 10, "failed_count": 2, "skipped_count": 1, "error_count": 3}


@pytest.mark.parametrize(
    ("changes", "passed"),
    [({}, 4), *(({name: None}, None) for name in COUNTS), ({"tests_count": 6}, 0), ({"tests_count": 5}, None)],
    ids=str,
)
def test_passed_count(changes: dict[str, Any], passed: int | None) -> None:
    """It is None if a count is missing, or the counts do not add up."""
    assert session(**COUNTS | changes).passed_count == passed


@pytest.mark.parametrize(
    ("failed", "errors", "failing"),
    [(1, 2, 3), (0, 0, 0), (3, None, 3), (None, 2, 2), (0, None, None), (None, 0, None), (None, None, None)],
)
def test_failing_count(failed: int | None, errors: int | None, failing: int | None) -> None:
    """It is never 0 if a count is missing."""
    assert session(failed_count=failed, error_count=errors).failing_count == failing


APP = "https://app.buddy.works"
API = "https://api.eu.buddy.works/workspaces/acme/projects/my%20shop/unit-tests/suites/MNbyVedg"


@pytest.mark.parametrize(
    ("url", "session_id"),
    [
        (f"{APP}/acme/my%20shop/unit-tests/MNbyVedg/YDnagwGk?tab=cases#top", "YDnagwGk"),
        (f"{APP}/acme/my%20shop/unit-tests/MNbyVedg/a%20b/", "a b"),
        (f"{API}/sessions/YDnagwGk/cases?page=1", "YDnagwGk"),
        (f"{API}/sessions?page=2", None),
        (f"{APP}/acme/projects/my%20shop/unit-tests/suites/MNbyVedg/sessions/YDnagwGk/cases/b", "YDnagwGk"),
        (API.replace("https://api.eu.buddy.works", "http://localhost:8080/api"), None),
    ],
)
def test_session_in_a_url(url: str, session_id: str | None) -> None:
    key = SuiteKey("acme", "my shop", "MNbyVedg")
    assert parse_session_url(url) == (key, session_id)
    assert SuiteKey.parse(url) == key


@pytest.mark.parametrize("text", ["", "a/b", "a/b/c/d", "a//c", None, APP, f"{APP}/acme/shop/unit-tests/", "https://["])
def test_text_that_is_no_suite(text: Any) -> None:
    with pytest.raises(ValueError, match=r"workspace/project/suite_id|Invalid"):
        SuiteKey.parse(text)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (TestKey("a.py", "Cart", "adds"), "a.py > Cart > adds"),
        (TestKey("t/a.js", "t/a.js", "Cart > adds"), "t/a.js > Cart > adds"),
        (TestKey("t/a.js", "t/a.js", "chromium > a.js > Cart > adds"), "t/a.js > chromium > Cart > adds"),
        (TestKey("e2e/t/a.js", "e2e/t/a.js", "t/a.js > Cart > adds"), "e2e/t/a.js > Cart > adds"),
        (TestKey("t/a.js", "t/a.js", "loads > a.js"), "t/a.js > loads > a.js"),
        (TestKey("a.js", None, "a.js"), "a.js > a.js"),
        (TestKey("pytest", "", "tests.test_broken"), "pytest > tests.test_broken"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_key_names_each_part_once(key: TestKey, text: str) -> None:
    assert str(key) == text


@pytest.mark.parametrize("recording", RECORDINGS)
def test_recorded_keys_stay_distinct_as_text(recording: str) -> None:
    keys = {case.key for case in cases_of(recording)}
    texts = {str(key) for key in keys}
    assert len(texts) == len(keys)
    for parts in (text.split(" > ") for text in texts):
        assert all(part != following for part, following in pairwise(parts))


@given(st.integers(1, 2**53), st.integers(0, 2**53))
def test_cursor_round_trip(lowest_id: int, offset: int) -> None:
    cursor = Cursor(lowest_id, offset)
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "1", "@", "0@0", "1@", "1@-1", "01@2", "1@2 ", "1@٣", "9" * 30 + "@1", None])
def test_invalid_cursor(text: Any) -> None:
    with pytest.raises(ValueError, match="cursor"):
        Cursor.parse(text)


@pytest.mark.parametrize("model", [Session, TestCase, Suite])
def test_docstring_names_every_field(model: type[attrs.AttrsInstance]) -> None:
    documented = re.findall(r"^ {4,8}(\w+): ", model.__doc__ or "", re.MULTILINE)
    assert documented == [field.name for field in attrs.fields(model)]
