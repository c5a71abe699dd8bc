"""Removes a suite from the database."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from ..models import SuiteKey
from .file import DatabaseFile
from .suites import load_suite_row

_OF_SESSIONS = ("case_rows", "case_groups", "case_reads")
_OF_SUITE = ("session_rows", "tests")
_WITH_KEY = ("suite_rows", "watches")


def forget_suite(file: DatabaseFile, key: SuiteKey) -> None:
    """Delete all rows of a suite, in one transaction. Does nothing if there are none."""
    with file.transaction():
        number = load_suite_row(file, key).number
        for table in _OF_SESSIONS:
            file.execute(
                f"DELETE FROM {table} WHERE session IN (SELECT number FROM session_rows WHERE suite = ?)", (number,)
            )
        for table in _OF_SUITE:
            file.execute(f"DELETE FROM {table} WHERE suite = ?", (number,))
        for table in _WITH_KEY:
            file.execute(f"DELETE FROM {table} WHERE workspace = ? AND project = ? AND suite_id = ?", key)
