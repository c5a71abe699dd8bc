from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import CIProvider, ConfigError, Cursor, RefType, Session, SessionStatus, SuiteKey


def session(**fields: Any) -> Session:
    return Session(**{"id": "YDnagwGk", "relative_id": 2, "status": SessionStatus.SUCCESSFUL, **fields})


@pytest.mark.parametrize("enum", [SessionStatus, CIProvider, RefType])
def test_an_unknown_value_is_kept_verbatim_and_behaves_as_its_string(enum: Any) -> None:
    value: Any = enum("SOMETHING_NEW")
    assert value.value == value.name == str(value) == "SOMETHING_NEW"
    assert {value: 1}["SOMETHING_NEW"] == 1
    assert value == "SOMETHING_NEW"
    assert isinstance(value, enum)
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == enum("SOMETHING_NEW")
    assert "SOMETHING_NEW" not in list(enum)


@pytest.mark.parametrize("enum", [SessionStatus, CIProvider, RefType])
def test_a_known_value_is_its_member(enum: Any) -> None:
    for member in enum:
        assert enum(str(member)) is member
        assert hash(member) == hash(str(member))


def test_only_text_is_an_enum_value() -> None:
    with pytest.raises(ValueError, match="7"):
        SessionStatus(7)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("status", "finish_date", "finished"),
    [
        ("SUCCESSFUL", None, True),
        ("ERROR", None, True),
        ("SKIPPED", None, True),
        ("IN_PROGRESS", None, False),
        ("IN_PROGRESS", datetime(2025, 1, 1, tzinfo=UTC), False),
        ("QUEUED", None, False),
        ("TIMED_OUT", datetime(2025, 1, 1, tzinfo=UTC), True),
    ],
)
def test_a_session_is_finished_by_its_status_or_if_that_is_unknown_by_its_date(
    status: str, finish_date: datetime | None, finished: bool
) -> None:
    assert session(status=SessionStatus(status), finish_date=finish_date).finished is finished


COUNTS = {"tests_count": 10, "failed_count": 2, "skipped_count": 1, "error_count": 3}


def test_passed_tests_are_those_that_did_nothing_else() -> None:
    assert session(**COUNTS).passed_count == 4


@pytest.mark.parametrize("missing", COUNTS)
def test_a_missing_count_is_never_made_up(missing: str) -> None:
    assert session(**COUNTS | {missing: None}).passed_count is None


def test_counts_that_do_not_add_up_give_no_passed_count() -> None:
    assert session(**COUNTS | {"tests_count": 5}).passed_count is None


def test_models_are_frozen_and_compare_by_value() -> None:
    one = session()
    assert one == session()
    assert len({one, session()}) == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.id = "other"  # type: ignore[misc]  # on purpose


names = st.text(min_size=1).filter(lambda text: "/" not in text)


@given(names, names, names)
def test_a_key_reads_back_from_its_text(workspace: str, project: str, suite_id: str) -> None:
    key = SuiteKey(workspace, project, suite_id)
    assert SuiteKey.parse(str(key)) == key


@pytest.mark.parametrize("text", ["", "a", "a/b", "a/b/c/d", "a//c", "/b/c", "a/b/", None, 7])
def test_what_is_no_key_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="workspace/project/suite_id"):
        SuiteKey.parse(text)


@given(st.integers(1, 2**53), st.integers(0, 2**53))
def test_a_cursor_reads_back_from_its_text(below: int, place: int) -> None:
    cursor = Cursor(below, place)
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize("text", ["", "1", "@", "0@0", "1@", "1@-1", "01@2", "1@2 ", "1@٣", "9" * 30 + "@1", None])
def test_what_is_no_cursor_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="cursor"):
        Cursor.parse(text)
