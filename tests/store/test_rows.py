"""Sessions as rows of the table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from buddy_sessions import DecodeError, Session
from buddy_sessions._decoding.converter import session_from_dict
from buddy_sessions.store.rows import FIELDS, Members, Row, from_sql, to_rows, to_session, to_sql
from helpers.session_json import FULL_MEMBER, FULL_SESSION, MINIMAL_SESSION

SURROGATE = "half \ud83d a pair"


def to_row(session: Session) -> Row:
    (row,) = to_rows([session])
    return row


def row_with(**values: Any) -> list[Any]:
    """Return the row of a session with these values."""
    row = dict(zip(FIELDS, to_row(session_from_dict(MINIMAL_SESSION)), strict=True))
    return list((row | values).values())


def test_row_has_the_values_of_the_api() -> None:
    values = dict(zip(FIELDS, to_row(session_from_dict(FULL_SESSION)), strict=True))
    assert values["status"] == "SUCCESSFUL"
    assert values["create_date"] == "2025-10-21T06:42:16Z"
    assert json.loads(values["created_by"]) == FULL_MEMBER
    assert values["duration"] == FULL_SESSION["duration"]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        ("text", "text"),
        ("Zażółć 🙂", "Zażółć 🙂"),
        (SURROGATE, b"half \xed\xa0\xbd a pair"),
    ],
)
def test_text_is_loaded_as_it_was_stored(value: str | None, stored: object) -> None:
    assert to_sql(value) == stored
    assert from_sql(stored) == value


def test_rows_are_those_of_each_session() -> None:
    documents = (FULL_SESSION, MINIMAL_SESSION, {**FULL_SESSION, "created_by": {**FULL_MEMBER, "id": 2}})
    sessions = [session_from_dict(document) for document in documents]
    assert to_rows(sessions) == [to_row(session) for session in sessions]
    assert to_rows([]) == []


def test_sessions_of_one_member_share_it() -> None:
    members: Members = {}
    loaded = [to_session(row, members) for row in to_rows([session_from_dict(FULL_SESSION)] * 2)]
    assert loaded[0] == session_from_dict(FULL_SESSION)
    assert loaded[0].created_by is loaded[1].created_by


@pytest.mark.parametrize(
    "values",
    [{"tests_count": "many"}, {"create_date": "yesterday"}, {"created_by": "7"}, {"created_by": "{"}, {"id": b"\xff"}],
    ids=["number", "time", "member", "JSON", "text"],
)
def test_invalid_row_is_rejected(values: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        to_session(row_with(**values), {})
