"""Sessions and test cases as rows of the tables `sessions` and `cases`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from .._decoding.converter import case_from_dict, session_from_dict, to_dict
from .._decoding.hooks import unstructure_time
from ..models import Member, Session, TestCase
from .evidence import Row

FIELDS = tuple(field.name for field in attrs.fields(Session))
"""The columns of a row of `sessions`, in this order."""

CASE_FIELDS = tuple(field.name for field in attrs.fields(TestCase) if field.name != "failure")
"""The columns of a row of `cases`, in this order. The failure is read from `data`."""


def to_row(session: Session, members: dict[Member, str]) -> Row:
    """Return the row of a session.

    Args:
        session: The session.
        members: The JSON of members, which this function reads and extends: a page repeats few members many times.
    """
    return (
        to_sql(session.id),
        session.relative_id,
        to_sql(session.status.value),
        to_sql(session.url),
        to_sql(session.html_url),
        _time(session.create_date),
        _time(session.start_date),
        _time(session.finish_date),
        _member(session.created_by, members),
        _enum(session.ci_provider),
        to_sql(session.ci_run_url),
        to_sql(session.revision),
        _enum(session.ref_type),
        to_sql(session.ref_name),
        to_sql(session.execution_id),
        to_sql(session.action_execution_id),
        to_sql(session.error_message),
        session.duration,
        session.tests_count,
        session.failed_count,
        session.skipped_count,
        session.error_count,
    )


def to_session(row: Sequence[Any]) -> Session:
    """Return the session of a row.

    Raises:
        DecodeError: A value of the row is not valid.
        ValueError: A value of the row is not valid JSON or text.
    """
    fields = dict(zip(FIELDS, map(from_sql, row), strict=True))
    if fields["created_by"] is not None:
        fields["created_by"] = json.loads(fields["created_by"])
    return session_from_dict(fields)


def to_case_row(case: TestCase) -> Row:
    """Return the row of a test case."""
    return (
        to_sql(case.id),
        to_sql(case.name),
        to_sql(case.status.value),
        to_sql(case.url),
        to_sql(case.html_url),
        to_sql(case.test_group_name),
        to_sql(case.test_group_id),
        to_sql(case.classname),
        case.time,
        to_sql(case.data),
    )


def to_case(row: Sequence[Any]) -> TestCase:
    """Return the test case of a row.

    Raises:
        DecodeError: A value of the row is not valid.
    """
    return case_from_dict(dict(zip(CASE_FIELDS, map(from_sql, row), strict=True)))


def to_sql(text: str | None) -> str | bytes | None:
    """Return a text as it is stored: with a lone surrogate, which SQLite does not accept, as a blob."""
    if text is not None and not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode(errors="surrogatepass")
    return text


def from_sql(value: Any) -> Any:
    """Return a stored value; a blob is text with a lone surrogate."""
    return value.decode(errors="surrogatepass") if type(value) is bytes else value


def _time(time: datetime | None) -> str | None:
    return None if time is None else unstructure_time(time)


def _enum(member: StrEnum | None) -> str | bytes | None:
    return None if member is None else to_sql(member.value)


def _member(member: Member | None, members: dict[Member, str]) -> str | None:
    if member is None:
        return None
    if member not in members:
        members[member] = json.dumps(to_dict(member))
    return members[member]
