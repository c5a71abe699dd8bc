"""Sessions as rows of the database, and values as they are stored."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from .._decoding.converter import session_from_dict, to_dict
from .._decoding.hooks import unstructure_time
from ..errors import DecodeError
from ..models import Member, Session
from .schema import FIELDS

_T = TypeVar("_T")

_get_fields = attrgetter(*FIELDS)

Row = tuple[Any, ...]
"""The values of a session as they are stored, in the order of the columns."""

Members = dict[str | None, Member | None]
"""Members by their JSON."""


def to_rows(sessions: Iterable[Session]) -> list[Row]:
    """Return the rows of sessions. These repeat few members, each of which is converted once."""
    member_to_sql = cache(_member_to_sql)
    return [
        tuple(
            member_to_sql(value) if isinstance(value, Member) else _value_to_sql(value)
            for value in _get_fields(session)
        )
        for session in sessions
    ]


def to_session(row: Sequence[Any], members: Members) -> Session:
    """Return the session of a row. Raise `DecodeError` for an invalid value.

    `members` are those of the rows before, and get the member of this one: few members create many sessions.
    """
    fields = dict(zip(FIELDS, row, strict=True))
    text = fields["created_by"]
    if text is not None:
        fields["created_by"] = members.get(text) or from_json(text)
    session = session_from_dict(fields)
    members[text] = session.created_by
    return session


def to_session_from(row: sqlite3.Row, members: Members) -> Session:
    """Return the session of a row that contains `SESSION_COLUMNS`, as `to_session` does."""
    return to_session([row[name] for name in FIELDS], members)


def from_json(text: Any) -> Any:
    """Return the value of a stored JSON text. Raises `DecodeError` if it is not valid."""
    return convert(json.loads, text)


def to_time(text: Any) -> datetime | None:
    """Return a stored time in UTC; None for null. Raises `DecodeError` if it is not valid."""
    return None if text is None else convert(datetime.fromisoformat, text).astimezone(UTC)


def time_to_prefix(time: datetime) -> str:
    """Return a time in whole seconds as a text that sorts before each stored time that is not earlier."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def convert(function: Callable[[Any], _T], value: Any) -> _T:
    """Convert a stored value, which another program may have changed."""
    try:
        return function(value)
    except (TypeError, ValueError) as error:
        raise DecodeError(f"{value!r}: {error}") from error


def _value_to_sql(value: Any) -> Any:
    """Return the value of a field as it is stored."""
    if isinstance(value, str):
        return str(value)
    return unstructure_time(value) if isinstance(value, datetime) else value


def _member_to_sql(member: Member) -> str:
    return json.dumps(to_dict(member))
