"""The SQL of a sync: the state of a suite, and the changes of a page. A function that writes is one transaction."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import itemgetter

from ..models import Session, SessionStatus, SuiteKey
from .cases import forget_cases
from .coverage import change_coverage, confirm, load_coverage, load_older, save_coverage, save_older, without
from .evidence import ALL_NUMBERS, PageChanges, SavedSession, judge
from .file import DatabaseFile
from .intervals import Intervals, contains, gaps, subtract_all, union_all
from .messages import CompleteSync, PageToSave, SavedPage, SessionId, SuiteState
from .plan import is_check_due
from .rows import FIELDS, OF_BRANCH, Row, StoredId, branch_parameters, from_sql, to_rows, to_sql, to_time
from .schema import NOW
from .suite_rows import last_commit, load_suite_row, save_suite_row

_COLUMNS = ", ".join(FIELDS)
_VALUES = _COLUMNS.replace("created_by", "member")
_LIVING = "FROM session_rows WHERE suite = ? AND deleted_at IS NULL AND missing_since IS NULL"
# The conditions are those of the index sessions_unfinished, so that SQLite uses it.
_UNFINISHED = f"{_LIVING} AND status <> 'SUCCESSFUL' AND status <> 'ERROR' AND status <> 'SKIPPED'"
_HIGHEST = "SELECT max(relative_id) FROM session_rows WHERE suite = ? AND deleted_at IS NULL"
_IS_NEWER = "saved_in > ? AND saved_by <> ?"
"""The condition for rows that another sync has saved or marked since a commit. Its parameters: the commit, the sync."""
_ID, _RELATIVE_ID, _CREATED_BY = map(FIELDS.index, ("id", "relative_id", "created_by"))

_SAVE_SESSION = f"""
    INSERT INTO session_rows (suite, saved_in, saved_by, checked_at, {_COLUMNS})
    VALUES (?, ?, ?, iif(?, {NOW}, NULL){", ?" * len(FIELDS)})
    ON CONFLICT (suite, id) DO UPDATE SET
    ({_COLUMNS}, saved_in, saved_by, checked_at, missing_since, missing_by, deleted_at, deleted_by) =
    ({", ".join(f"excluded.{name}" for name in FIELDS)}, excluded.saved_in, excluded.saved_by, excluded.checked_at,
    NULL, NULL, NULL, NULL)
"""
_MARK_SESSION = "UPDATE session_rows SET saved_in = :commit, saved_by = :sync, {} WHERE suite = :suite AND id = :id"
_MARK_RESTORED = _MARK_SESSION.format("missing_since = NULL, missing_by = NULL, deleted_at = NULL, deleted_by = NULL")
_MARK_MISSING = _MARK_SESSION.format(f"missing_since = {NOW}, missing_by = :sync")
_MARK_DELETED = _MARK_SESSION.format("deleted_at = missing_since, deleted_by = :sync")


def load_suite(file: DatabaseFile, key: SuiteKey, branch: str | None = None) -> SuiteState:
    """Return what the database has of a suite, or of a branch: coverage of the suite is coverage of each branch."""
    suite = load_suite_row(file, key)
    newest = file.execute(f"SELECT relative_id, id {_LIVING} ORDER BY relative_id DESC LIMIT 1", (suite.number,))
    row = newest.fetchone()
    coverages = [load_coverage(file, suite.number, each) for each in {None, branch}]
    return SuiteState(
        commit=last_commit(file),
        was_synced=bool(suite.is_synced),
        highest=file.number(f"{_HIGHEST} AND {OF_BRANCH}", (suite.number, *branch_parameters(branch))),
        newest=None if row is None else SessionId(row[0], from_sql(row[1])),
        covered=union_all(intervals for coverage in coverages for intervals in coverage.values()),
        due_checks=_load_due_checks(file, suite.number, branch),
        older=load_older(file, suite.number, branch),
        pruned_before=to_time(suite.pruned_before),
        complete=suite.complete if branch is None else None,
    )


def count_above(file: DatabaseFile, key: SuiteKey, number: int, branch: str | None = None) -> int:
    """Return the number of living sessions (of a branch) with a higher `relative_id`."""
    sql = f"SELECT count(*) {_LIVING} AND relative_id > ? AND {OF_BRANCH}"
    return file.number(sql, (load_suite_row(file, key).number, number, *branch_parameters(branch)))


def save_page(file: DatabaseFile, key: SuiteKey, page: PageToSave) -> SavedPage:
    """Save a page, and what it proves."""
    with file.transaction():
        commit = last_commit(file) + 1
        suite = load_suite_row(file, key)
        page = page.without_pruned(to_time(suite.pruned_before))
        rows: dict[StoredId, Row] = {row[_ID]: row for row in to_rows(page.sessions)}
        saved = _load_saved(file, suite.number, page)
        before = load_coverage(file, suite.number, page.branch)
        implied = () if page.branch is None else union_all(load_coverage(file, suite.number).values())
        older = load_older(file, suite.number, page.branch)
        is_overruled = suite.is_overruled(page)
        changes = judge(page, rows, saved, others=union_all((without(before, page.sync), implied)), older=older)
        after = change_coverage(before, page, changes, is_overruled=is_overruled)
        older_after = None if changes.is_contradiction or page.withdraws_claims else older
        older_after = page.older if page.older is not None and not is_overruled else older_after
        suite_after = suite.after_page(page, changes, commit=commit)
        if changes.is_change or after != before or older_after != older or suite_after != suite:
            file.execute("UPDATE commits SET number = ?", (commit,))
            number = save_suite_row(file, key, suite, suite_after._replace(digest=None))
            unfinished = {to_sql(session.id) for session in page.sessions if not session.is_finished}
            _save_sessions(file, number, changes, rows, unfinished, commit=commit, sync=page.sync)
            forget_cases(file, number, set(changes.changed).difference(changes.new))
            if changes.is_contradiction:  # also about other branches
                file.execute("DELETE FROM covered WHERE suite = ?", (number,))
                file.execute("DELETE FROM older WHERE suite = ?", (number,))
            to_read_again = _withdraw_marks(file, number, page.sync) if page.withdraws_claims else ()
            after = {owner: subtract_all(intervals, to_read_again) for owner, intervals in after.items()}
            save_coverage(file, number, page.branch, {} if changes.is_contradiction else before, after)
            if older_after != older or changes.is_contradiction:
                save_older(file, number, page.branch, older_after)
        if page.checked is not None:
            sql = f"UPDATE session_rows SET checked_at = {NOW} WHERE suite = ? AND relative_id BETWEEN ? AND ?"
            file.execute(sql, (suite.number, *page.checked))
        state = load_suite(file, key, page.branch) if page.is_last else None
    changed, covered = set(changes.changed), union_all((*before.values(), implied))
    return SavedPage(
        changed=tuple(session for session in page.sessions if to_sql(session.id) in changed),
        is_contradiction=changes.is_contradiction,
        is_stale=changes.is_stale,
        unsaved=sum(contains(covered, rows[id_][_RELATIVE_ID]) for id_ in changes.new),
        restored=len(changes.restored),
        state=state,
    )


def finish_sync(
    file: DatabaseFile,
    key: SuiteKey,
    sync: int,
    complete: CompleteSync | None = None,
    above: int = 0,
    *,
    branch: str | None = None,
) -> None:
    """Record that all claims of a sync are verified, and that it is complete if everything above `above` is covered.

    The `relative_id` of a missing session is never covered, so nothing remains to be decided then.
    """
    with file.transaction():
        suite = load_suite_row(file, key)
        before = load_coverage(file, suite.number, branch)
        after = confirm(before, sync)
        save_coverage(file, suite.number, branch, before, after)
        if complete is None or suite.missing_since is not None:  # another sync did not find it meanwhile
            return
        recorded = suite.complete
        if _is_overtaken(file, suite.number, sync, commit=complete.commit, lowest=complete.lowest):
            return
        if recorded and recorded.digest == complete.digest and complete.scope.is_within(recorded.scope):
            return
        highest = file.number(_HIGHEST, (suite.number,))
        if any(gaps(union_all(after.values()), above=above, below=highest + 1)):
            return
        since = None if complete.scope.since is None else complete.scope.since.astimezone(UTC).isoformat()
        sql = "UPDATE suite_rows SET (digest, digest_after, digest_since, digest_cases) = (?, ?, ?, ?) WHERE number = ?"
        file.execute(sql, (complete.digest, complete.scope.after, since, complete.scope.cases, suite.number))


def mark_suite_missing(file: DatabaseFile, key: SuiteKey, sync: int, *, commit: int) -> None:
    """Record that the server does not know a suite: it is missing, and deleted if another sync has found the same.

    `commit` is the last one before the request.
    """
    with file.transaction():
        suite = load_suite_row(file, key)
        is_marked = suite.deleted_at is not None or suite.missing_by == sync
        if not suite.is_synced or is_marked or _is_overtaken(file, suite.number, sync, commit=commit):
            return
        file.execute("UPDATE commits SET number = ?", (last_commit(file) + 1,))
        if suite.missing_since is None:
            change = f"UPDATE suite_rows SET missing_since = {NOW}, missing_by = ?, digest = NULL WHERE number = ?"
            file.execute(change, (sync, suite.number))
        else:
            file.execute("UPDATE suite_rows SET deleted_at = missing_since WHERE number = ?", (suite.number,))


def _is_overtaken(file: DatabaseFile, suite: int | None, sync: int, *, commit: int, lowest: int = 0) -> bool:
    """Return whether another sync has saved a session of a suite since a commit, at or above a `relative_id`."""
    sql = f"SELECT count(*) FROM session_rows WHERE suite = ? AND relative_id >= ? AND {_IS_NEWER}"
    return file.number(sql, (suite, lowest, commit, sync)) > 0


def _load_due_checks(file: DatabaseFile, suite: int | None, branch: str | None) -> tuple[SessionId, ...]:
    """Return the unfinished sessions that are due for a check: first those whose last check is the longest ago."""
    sql = f"""
        SELECT relative_id, id, status, finish_date, coalesce(create_date, start_date), checked_at {_UNFINISHED}
        AND {OF_BRANCH} ORDER BY relative_id DESC
    """
    now = datetime.now(UTC)
    due: list[tuple[str, SessionId]] = []
    rows = file.execute(sql, (suite, *branch_parameters(branch)))
    for relative_id, stored_id, status, finished, created, checked in rows:
        session = Session(
            id=from_sql(stored_id),
            relative_id=relative_id,
            status=SessionStatus(from_sql(status)),
            finish_date=to_time(finished),
        )
        if not session.is_finished and is_check_due(to_time(created), to_time(checked), now=now):
            due.append((checked or "", SessionId(relative_id, session.id)))
    return tuple(session for _, session in sorted(due, key=itemgetter(0)))


def _load_saved(file: DatabaseFile, suite: int | None, page: PageToSave) -> list[SavedSession]:
    """Return the sessions about which a page may prove something, and those that are on it."""
    numbers = [session.relative_id for session in page.listed or page.sessions]
    numbers += (*(page.proven or ()), *(page.claimed or ()))
    low, high = min(numbers, default=1), max(numbers, default=0)
    if page.top is not None and page.branch is None:
        low, high = min(low, page.top + 1), ALL_NUMBERS[1]
    sql = f"""
        SELECT {_VALUES}, missing_by, deleted_at IS NOT NULL, {_IS_NEWER}
        FROM session_rows LEFT JOIN members ON members.number = created_by
        WHERE suite = ? AND relative_id BETWEEN ? AND ?
    """
    return [
        SavedSession(row[_ID], row[_RELATIVE_ID], row[:-3], row[-3], bool(row[-2]), bool(row[-1]))
        for row in file.execute(sql, (page.commit, page.sync, suite, low, high))
    ]


def _save_sessions(
    file: DatabaseFile,
    suite: int,
    changes: PageChanges,
    rows: Mapping[StoredId, Row],
    unfinished: set[StoredId],
    *,
    commit: int,
    sync: int,
) -> None:
    """Save and mark sessions. An unfinished one counts as checked now: the page has just shown its state."""
    members = _save_members(file, {rows[id_][_CREATED_BY] for id_ in changes.changed})
    file.execute_many(
        _SAVE_SESSION,
        [
            (
                *(suite, commit, sync, row[_ID] in unfinished),
                *(*row[:_CREATED_BY], members[row[_CREATED_BY]], *row[_CREATED_BY + 1 :]),
            )
            for row in map(rows.__getitem__, changes.changed)
        ],
    )
    changed = set(changes.changed)
    restored = [id_ for id_ in changes.restored if id_ not in changed]
    marks = ((_MARK_RESTORED, restored), (_MARK_MISSING, changes.missing), (_MARK_DELETED, changes.deleted))
    for sql, ids in marks:
        file.execute_many(sql, [{"commit": commit, "sync": sync, "suite": suite, "id": id_} for id_ in ids])


def _save_members(file: DatabaseFile, texts: Iterable[str | None]) -> dict[str | None, int | None]:
    """Save members that were not saved before. Return the numbers of all by their JSON."""
    numbers: dict[str | None, int | None] = {None: None}
    for text in texts:
        if text is not None:
            row = file.execute("SELECT number FROM members WHERE member = ?", (text,)).fetchone()
            insert = "INSERT INTO members (member) VALUES (?)"
            numbers[text] = file.execute(insert, (text,)).lastrowid if row is None else row[0]
    return numbers


def _withdraw_marks(file: DatabaseFile, suite: int | None, sync: int) -> Intervals:
    """Remove the marks that a sync has set, because its pages were out of order.

    A session that another sync has deleted because of such a mark is missing again, as only that sync has proved.
    Return the `relative_id`s of these sessions, which are to be read again.
    """
    change = "deleted_at = NULL, deleted_by = NULL, missing_by = deleted_by"
    sql = f"""
        UPDATE session_rows SET {change} WHERE suite = ? AND missing_by = ? AND deleted_by <> missing_by
        RETURNING relative_id
    """
    to_read_again = union_all(((number, number),) for (number,) in file.execute(sql, (suite, sync)).fetchall())
    change = "deleted_at = NULL, deleted_by = NULL"
    file.execute(f"UPDATE session_rows SET {change} WHERE suite = ? AND deleted_by = ?", (suite, sync))
    change = "missing_since = NULL, missing_by = NULL"
    file.execute(f"UPDATE session_rows SET {change} WHERE suite = ? AND missing_by = ?", (suite, sync))
    return to_read_again
