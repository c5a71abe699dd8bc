"""The schema of the database, as a list of migrations."""

from __future__ import annotations

APPLICATION_ID = 0x42645365
"""Identifies the files of this package: "BdSe" in the header of the file."""

MIGRATIONS = (
    # `duration` has no type, so that SQLite does not convert whole numbers and fractions into each other.
    (
        """
        CREATE TABLE sessions (
            workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL,
            id TEXT NOT NULL, relative_id INTEGER NOT NULL, status TEXT NOT NULL, url TEXT, html_url TEXT,
            create_date TEXT, start_date TEXT, finish_date TEXT, created_by TEXT, ci_provider TEXT, ci_run_url TEXT,
            revision TEXT, ref_type TEXT, ref_name TEXT, execution_id TEXT, action_execution_id TEXT,
            error_message TEXT, duration, tests_count INTEGER, failed_count INTEGER, skipped_count INTEGER,
            error_count INTEGER, deleted_at TEXT,
            PRIMARY KEY (workspace, project, suite_id, id)
        )
        """,
        "CREATE INDEX sessions_newest ON sessions (workspace, project, suite_id, relative_id DESC, deleted_at)",
        """
        CREATE INDEX sessions_unfinished ON sessions (workspace, project, suite_id, relative_id DESC)
            WHERE deleted_at IS NULL AND status NOT IN ('SUCCESSFUL', 'ERROR', 'SKIPPED')
        """,
        """
        CREATE TABLE covered (
            workspace TEXT NOT NULL, project TEXT NOT NULL, suite_id TEXT NOT NULL,
            low INTEGER NOT NULL, high INTEGER NOT NULL,
            PRIMARY KEY (workspace, project, suite_id, low)
        )
        """,
    ),
    # `watches`: the suites that were watched, even if they had no sessions. `watched`: the sessions seen by a watch.
    # The branch "" stands for all branches.
    (
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
    ),
)
"""The statements of each migration. The first one makes version 1 of the schema. Never change a released one."""
