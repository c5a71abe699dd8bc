"""Changes of the schema since the version before: a file of that version is migrated when it is opened."""

from __future__ import annotations

from .file import DatabaseFile
from .schema import APPLICATION_ID, VERSION

_FROM_VERSION_1 = (
    # Marks: two columns in place of four.
    "ALTER TABLE session_rows DROP COLUMN absences",
    "ALTER TABLE session_rows DROP COLUMN marked_at",
    "ALTER TABLE suite_rows DROP COLUMN absences",
    "ALTER TABLE suite_rows DROP COLUMN marked_at",
    # The known range, and why nothing is below it, became the covered range and its limit. After a prune, the covered
    # range ends at the lowest session that is not older.
    """
    WITH before AS (
        SELECT number AS suite, json_extract(state, '$.known[0]') AS low, json_extract(state, '$.known[1]') AS high,
            json_extract(state, '$.end.is_final') AS is_final, json_extract(state, '$.older_than') AS since,
            json_extract(state, '$.pruned_before') AS pruned
        FROM suite_rows WHERE state IS NOT NULL
    ), after AS (
        SELECT suite, high, coalesce(max(since, pruned), since, pruned, '0001-01-01T00:00:00+00:00') AS time_limit,
            ifnull(since, '0001-01-01T00:00:00+00:00') AS since,
            CASE WHEN low IS NULL OR (low > 1 AND is_final IS NULL AND since IS NULL) THEN 'more'
                WHEN pruned IS NOT NULL THEN 'limit' WHEN low = 1 THEN 'nothing' WHEN is_final IS NULL THEN 'limit'
                WHEN is_final THEN 'nothing' ELSE 'end' END AS below,
            CASE WHEN pruned IS NULL THEN low ELSE (
                SELECT min(relative_id) FROM session_rows AS each WHERE each.suite = before.suite
                AND relative_id BETWEEN low AND high AND (create_date IS NULL OR create_date >= substr(pruned, 1, 19))
            ) END AS low
        FROM before
    )
    UPDATE suite_rows SET state = (
        SELECT json_object('covered', iif(low IS NULL, NULL, json_array(low, high)), 'below', below,
            'limit', time_limit, 'since', since)
        FROM after WHERE suite = number
    ) WHERE state IS NOT NULL
    """,
)


def is_of_version_before(file: DatabaseFile) -> bool:
    """Return whether a file has to be migrated before it is used."""
    return file.number("PRAGMA user_version") < VERSION


def migrate(file: DatabaseFile) -> None:
    """Migrate a file, in one transaction, unless another process has just done it."""
    with file.transaction():
        if is_of_version_before(file):
            for statement in _FROM_VERSION_1:
                file.execute(statement)
            file.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            file.execute(f"PRAGMA user_version = {VERSION}")
