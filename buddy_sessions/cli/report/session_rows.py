"""Sessions with the fields that a report needs, read from the table `sessions` of a database."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from buddy_sessions import Member, RefType, Session, SessionStatus, StoreError, SuiteKey


class SessionRow(msgspec.Struct, array_like=True, frozen=True):
    """A saved session, with the fields of `Session` that a report counts or shows."""

    id: str
    relative_id: int
    status: SessionStatus
    html_url: str | None
    create_date: datetime | None
    finish_date: datetime | None
    ref_type: RefType | None
    ref_name: str | None
    error_message: str | None
    duration: int | float | None
    tests_count: int | None
    failed_count: int | None
    skipped_count: int | None
    error_count: int | None
    created_by: Any  # a Member, which msgspec must not convert again, or None

    @property
    def is_finished(self) -> bool:
        """Whether the session has ended, as `Session.is_finished` says."""
        if self.status in {SessionStatus.SUCCESSFUL, SessionStatus.ERROR, SessionStatus.SKIPPED}:
            return True
        return self.status != SessionStatus.IN_PROGRESS and self.finish_date is not None


AnySession: TypeAlias = Session | SessionRow

_SQL = f"""
    SELECT {", ".join(SessionRow.__struct_fields__)} FROM sessions
    WHERE workspace = ? AND project = ? AND suite_id = ? AND deleted_at IS NULL ORDER BY relative_id DESC
"""  # noqa: S608 - the fields are constants


def read_sessions(connection: sqlite3.Connection, suite: SuiteKey) -> list[SessionRow]:
    """Return the saved sessions of a suite, except deleted ones, newest first.

    Several times as fast as `SessionStore.sessions`. Raises StoreError if the file cannot be read, or if it contains an
    invalid session.
    """
    try:
        rows = connection.execute(_SQL, suite).fetchall()
        # A suite has many sessions, and few members.
        members = {text: _load_member(text) for text in {row[-1] for row in rows}}
        return _convert([(*row[:-1], members[row[-1]]) for row in rows])
    except (sqlite3.Error, ValueError, msgspec.ValidationError) as error:
        raise StoreError(f"the saved sessions of {suite} cannot be read: {error}") from error


def _load_member(text: str | None) -> Member | None:
    return None if text is None else msgspec.convert(json.loads(text), Member)


def _convert(rows: list[tuple[Any, ...]]) -> list[SessionRow]:
    try:
        return msgspec.convert(rows, list[SessionRow])
    except msgspec.ValidationError:  # a store saves text with a lone surrogate as a blob
        return msgspec.convert([tuple(map(_decode, row)) for row in rows], list[SessionRow])


def _decode(value: Any) -> Any:
    return value.decode(errors="surrogatepass") if type(value) is bytes else value
