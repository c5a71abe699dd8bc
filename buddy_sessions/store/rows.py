"""Sessions as rows of the table `sessions`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs

from .._decoding.converter import session_from_dict, to_dict
from ..models import Session
from .evidence import Row

FIELDS = tuple(field.name for field in attrs.fields(Session))
"""The columns of a row, in this order."""


def to_row(session: Session) -> Row:
    """Return the row of a session."""
    return tuple(map(to_sql, to_dict(session).values()))


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


def to_sql(value: Any) -> Any:
    """Return a JSON value as it is stored: an object as JSON, text with a lone surrogate as a blob."""
    if type(value) is dict:
        return json.dumps(value)
    if type(value) is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode(errors="surrogatepass")
    return value


def from_sql(value: Any) -> Any:
    """Return a stored value; a blob is text with a lone surrogate."""
    return value.decode(errors="surrogatepass") if type(value) is bytes else value
