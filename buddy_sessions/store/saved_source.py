"""A database as a source, without a request: its sessions, and what is known of their list."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from attrs import evolve, frozen

from ..analysis.branches import MAIN
from ..analysis.commits import Below, SessionList
from ..analysis.suite_status import SuiteStatus, has_enough_commits, status_of
from ..errors import ConfigError
from ..models import FAILING, CaseScope, Session, Suite, SuiteKey, TestCase, TestKey, TestStatus
from ..questions.suite_reader import MAX_SEARCHED, Source, SuiteReader
from .cases import load_case, load_scope
from .file import DatabaseFile, DatabaseThread
from .schema import FIELDS, OF_BRANCH, OF_SUITE, to_sessions, to_time
from .suites import ALL_NUMBERS, Interval, SuiteState, to_state

_FIRST_SIZE, _PAGE_SIZE = 100, 1000  # a verdict usually needs only the newest sessions
_TOP = ALL_NUMBERS[1], ""  # above every `relative_id`


class SavedSource(Source):
    """See `Source`."""

    is_saved = True
    concurrency = 1

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def suites(self, workspace: str, project: str | None) -> list[Suite]:
        """Return the suites that were synced, except deleted ones. Raises ConfigError if there is none."""
        group = (workspace,) if project is None else (workspace, project)
        suites = [suite for suite in await self._thread.run(load_suites) if suite.key[: len(group)] == group]
        if not suites:
            raise ConfigError(f"no suite of {'/'.join(group)} is in the file: check the name, or sync it")
        return suites

    async def parts(self, suite: SuiteKey, branch: str | None) -> AsyncGenerator[SessionList, None]:
        """Yield the saved sessions that are not deleted, except those below the end of the list.

        Outside of the covered range, some may not be saved.
        """
        state, end = await self._thread.run(_load_end, suite)
        lowest = state.covered[0] if state.covered and state.below != "limit" else 1
        async for sessions in load_pages(self._thread, suite, branch=branch):
            inside = [session for session in sessions if session.relative_id >= lowest]
            if inside:
                yield evolve(end, sessions=inside, below="more")
            if len(inside) < len(sessions):
                if state.below == "more":
                    doubt = end.doubt or f"older sessions than #{lowest} were not saved completely"
                    yield evolve(end, sessions=sessions[len(inside) :], below="more", doubt=doubt)
                else:  # Buddy has deleted them, or may have
                    break
        yield end

    async def session(self, suite: SuiteKey, name: int | str) -> Session | None:
        """Return the saved session with this `relative_id` or ID."""
        return await self._thread.run(load_session, suite, name)

    async def failing_cases(self, suite: SuiteKey, session: Session | str) -> list[TestCase]:
        """Return the failing cases as they were saved, with their failures, but without their `data`."""
        return [case for case in await self._load(suite, session, "failed") if case.is_failing]

    async def cases(self, suite: SuiteKey, session: Session, status: TestStatus | None = None) -> list[TestCase]:
        """Return the saved cases of a session, all or those with a status."""
        scope: CaseScope = "failed" if status in FAILING else "all"
        return [case for case in await self._load(suite, session, scope) if status in {None, case.status}]

    async def with_details(self, suite: SuiteKey, session: Session | str, case: TestCase) -> TestCase:
        """Return a case with its `data`, if that was saved."""
        return await self._thread.run(load_case, suite, session.id if isinstance(session, Session) else session, case)

    async def passed_in_group(self, suite: SuiteKey, session: Session, group_id: str) -> set[TestKey] | None:
        """Return the tests that passed in a group; None if only failing cases were saved."""
        cases = await self._thread.run(load_scope, suite, session.id, "all")
        passed = (case for case in cases or () if case.status == TestStatus.PASSED)
        return None if cases is None else {case.key for case in passed if case.test_group_id == group_id}

    async def tested_again(self, suite: SuiteKey) -> SessionList:
        """Return the sessions of commits that may have been tested again, and the lowest of the newest 1,000."""
        _, end = await self._thread.run(_load_end, suite)
        sessions, goes_on = await self._thread.run(load_tested_again, suite)
        return evolve(end, sessions=sessions, below="out of reach" if goes_on else end.below)

    async def _load(self, suite: SuiteKey, session: Session | str, scope: CaseScope) -> list[TestCase]:
        session_id = session.id if isinstance(session, Session) else session
        cases = await self._thread.run(load_scope, suite, session_id, scope)
        if cases is not None:
            return cases
        name = f"#{session.relative_id}" if isinstance(session, Session) else f"session {session_id}"
        kind = "failing test cases" if scope == "failed" else "test cases"
        text = f"the {kind} of {name} of {suite} were not saved"
        if isinstance(session, Session) and not session.is_finished:
            raise ConfigError(f"{text}: it has not finished")
        raise ConfigError(text, advice=f'sync with {{cases="{scope}"}}')


def _load_end(file: DatabaseFile, key: SuiteKey) -> tuple[SuiteState, SessionList]:
    """Return the state of a suite, and the end of its list, which has no sessions."""
    row = file.execute(f"SELECT state, synced_at, missing_since FROM suite_rows WHERE {OF_SUITE}", key).fetchone()
    if row is None or row["state"] is None:
        listed = SessionList(sessions=(), below="more", as_of=datetime.now(UTC), doubt="the suite was not synced")
        return SuiteState(), listed
    state = to_state(row["state"])
    sql = f"SELECT max(relative_id) AS newest FROM sessions WHERE {OF_SUITE} AND deleted_at IS NULL"
    newest, doubt = file.number(sql, key), ""
    if row["missing_since"] is not None:
        doubt = "the last sync did not find the suite"
    elif state.covered is None and state.below == "more" and newest:
        doubt = "the list of sessions was not read completely"
    elif state.covered is not None and newest > state.covered[1]:
        doubt = f"newer sessions than #{state.covered[1]} were not read completely"
    below: Below = "more"
    if state.below in {"nothing", "end"} or not newest:
        below = "nothing"
    elif state.below == "limit" and state.limit != state.since:  # `since` may have cut the lowest commit
        below = "limit"
    as_of = to_time(row["synced_at"]) or datetime.now(UTC)
    return state, SessionList(sessions=(), below=below, as_of=as_of, doubt=doubt)


def load_sessions(
    file: DatabaseFile, key: SuiteKey, *, branch: str | None = None, below: tuple[int, str] = _TOP, count: int = -1
) -> list[Session]:
    """Return the sessions of a suite that are not deleted, newest first: at most `count`, below a `relative_id` and ID.

    After a wrong response, two sessions may have one `relative_id`.
    """
    sql = f"""
        SELECT {", ".join(FIELDS)} FROM sessions
        WHERE {OF_SUITE} AND deleted_at IS NULL AND {OF_BRANCH}
        AND (relative_id, id) < (?, ?) ORDER BY relative_id DESC, id DESC LIMIT ?
    """
    return to_sessions(file.execute(sql, (*key, branch, *below, count)))


def load_tested_again(file: DatabaseFile, key: SuiteKey) -> tuple[list[Session], bool]:
    """Return all sessions of the commits that have several, not all of them green, and the lowest session.

    Only the newest 1,000 are looked at; also return whether there are so many.
    """
    sql = f"""
        WITH newest AS (
            SELECT id, relative_id, ref_name, revision, status FROM sessions WHERE {OF_SUITE} AND deleted_at IS NULL
            ORDER BY relative_id DESC, id DESC LIMIT {MAX_SEARCHED}
        ), wanted AS (
            SELECT id, count(*) OVER same > 1 AND NOT min(status = 'SUCCESSFUL') OVER same AS is_tested_again,
                row_number() OVER (ORDER BY relative_id, id) = 1 AS is_lowest
            FROM newest WINDOW same AS (PARTITION BY ref_name, revision)
        )
        SELECT {", ".join(FIELDS)}, (SELECT count(*) FROM newest) AS searched FROM sessions
        WHERE {OF_SUITE} AND id IN (SELECT id FROM wanted WHERE is_lowest OR is_tested_again)
        ORDER BY relative_id DESC, id DESC
    """
    rows = file.execute(sql, (*key, *key)).fetchall()
    return to_sessions(rows), bool(rows) and rows[0]["searched"] == MAX_SEARCHED


async def load_pages(
    thread: DatabaseThread, key: SuiteKey, *, branch: str | None
) -> AsyncGenerator[list[Session], None]:
    """Iterate over the sessions of `load_sessions` in lists of up to `_PAGE_SIZE`; the first one is shorter."""
    below, size = _TOP, _FIRST_SIZE
    while page := await thread.run(load_sessions, key, branch=branch, below=below, count=size):
        yield page
        below, size = (page[-1].relative_id, page[-1].id), _PAGE_SIZE


def load_session(file: DatabaseFile, key: SuiteKey, name: int | str) -> Session | None:
    """Return the session with this `relative_id` or ID that is not deleted; None if there is none."""
    if isinstance(name, int) and name > ALL_NUMBERS[1]:  # more than SQLite can compare
        return None
    column = "relative_id" if isinstance(name, int) else "id"
    sql = f"SELECT {', '.join(FIELDS)} FROM sessions WHERE {OF_SUITE} AND deleted_at IS NULL AND {column} = ?"
    return next(iter(to_sessions(file.execute(sql, (*key, name)))), None)


async def find_deciding_sessions(thread: DatabaseThread, key: SuiteKey) -> Sequence[Session]:
    """Return the sessions of the commit that says whether the main branch of a suite is red."""
    reader = SuiteReader(SavedSource(thread), key)
    branch = await reader.find_branch(MAIN)
    if branch is None:
        return ()
    listed = await reader.of_branch(branch, has_enough_commits)
    commit = status_of(key, branch.name, evolve(listed, doubt="")).commit  # also if sessions may have been missed
    return () if commit is None else commit.sessions


def load_suites(file: DatabaseFile) -> list[Suite]:
    """Return the suites that were synced, except deleted ones, sorted by their keys."""
    columns = "workspace, project, suite_id, name, identifier, html_url"
    sql = f"SELECT {columns} FROM suite_rows WHERE state NOT NULL AND deleted_at IS NULL ORDER BY 1, 2, 3"
    return [
        Suite(key=SuiteKey(*key), id=key[2], name=name, identifier=identifier, html_url=html_url)
        for *key, name, identifier, html_url in file.execute(sql)
    ]


@frozen(kw_only=True)
class SavedSuite:
    """A suite in a database, with the number of its sessions, and which of them are complete.

    Attributes:
        suite: The suite.
        name: Its name; None until its project was listed.
        sessions: The number of saved sessions that are not deleted.
        missing: How many of them the last sync did not find.
        deleted: The number of saved sessions that are deleted.
        covered: The lowest and the highest `relative_id` between which every existing session is saved, if it is not
            older than the limit of the suite; None if there is no such range, for example because the list is out of
            order.
        below: What is below that range. "nothing": nothing that Buddy still has. "limit": only sessions that are older
            than the limit, which `since` and prunes set. "more": more sessions, or that is not known yet.
        synced_at: When the last sync began that has read the suite to its end.
        missing_since: When the first sync began that did not find the suite; None if the last one has found it.
        deleted_at: The same time, once a second sync did not find it.
    """

    suite: SuiteKey
    name: str | None
    sessions: int
    missing: int
    deleted: int
    covered: Interval | None
    below: Below
    synced_at: datetime | None
    missing_since: datetime | None
    deleted_at: datetime | None


def load_saved_suites(file: DatabaseFile) -> list[SavedSuite]:
    """Return the suites that were synced, sorted by their keys, with deleted ones."""
    count = "SELECT count(*) FROM session_rows WHERE suite = suite_rows.number AND deleted_at"
    sql = f"""
        SELECT workspace, project, suite_id, name, synced_at, missing_since, deleted_at, state,
            ({count} IS NULL) AS sessions, ({count} IS NULL AND missing_since IS NOT NULL) AS missing,
            ({count} IS NOT NULL) AS deleted
        FROM suite_rows WHERE state NOT NULL ORDER BY 1, 2, 3
    """
    states = ((row, to_state(row["state"])) for row in file.execute(sql))
    return [
        SavedSuite(
            suite=SuiteKey(*row[:3]),
            name=row["name"],
            sessions=row["sessions"],
            missing=row["missing"],
            deleted=row["deleted"],
            covered=state.covered,
            below="more" if state.below == "end" else state.below,
            synced_at=to_time(row["synced_at"]),
            missing_since=to_time(row["missing_since"]),
            deleted_at=to_time(row["deleted_at"]),
        )
        for row, state in states
    ]


def with_saved(status: SuiteStatus, saved: SavedSuite | None) -> SuiteStatus:
    """Return the status of a suite with what the database has of it. One that is missing has no verdict."""
    if saved is None:
        return status
    if saved.missing_since is not None:
        status = evolve(status, reason="deleted" if saved.deleted_at else "missing", missing_since=saved.missing_since)
    return evolve(status, name=saved.name, synced_at=saved.synced_at)
