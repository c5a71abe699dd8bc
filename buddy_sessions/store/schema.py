"""The schema of the database."""
# ruff: noqa: S608 - the only variable parts of the SQL are the constants of this module

from __future__ import annotations

APPLICATION_ID = 0x42755579
"""Identifies the files of this package: "BuUy" in the header of the file. Development versions had others."""

VERSION = 1

NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"
"""SQL for the current time, as it is stored."""

# The SQL of views uses only functions that DuckDB has, too: it reads a view by executing its SQL itself.
_CASE_ID = "coalesce(tests.id, each.text_id, lower(hex(each.id)))"

MARKERS = {
    "{url}": "sessions.url",
    "{html_url}": "sessions.html_url",
    "{id}": _CASE_ID,
    "{test_group_id}": "case_groups.id",
}
"""The placeholders in the URLs of a test for the values that differ, and the SQL of these values."""


def _url(column: str) -> str:
    """Return the SQL of a URL: with the values in place of the markers."""
    url = column
    for marker, value in MARKERS.items():
        url = f"replace({url}, '{marker}', coalesce({value}, ''))"
    return f"CASE WHEN tests.has_markers THEN {url} ELSE {column} END"


CASE_COLUMNS = {
    "id": _CASE_ID,
    "name": "tests.name",
    "status": "coalesce(each.status, 'PASSED')",
    "url": _url("tests.url"),
    "html_url": _url("tests.html_url"),
    "test_group_name": "tests.test_group_name",
    "test_group_id": "case_groups.id",
    "classname": "tests.classname",
    "time": "each.time",
    "data": "each.data",
}
"""The fields of a test case, as SQL for the tables of `CASES`."""

CASES = """
    suite_rows AS suites JOIN session_rows AS sessions ON sessions.suite = suites.number
    JOIN case_rows AS each ON each.session = sessions.number
    JOIN tests ON tests.number = each.test AND tests.suite = suites.number
    LEFT JOIN case_groups ON case_groups.session = each.session AND case_groups.number = each.test_group
"""
"""The tables of the test cases of all sessions."""

# `duration` has no type, so that SQLite does not convert whole numbers and fractions into each other.
SCHEMA = (
    # Internal: the rows of the view `sessions`, which has the names of the suite and the JSON of the member in place of
    # their numbers.
    """
    CREATE TABLE session_rows (
        number INTEGER PRIMARY KEY, suite INTEGER NOT NULL,
        id TEXT NOT NULL, relative_id INTEGER NOT NULL, status TEXT NOT NULL, url TEXT, html_url TEXT,
        create_date TEXT, start_date TEXT, finish_date TEXT, created_by INTEGER, ci_provider TEXT, ci_run_url TEXT,
        revision TEXT, ref_type TEXT, ref_name TEXT, execution_id TEXT, action_execution_id TEXT,
        error_message TEXT, duration, tests_count INTEGER, failed_count INTEGER, skipped_count INTEGER,
        error_count INTEGER,
        missing_since TEXT, -- a sync did not find the session; the next one decides whether it is deleted
        deleted_at TEXT, -- `missing_since`, once another sync did not find the session, either
        -- internal: which syncs have set `missing_since` and `deleted_at`, which commit of which sync has saved the
        -- row, and when an unfinished session was last saved or requested
        missing_by INTEGER, deleted_by INTEGER, saved_in INTEGER NOT NULL, saved_by INTEGER NOT NULL, checked_at TEXT,
        UNIQUE (suite, id)
    )
    """,
    "CREATE INDEX sessions_newest ON session_rows (suite, relative_id DESC, deleted_at)",
    # Without IN, for which SQLite would create a temporary table with each row.
    """
    CREATE INDEX sessions_unfinished ON session_rows (suite, relative_id DESC)
        WHERE status <> 'SUCCESSFUL' AND status <> 'ERROR' AND status <> 'SKIPPED' AND deleted_at IS NULL
    """,
    # Internal: the members in `created_by`, each once, as JSON.
    "CREATE TABLE members (number INTEGER PRIMARY KEY, member TEXT NOT NULL UNIQUE)",
    """
    CREATE VIEW sessions AS SELECT
        suites.workspace, suites.project, suites.suite_id, each.id, each.relative_id, each.status, each.url,
        each.html_url, each.create_date, each.start_date, each.finish_date, members.member AS created_by,
        each.ci_provider, each.ci_run_url, each.revision, each.ref_type, each.ref_name, each.execution_id,
        each.action_execution_id, each.error_message, each.duration, each.tests_count, each.failed_count,
        each.skipped_count, each.error_count, each.missing_since, each.deleted_at
    FROM suite_rows AS suites JOIN session_rows AS each ON each.suite = suites.number
    LEFT JOIN members ON members.number = each.created_by
    """,
    # Internal: the rows of the view `suites`.
    """
    CREATE TABLE suite_rows (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL,
        name TEXT, identifier TEXT, html_url TEXT,
        missing_since TEXT, -- a sync got a 404 for the suite; the next one decides whether it is deleted
        deleted_at TEXT, -- `missing_since`, once another sync got a 404, too
        -- internal: the number in other tables; whether the suite was synced, or only listed; which sync has set
        -- `missing_since`; in which commit, and by which sync (null if by several), numbers were last removed from
        -- `covered`
        number INTEGER PRIMARY KEY, is_synced INTEGER NOT NULL DEFAULT 0, missing_by INTEGER,
        invalidated_at INTEGER NOT NULL DEFAULT 0, invalidated_by INTEGER,
        -- internal: the digest of the first page of the last sync, and its arguments, if it was complete and nothing
        -- has changed since: then the same page needs no comparison
        digest BLOB, digest_after INTEGER, digest_since TEXT, digest_cases TEXT,
        -- internal: the sessions that were created before were pruned, and so were the test cases of sessions that were
        -- created before: they are not saved again
        pruned_before TEXT, cases_pruned_before TEXT,
        UNIQUE (workspace, project, suite_id)
    )
    """,
    """
    CREATE VIEW suites AS
    SELECT workspace, project, suite_id, name, identifier, html_url, missing_since, deleted_at FROM suite_rows
    """,
    # The test cases of finished sessions: a session that changes loses them.
    f"""
    CREATE VIEW cases AS SELECT suites.workspace, suites.project, suites.suite_id, sessions.id AS session_id,
        {", ".join(f"{value} AS {name}" for name, value in CASE_COLUMNS.items())}
    FROM {CASES}
    """,
    # Internal: what the cases of a test have in common in all sessions, each once; `digest` is of all other columns.
    # Whether the URLs have markers in place of what differs. `id` is null if the cases have ids of their own.
    """
    CREATE TABLE tests (
        number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, suite INTEGER NOT NULL, name TEXT NOT NULL,
        classname TEXT, test_group_name TEXT, id TEXT, has_markers INTEGER NOT NULL, url TEXT, html_url TEXT
    )
    """,
    "CREATE INDEX tests_name ON tests (suite, name)",
    # Internal: what differs. `position` is the place in the list of the session; `status` is null for PASSED; `id` is
    # one of hexadecimal digits. `time` has no type for the same reason as `duration`.
    """
    CREATE TABLE case_rows (
        session INTEGER, test INTEGER, position INTEGER, status TEXT, time, id BLOB, text_id TEXT, test_group INTEGER,
        data TEXT,
        PRIMARY KEY (session, test, position)
    ) WITHOUT ROWID
    """,
    # Internal: the ids of the groups of a session, each once.
    """
    CREATE TABLE case_groups (session INTEGER, number INTEGER, id TEXT, PRIMARY KEY (session, number)) WITHOUT ROWID
    """,
    # Internal: the sessions whose cases were read since they last changed: the scope (failed or all) of the cases that
    # are saved, null if there are none; the scope that was read last; whether the number of cases was the one that the
    # session counts; and how often they were read in this scope.
    """
    CREATE TABLE case_reads (
        session INTEGER PRIMARY KEY, scope TEXT, last_scope TEXT NOT NULL, is_verified INTEGER NOT NULL,
        reads INTEGER NOT NULL
    )
    """,
    # For the planner of queries to `cases`, which would read all of them: there are few suites, and of each suite more
    # tests than a session has. The second ANALYZE loads this.
    "ANALYZE sqlite_master",
    """
    INSERT INTO sqlite_stat1 VALUES
        ('suite_rows', 'sqlite_autoindex_suite_rows_1', '10 10 5 1'),
        ('tests', 'tests_name', '100000 10000 1'),
        ('case_rows', 'case_rows', '10000000 400 1 1')
    """,
    "ANALYZE sqlite_master",
    # Internal: when the suites of a project were last listed.
    """
    CREATE TABLE projects (
        workspace TEXT NOT NULL, project TEXT NOT NULL, listed_at TEXT NOT NULL, PRIMARY KEY (workspace, project)
    )
    """,
    # Internal: the `relative_id`s of which the database contains every existing session, or every one of a branch. The
    # branch "" is all branches. `sync` is the sync that has claimed the range; null once it has completed, verified. A
    # range that a killed sync has claimed still counts.
    """
    CREATE TABLE covered (
        suite INTEGER NOT NULL, branch TEXT NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL, sync INTEGER
    )
    """,
    "CREATE INDEX covered_suite ON covered (suite, branch, low)",
    # Internal: every session (of a branch) up to the `relative_id` `id` was created before `than`, so a sync with
    # `since` stops there.
    """
    CREATE TABLE older (
        suite INTEGER NOT NULL, branch TEXT NOT NULL, than TEXT NOT NULL, id INTEGER NOT NULL,
        PRIMARY KEY (suite, branch)
    )
    """,
    # Internal: the number of the last transaction that has changed the tables above.
    "CREATE TABLE commits (number INTEGER NOT NULL)",
    "INSERT INTO commits VALUES (0)",
    # Internal: the newest sessions of a suite that a watch has seen, as JSON. The branch "" is all branches.
    """
    CREATE TABLE watches (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL, branch TEXT NOT NULL,
        sessions TEXT NOT NULL, PRIMARY KEY (workspace, project, suite_id, branch)
    )
    """,
    # Internal: the session that decides the status of a suite, as a status watch has reported it, its failing test
    # cases as JSON, and whether that event was acknowledged: only the first one is saved before it is. The branch ""
    # is the main branch, "*" is all branches.
    """
    CREATE TABLE statuses (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL, branch TEXT NOT NULL,
        session TEXT NOT NULL, failing TEXT NOT NULL, is_acknowledged INTEGER NOT NULL,
        PRIMARY KEY (workspace, project, suite_id, branch)
    )
    """,
)
"""The statements that create version 1."""
