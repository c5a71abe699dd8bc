"""Changes of the schema since each older version: a file of an older version is migrated when it is opened."""

from __future__ import annotations

from collections.abc import Callable

from .file import DatabaseFile
from .schema import APPLICATION_ID, VERSION


def _from_version_1(file: DatabaseFile) -> None:
    for statement in (
        # Marks: two columns in place of four.
        "ALTER TABLE session_rows DROP COLUMN absences",
        "ALTER TABLE session_rows DROP COLUMN marked_at",
        "ALTER TABLE suite_rows DROP COLUMN absences",
        "ALTER TABLE suite_rows DROP COLUMN marked_at",
        # The known range became the covered range: nothing is below it at 1, or only what is older than a prune.
        # Otherwise, the next sync asks.
        """
        WITH before AS (
            SELECT number AS suite, json_extract(state, '$.known') AS known, json_extract(state, '$.known[0]') AS low,
                json_extract(state, '$.older_than') AS since, json_extract(state, '$.pruned_before') AS pruned
            FROM suite_rows
        )
        UPDATE suite_rows SET state = (
            SELECT json_object(
                'covered', json(known),
                'below', CASE WHEN low IS NOT 1 THEN 'more' WHEN pruned IS NULL THEN 'nothing' ELSE 'limit' END,
                'limit', coalesce(max(since, pruned), since, pruned, '0001-01-01T00:00:00+00:00'),
                'since', ifnull(since, '0001-01-01T00:00:00+00:00')
            ) FROM before WHERE suite = number
        ) WHERE state IS NOT NULL
        """,
    ):
        file.execute(statement)


MIGRATIONS: dict[int, Callable[[DatabaseFile], None]] = {1: _from_version_1}
"""For each older version, the function that migrates a file to the next one. It does not use the present schema."""


def migrate(file: DatabaseFile) -> None:
    """Migrate a file, in one transaction. If another process has just done it, nothing changes."""
    with file.transaction():
        for version in range(file.number("PRAGMA user_version"), VERSION):
            MIGRATIONS[version](file)
        file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        file.execute(f"PRAGMA user_version = {VERSION}")
