"""Sessions and test cases as rows: values by the API's field names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any, TypeAlias

import attrs

from .._decoding.converter import to_dict
from .._decoding.hooks import unstructure_time
from ..models import Failure, Member, Session, SuiteKey, TestCase

Row: TypeAlias = Mapping[str, Any]
"""Values by column name: JSON values, enums, and times in UTC."""

SESSION_COLUMNS = tuple(field.name for field in attrs.fields(Session))
KEYED_SESSION_COLUMNS = (*SuiteKey._fields, *SESSION_COLUMNS)
CASE_COLUMNS = tuple(field.name for field in attrs.fields(TestCase) if field.name != "data")

_MEMBER_COLUMNS = tuple(field.name for field in attrs.fields(Member))
_NESTED = {"created_by": _MEMBER_COLUMNS, "failure": tuple(field.name for field in attrs.fields(Failure))}
"""The fields of the objects in a row."""
_session_values, _member_values = attrgetter(*SESSION_COLUMNS), attrgetter(*_MEMBER_COLUMNS)


class FlatColumns:
    """The columns of rows without objects: `created_by` becomes `created_by_id` and so on.

    Attributes:
        names: The names of the flat columns.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        nested = [[f"{name}_{field}" for field in _NESTED[name]] if name in _NESTED else [name] for name in columns]
        self.names = list(chain.from_iterable(nested))
        self._columns = columns
        self._nested = [(index, _NESTED[name]) for index, name in enumerate(columns) if name in _NESTED][::-1]

    def values(self, row: Row) -> list[Any]:
        """Return the values of a row. Enums and times are texts."""
        msgspec = find_msgspec()
        values = [row[name] for name in self._columns]
        values = list(map(_convert, values)) if msgspec is None else msgspec.to_builtins(values)
        for index, fields in self._nested:
            members = values[index] or {}
            values[index : index + 1] = [members.get(field) for field in fields]
        return values


@cache
def find_msgspec() -> Any:
    """Return the module msgspec, which converts values faster; None if it is not installed."""
    try:
        import msgspec  # noqa: PLC0415 - optional, and too slow to import before the first row
    except ImportError:
        return None
    return msgspec


def _convert(value: Any) -> Any:
    """Return a value of a row as a value of JSON."""
    if isinstance(value, str):
        return str(value)  # also an enum
    return unstructure_time(value) if isinstance(value, datetime) else value


_FLAT_SESSION, _FLAT_CASE = FlatColumns(SESSION_COLUMNS), FlatColumns(CASE_COLUMNS)


def to_row(model: Session | TestCase) -> dict[str, str | float | None]:
    """Return a session or a test case as flat values, such as for `csv.DictWriter`: texts, numbers and None.

    The fields of an object are columns of their own: `created_by_name`, `failure_message`. Times are ISO 8601 texts in
    UTC. `data` of a test case is left out.
    """
    if isinstance(model, Session):
        return dict(zip(_FLAT_SESSION.names, _FLAT_SESSION.values(session_row(model)), strict=True))
    return dict(zip(_FLAT_CASE.names, _FLAT_CASE.values(case_row(model)), strict=True))


def suite_names(suite: SuiteKey) -> dict[str, Any]:
    """Return the beginning of a row: the key of its suite, which is only in JSON lines, and the names in the key."""
    return {"key": str(suite), **suite._asdict()}


def session_row(session: Session) -> dict[str, Any]:
    """Return a session as a row, several times as fast as `to_dict`."""
    row = dict(zip(SESSION_COLUMNS, _session_values(session), strict=True))
    member = session.created_by
    if member is not None:
        row["created_by"] = dict(zip(_MEMBER_COLUMNS, _member_values(member), strict=True))
    return row


def keyed_rows(suite: SuiteKey, sessions: Iterable[Session]) -> Iterator[Row]:
    """Yield sessions of a suite as rows that begin with the names of the suite."""
    names = suite_names(suite)
    for session in sessions:
        yield {**names, **session_row(session)}


def case_row(case: TestCase) -> dict[str, Any]:
    """Return a test case as a row, without its `data`."""
    row = to_dict(case)
    del row["data"]
    return row
