"""The schema of the database."""

from __future__ import annotations

APPLICATION_ID = 0x42755374
"""Identifies the files of this package: "BuSt" in the header of the file."""

DEVELOPMENT_IDS = frozenset({0x42645365, 0x42755373})
"""The identifiers of files that were written before the first release."""

VERSION = 1

# `duration` has no type, so that SQLite does not convert whole numbers and fractions into each other.
SCHEMA = (
    """
    CREATE TABLE sessions (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL,
        id TEXT NOT NULL, relative_id INTEGER NOT NULL, status TEXT NOT NULL, url TEXT, html_url TEXT,
        create_date TEXT, start_date TEXT, finish_date TEXT, created_by TEXT, ci_provider TEXT, ci_run_url TEXT,
        revision TEXT, ref_type TEXT, ref_name TEXT, execution_id TEXT, action_execution_id TEXT,
        error_message TEXT, duration, tests_count INTEGER, failed_count INTEGER, skipped_count INTEGER,
        error_count INTEGER,
        missing_since TEXT, -- a sync did not find the session; the next one decides whether it is deleted
        deleted_at TEXT,
        -- internal: which syncs have set `missing_since` and `deleted_at`, which commit of which sync has saved the
        -- row, and when an unfinished session was last requested
        missing_by INTEGER, deleted_by INTEGER, saved_in INTEGER NOT NULL, saved_by INTEGER NOT NULL, checked_at TEXT,
        PRIMARY KEY (workspace, project, suite_id, id)
    )
    """,
    "CREATE INDEX sessions_newest ON sessions (workspace, project, suite_id, relative_id DESC, deleted_at)",
    """
    CREATE INDEX sessions_unfinished ON sessions (workspace, project, suite_id, relative_id DESC)
        WHERE deleted_at IS NULL AND status NOT IN ('SUCCESSFUL', 'ERROR', 'SKIPPED')
    """,
    """
    CREATE TABLE suites (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL,
        name TEXT, identifier TEXT, html_url TEXT,
        missing_since TEXT, -- a sync got a 404 for the suite; the next one decides whether it is deleted
        deleted_at TEXT,
        -- internal: whether the suite was synced, or only listed; which sync has set `missing_since`; in which commit,
        -- and by which sync (null if by several), numbers were last removed from `covered`; every session up to the
        -- number `older_id` was created before `older_than`, so a sync with `since` stops there
        is_synced INTEGER NOT NULL DEFAULT 0, missing_by INTEGER,
        uncovered_in INTEGER NOT NULL DEFAULT 0, uncovered_by INTEGER,
        older_than TEXT, older_id INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (workspace, project, suite_id)
    )
    """,
    # The test cases of finished sessions. `time` has no type for the same reason as `duration`.
    """
    CREATE TABLE cases (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL, session_id TEXT NOT NULL,
        id TEXT NOT NULL, name TEXT NOT NULL, status TEXT NOT NULL, url TEXT, html_url TEXT, test_group_name TEXT,
        test_group_id TEXT, classname TEXT, time, data TEXT,
        PRIMARY KEY (workspace, project, suite_id, session_id, id)
    )
    """,
    "CREATE INDEX cases_of_a_test ON cases (workspace, project, suite_id, name)",
    # Internal: the sessions whose cases were read; in which scope, failed or all; the commit that had saved the session
    # before; whether the number of cases was the one that the session counts; and how often they were read since then.
    """
    CREATE TABLE case_reads (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL, session_id TEXT NOT NULL,
        scope TEXT NOT NULL, commit_number INTEGER NOT NULL, is_verified INTEGER NOT NULL, reads INTEGER NOT NULL,
        PRIMARY KEY (workspace, project, suite_id, session_id)
    )
    """,
    # Internal: when the suites of a project were last listed.
    """
    CREATE TABLE projects (
        workspace TEXT NOT NULL, project TEXT NOT NULL, listed_at TEXT NOT NULL, PRIMARY KEY (workspace, project)
    )
    """,
    # Internal: the numbers of which the database contains every existing session. `sync` is the sync that has read the
    # range; null once that sync has completed, verified. A range of a killed sync keeps its number, and still counts.
    """
    CREATE TABLE covered (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL, sync INTEGER,
        low INTEGER NOT NULL, high INTEGER NOT NULL
    )
    """,
    "CREATE INDEX covered_suite ON covered (workspace, project, suite_id)",
    # Internal: the number of the last transaction that has changed the tables above.
    "CREATE TABLE commits (number INTEGER NOT NULL)",
    "INSERT INTO commits VALUES (0)",
    # Internal. `watches`: the suites that were watched, even if they had no sessions. `watched`: the sessions seen by a
    # watch. The branch "" stands for all branches.
    """
    CREATE TABLE watches (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL, branch TEXT NOT NULL,
        PRIMARY KEY (workspace, project, suite_id, branch)
    )
    """,
    """
    CREATE TABLE watched (
        workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL, branch TEXT NOT NULL,
        id TEXT NOT NULL, relative_id INTEGER NOT NULL, session TEXT NOT NULL,
        PRIMARY KEY (workspace, project, suite_id, branch, id)
    )
    """,
    "CREATE INDEX watched_newest ON watched (workspace, project, suite_id, branch, relative_id DESC)",
)
"""The statements that create version 1."""
