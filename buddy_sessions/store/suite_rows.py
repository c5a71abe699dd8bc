"""The rows of suites in the database, with their internal columns."""
# ruff: noqa: S608 - the only variable parts of the SQL are the names of the fields below

from __future__ import annotations

from typing import NamedTuple

from ..models import CaseScope, SuiteKey
from .evidence import PageChanges
from .file import DatabaseFile
from .messages import CompleteSync, PageToSave, SyncScope
from .rows import to_time


class SuiteRow(NamedTuple):
    """The internal columns of a suite. The defaults are those of a suite that is not in the database."""

    number: int | None = None
    is_synced: bool = False
    missing_since: str | None = None
    missing_by: int | None = None
    deleted_at: str | None = None
    invalidated_at: int = 0
    invalidated_by: int | None = None
    digest: bytes | None = None
    digest_after: int = 0
    digest_since: str | None = None
    digest_cases: CaseScope | None = None
    pruned_before: str | None = None
    cases_pruned_before: str | None = None

    @property
    def complete(self) -> CompleteSync | None:
        """The last sync, if it was complete and nothing has changed since; None otherwise."""
        if self.digest is None:
            return None
        scope = SyncScope(after=self.digest_after, since=to_time(self.digest_since), cases=self.digest_cases)
        return CompleteSync(self.digest, scope)

    def is_overruled(self, page: PageToSave) -> bool:
        """Whether another sync has reduced the coverage since a page was requested: then the page extends none."""
        return self.invalidated_at > page.commit and self.invalidated_by != page.sync

    def after_page(self, page: PageToSave, changes: PageChanges, *, commit: int) -> SuiteRow:
        """Return the row after a page: the suite exists, and the page may reduce coverage."""
        row = self._replace(is_synced=True, missing_since=None, missing_by=None, deleted_at=None)
        if changes.dropped or changes.to_read_again or page.withdraws_claims:
            by = None if self.is_overruled(page) else page.sync
            row = row._replace(invalidated_at=commit, invalidated_by=by)
        return row


def load_suite_row(file: DatabaseFile, key: SuiteKey) -> SuiteRow:
    """Return the row of a suite."""
    sql = f"SELECT {', '.join(SuiteRow._fields)} FROM suite_rows WHERE workspace = ? AND project = ? AND suite_id = ?"
    return SuiteRow(*file.execute(sql, key).fetchone() or ())


def last_commit(file: DatabaseFile) -> int:
    """Return the number of the last commit."""
    return file.number("SELECT number FROM commits")


def save_suite_row(file: DatabaseFile, key: SuiteKey, before: SuiteRow, after: SuiteRow) -> int:
    """Save the row of a suite if it has changed. Return its number."""
    if before.number is not None and after == before:
        return before.number
    names, values = after._fields[1:], after[1:]
    sql = f"""
        INSERT INTO suite_rows (workspace, project, suite_id, {", ".join(names)}) VALUES (?, ?, ?{", ?" * len(names)})
        ON CONFLICT (workspace, project, suite_id) DO UPDATE
        SET ({", ".join(names)}) = ({", ".join(f"excluded.{name}" for name in names)}) RETURNING number
    """
    number: int
    (number,) = file.execute(sql, (*key, *values)).fetchone()
    return number
