"""The test cases of a store: `CaseSync` reads them, and functions of the database's thread save and load them.

The saved cases of a session belong to its saved state: when a session changes, its cases are deleted, and read again by
the next sync that saves cases. Each function that saves cases is one transaction.
"""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from attrs import Factory, define, evolve

from .._api import Api, failing_statuses
from .._base.figures import Stats
from .._base.validate import validate_session
from .._base.workers import LongBodies, map_concurrently
from .._decoding.converter import case_from_dict
from ..errors import BuddyError, ConfigError, NotFoundError, ResponseError, UnstableListingError
from ..models import CaseScope, Session, SuiteKey, TestCase, TestStatus, case_ids, is_before
from .file import DatabaseFile, DatabaseThread
from .schema import CASE_SQL, CASES, IS_TEST, OF_BRANCH, OF_SUITE, SESSION_SQL, SESSIONS, SUITE_NUMBER, to_sessions
from .suites import NOT_CLEAN, SyncScope

MAX_READS = 4
"""The number of syncs that read the cases of a session if something is in doubt: the first one, and the next three."""

_log = logging.getLogger("buddy_sessions")

_IS_PRESENT = "sessions.deleted_at IS NULL AND sessions.missing_since IS NULL"
_OF_SESSION = f"{OF_SUITE} AND sessions.id = ?"
_SESSION = f"FROM session_rows WHERE suite = {SUITE_NUMBER} AND id = ?"
_KEEP_DATA = """
    UPDATE case_rows SET data = (
        SELECT data FROM case_rows AS old WHERE old.session = case_rows.session AND old.test = case_rows.test
        AND old.ordinal < 0 AND old.id IS case_rows.id AND old.test_group IS case_rows.test_group
        AND old.status IS case_rows.status
    ) WHERE session = ? AND ordinal >= 0 AND data IS NULL
"""
"""Copies the `data` of cases that were set aside to the same ones with the same status."""


@define(eq=False, repr=False)
class CaseSync:
    """Reads the cases of finished sessions."""

    api: Api
    thread: DatabaseThread
    long_bodies: LongBodies  # of all suites
    key: SuiteKey
    scope: CaseScope
    details: int
    stats: Stats = Factory(Stats)

    async def read(self, sessions: Iterable[Session]) -> None:
        """Read and save the cases of sessions, each session in one transaction. A wrong response is logged."""
        await map_concurrently(self._read_session, sessions, concurrency=self.api.max_concurrency)

    async def _read_session(self, session: Session) -> None:
        try:
            validate_session(session)
        except ConfigError as error:
            _log.warning("%s: session %r: its cases are skipped: %s", self.key, session.id, error)
            await self._save(session, [], is_complete=False, is_verified=True)
            return
        cases: list[TestCase] = []
        failure: BuddyError | None = None
        is_verified = True
        for status in self._statuses(session):
            paginator = self.api.cases(self.key, session, status=status)
            try:
                async for case in paginator:
                    cases.append(case)  # noqa: PERF401 - after an error, those before it are kept
            except (NotFoundError, ResponseError, UnstableListingError) as error:
                failure = failure or error
            finally:
                self.stats += evolve(paginator.stats, cases=0)  # they are counted once they are saved
            is_verified &= paginator.stats.verified
        unique = list({case_ids(case): case for case in cases}.values())
        if failure is not None:
            # A 404 means that the session was deleted, which is no fault.
            level = logging.INFO if isinstance(failure, NotFoundError) else logging.WARNING
            message = "%s: session %r: its cases are not saved completely, and the next sync reads them again: %s"
            _log.log(level, message, self.key, session.id, failure)
        # A case may have moved to another list meanwhile: then the lists are out of date.
        is_verified &= failure is None and len(unique) == len(cases)
        await self._save(session, unique, is_complete=failure is None, is_verified=is_verified)

    def _statuses(self, session: Session) -> Sequence[TestStatus | None]:
        """Return the statuses whose cases are requested; None for all cases."""
        if self.scope == "all":
            return [] if session.tests_count == 0 and not session.is_failing else [None]
        return failing_statuses(session)

    async def _save(self, session: Session, cases: list[TestCase], *, is_complete: bool, is_verified: bool) -> None:
        """Save the cases of a session, and count them; then read and save their details."""
        # The API has no path for a case without a group.
        failing = [ordinal for ordinal, case in enumerate(cases) if case.is_failing and case.test_group_id]
        failing = failing[: self.details]
        await self.thread.run(
            save_cases,
            *(self.key, session, self.scope, cases),
            is_complete=is_complete,
            is_verified=is_verified and not failing,
        )
        self.stats += Stats(cases=len(cases))
        read = partial(self._read_details, session, cases)
        lost = (await map_concurrently(read, failing, concurrency=self.api.max_concurrency)).count(False)
        if lost:
            message = "%s: session %r: the details of %d failing cases cannot be read: the next sync reads them again"
            _log.warning(message, self.key, session.id, lost)
        elif failing and is_verified:
            await self.thread.run(verify_cases, self.key, session, self.scope)

    async def _read_details(self, session: Session, cases: Sequence[TestCase], ordinal: int) -> bool:
        """Read and save the details of a case. Return whether that was possible. They may be long: none is kept."""
        listed = detailed = cases[ordinal]
        self.stats += Stats(requests=1)
        with self.long_bodies.track() as on_size:
            try:
                detailed = await self.api.with_details(self.key, session.id, listed, on_size=on_size)
            except ResponseError as error:
                _log.debug("%s: session %r: case %r: %s", self.key, session.id, listed.id, error)
            if detailed is listed:
                return False
            detailed = evolve(listed, data=detailed.data)
            await self.thread.run(save_details, self.key, session, ordinal, detailed)
            return True


def load_pending(file: DatabaseFile, key: SuiteKey, scope: SyncScope, *, full: bool = False) -> list[Session]:
    """Return the finished sessions in scope whose cases are to be read, newest first.

    These are the sessions whose cases were not read since the session last changed. Those whose cases are in doubt are
    read up to `MAX_READS` times. With `full`, all sessions.
    """
    sql = f"""
        SELECT {SESSION_SQL} FROM {SESSIONS} WHERE {OF_SUITE} AND {_IS_PRESENT}
        AND {OF_BRANCH} AND (? OR last_scope IS NULL OR (last_scope = 'failed' AND ? = 'all')
             OR (NOT is_verified AND (last_scope = ? OR scope IS NULL) AND reads < {MAX_READS}))
        ORDER BY relative_id DESC
    """
    rows = file.execute(sql, (*key, scope.cases_branch, full, scope.cases, scope.cases))
    return [each for each in to_sessions(rows) if each.is_finished and not is_before(each, scope.since)]


def save_cases(
    file: DatabaseFile,
    key: SuiteKey,
    session: Session,
    scope: CaseScope,
    cases: Sequence[TestCase],
    *,
    is_complete: bool,
    is_verified: bool,
) -> None:
    """Save the cases of a session.

    `is_complete`: all pages were read. `is_verified`: nothing is in doubt. Otherwise, later syncs read the cases again,
    and saved cases that this read lacks stay. The saved `data` of a case stays, if its status is the same.
    """
    with file.transaction():
        sql = f"""
            SELECT sessions.suite, sessions.number, scope, last_scope, is_verified, reads
            FROM {SESSIONS} WHERE {OF_SUITE} AND sessions.id = ?
        """
        row = file.execute(sql, (*key, session.id)).fetchone()
        # The failing cases alone do not replace all cases.
        is_narrower = row["scope"] == "all" and scope == "failed"
        before = {} if row["last_scope"] is None else _set_aside(file, row["number"])
        keeps_others, listed = is_narrower or not is_verified, {case_ids(case) for case in cases}
        others = [case for ids, case in before.items() if keeps_others and ids not in listed]
        _insert_cases(file, row["suite"], row["number"], [*cases, *others])
        if before:
            file.execute(_KEEP_DATA, (row["number"],))
            file.execute("DELETE FROM case_rows WHERE session = ? AND ordinal < 0", (row["number"],))
        file.execute("UPDATE session_rows SET position = next_position() WHERE number = ?", (row["number"],))
        if not is_narrower:
            _save_read(file, row, scope, is_complete=is_complete, is_verified=is_verified)


def save_details(file: DatabaseFile, key: SuiteKey, session: Session, ordinal: int, case: TestCase) -> None:
    """Save the `data` of a case that `save_cases` has saved with this ordinal."""
    with file.transaction():
        number = file.number(f"SELECT number {_SESSION}", (*key, session.id))
        # With the test, as in the primary key: otherwise, SQLite would read all cases of the session.
        test = f"(SELECT number FROM tests WHERE suite = {SUITE_NUMBER} AND {IS_TEST})"
        sql = f"UPDATE case_rows SET data = coalesce(?, data) WHERE session = ? AND ordinal = ? AND test = {test}"
        file.execute(sql, (case.data, number, ordinal, *key, case.name, case.classname, case.test_group_name))
        file.execute("UPDATE session_rows SET position = next_position() WHERE number = ?", (number,))


def verify_cases(file: DatabaseFile, key: SuiteKey, session: Session, scope: CaseScope) -> None:
    """Record that nothing is in doubt, now that all details are saved."""
    sql = f"UPDATE case_reads SET is_verified = TRUE WHERE last_scope = ? AND session = (SELECT number {_SESSION})"
    file.execute(sql, (scope, *key, session.id))


def _save_read(file: DatabaseFile, row: sqlite3.Row, scope: CaseScope, *, is_complete: bool, is_verified: bool) -> None:
    """Save that the cases of a session were read. `row` is what `save_cases` selects."""
    is_again = row["is_verified"] == 0 and row["last_scope"] in (scope, "all")
    last_scope = "all" if is_again and not is_complete and row["last_scope"] == "all" else scope
    file.execute(
        "INSERT OR REPLACE INTO case_reads (session, scope, last_scope, is_verified, reads) VALUES (?, ?, ?, ?, ?)",
        (
            *(row["number"], scope if is_complete else row["scope"], last_scope),
            *(is_verified, row["reads"] + 1 if is_again else 1),
        ),
    )
    if not is_verified:  # the next sync reads them again, also if it finds the same first page
        file.execute(f"UPDATE suite_rows SET {NOT_CLEAN} WHERE number = ?", (row["suite"],))


def _set_aside(file: DatabaseFile, session: int) -> dict[tuple[str | None, str], TestCase]:
    """Move the saved cases of a session to ordinals below 0. Return them by their ids, without `data`: that is long."""
    cases = _read(file, "each.session = ?", (session,), names=[name for name in CASE_SQL if name != "data"])
    file.execute("UPDATE case_rows SET ordinal = -1 - ordinal WHERE session = ?", (session,))
    file.execute("DELETE FROM case_groups WHERE session = ?", (session,))
    return {case_ids(case): case for case in cases}


def _insert_cases(file: DatabaseFile, suite: int, session: int, cases: Sequence[TestCase]) -> None:
    """Insert the cases of a session, and what is not saved yet of their tests and groups."""
    groups = {group: number for number, group in enumerate({case.test_group_id: None for case in cases})}
    file.execute_many(
        "INSERT INTO case_groups VALUES (?, ?, ?)", [(session, number, group) for group, number in groups.items()]
    )
    file.execute_many(
        """
        INSERT INTO tests (suite, name, classname, test_group_name, id) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
        """,
        [(suite, case.name, case.classname, case.test_group_name, case.id) for case in cases],
    )
    file.execute_many(
        f"""
        INSERT INTO case_rows (session, ordinal, status, time, id, test_group, url, html_url, data, test)
        SELECT ?, ?, ?, ?, nullif(?, id), ?, ?, ?, ?, number
        FROM tests WHERE suite = ? AND {IS_TEST}
        """,
        [
            (
                *(session, ordinal, None if case.status == TestStatus.PASSED else case.status.value),
                *(case.time, case.id, groups[case.test_group_id]),
                *((case.url, case.html_url) if case.is_failing else (None, None)),
                *(case.data, suite, case.name, case.classname, case.test_group_name),
            )
            for ordinal, case in enumerate(cases)
        ],
    )


def delete_cases(file: DatabaseFile, sessions: str, parameters: Mapping[str, object]) -> None:
    """Delete the cases of sessions, given as SQL. Called in the transaction that changes or deletes them."""
    for table in ("case_rows", "case_groups", "case_reads"):
        file.execute(f"DELETE FROM {table} WHERE session IN (SELECT number {sessions})", parameters)


def forget_unused_tests(file: DatabaseFile, suite: int) -> None:
    """Delete the names of the tests of a suite of which no case is saved. Called in the transaction that prunes it."""
    used = """
        SELECT case_rows.test FROM session_rows JOIN case_rows ON case_rows.session = session_rows.number
        WHERE session_rows.suite = ?
    """
    file.execute(f"DELETE FROM tests WHERE suite = ? AND number NOT IN ({used})", (suite, suite))


def load_cases(file: DatabaseFile, key: SuiteKey, session_id: str) -> list[TestCase]:
    """Return the saved cases of a session, in the order of the API."""
    return _read(file, _OF_SESSION, (*key, session_id))


def load_scope(file: DatabaseFile, key: SuiteKey, session_id: str, scope: CaseScope) -> list[TestCase] | None:
    """Return the cases of a session with empty `data`; None unless all in this scope were saved."""
    row = file.execute(f"SELECT scope FROM {SESSIONS} WHERE {_OF_SESSION}", (*key, session_id)).fetchone()
    if row is None or row["scope"] not in {"all", scope}:
        return None
    return _read(file, _OF_SESSION, (*key, session_id), keep_data=False)


def load_case(file: DatabaseFile, key: SuiteKey, session_id: str, case: TestCase) -> TestCase:
    """Return a case of a session as it was saved, or as it is if it was not."""
    where = f"{_OF_SESSION} AND case_groups.id IS ? AND {CASE_SQL['id']} = ?"
    return next(iter(_read(file, where, (*key, session_id, *case_ids(case)))), case)


def load_failures(file: DatabaseFile, session: int) -> tuple[TestCase, ...]:
    """Return the saved failing cases of a session, by the number of its row."""
    return tuple(_read(file, "each.session = ? AND each.status IN ('FAILED', 'ERROR')", (session,)))


def _read(
    file: DatabaseFile,
    where: str,
    parameters: Sequence[object],
    *,
    names: Sequence[str] = tuple(CASE_SQL),
    keep_data: bool = True,
) -> list[TestCase]:
    """Return some fields of the cases that a condition selects, in the order of the API.

    Without `keep_data`, the `data` of each is emptied once its failure was read from it, because it may be long.
    """
    cases: dict[int, TestCase] = {}
    # Not sorted by SQLite: that would keep the `data` of all cases in memory.
    sql = f"SELECT each.ordinal, {', '.join(CASE_SQL[name] for name in names)} FROM {CASES} WHERE {where}"
    for ordinal, *values in file.execute(sql, parameters):
        case = case_from_dict(dict(zip(names, values, strict=True)))
        cases[ordinal] = case if keep_data or not case.data else evolve(case, data="")
    return [cases[ordinal] for ordinal in sorted(cases)]
