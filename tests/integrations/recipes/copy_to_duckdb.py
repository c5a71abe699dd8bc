"""Copy a database of sessions into DuckDB, and keep the copy equal to it.

    buddy-sessions sync acme --db sessions.db --cases failed && python copy_to_duckdb.py

Rows and the position up to which they were copied are committed together. So it can be killed at any moment: the next
run continues. It does not disturb a sync. To copy a database that was restored from a backup, or to begin again, delete
the copy.
"""

import asyncio
import json
from typing import Any

import duckdb

from buddy_sessions import Session, SessionStore, StoreChange, to_dict

DATABASE = "sessions.db"
COPY = "sessions.duckdb"
AT_ONCE = 1000  # sessions in a transaction: one by one, DuckDB is slow

TYPES = {
    **dict.fromkeys(("workspace", "project", "suite_id", "id", "status"), "VARCHAR"),
    "relative_id": "BIGINT",
    **dict.fromkeys(("create_date", "missing_since", "deleted_at"), "TIMESTAMPTZ"),
    **dict.fromkeys(("session", "failures"), "JSON"),
}
TABLES = f"""
CREATE TABLE IF NOT EXISTS copied AS SELECT 0::BIGINT AS position;
CREATE TABLE IF NOT EXISTS sessions (
    {", ".join(f"{name} {kind}" for name, kind in TYPES.items())}, PRIMARY KEY (workspace, project, suite_id, id))"""
SAVE = "INSERT OR REPLACE INTO sessions SELECT unnest(from_json(?, ?), recursive := true)"
OF_SUITE = "WHERE workspace = ? AND project = ? AND suite_id = ?"


def to_record(change: StoreChange, session: Session) -> dict[str, Any]:
    return {
        **change.suite._asdict(),
        **{name: getattr(session, name) for name in ("id", "status", "relative_id", "create_date")},
        "missing_since": change.missing_since,
        "deleted_at": change.deleted_at,
        "session": to_dict(session),
        "failures": change.failures and [*map(to_dict, change.failures)],
    }


def save(copy: duckdb.DuckDBPyConnection, records: list[dict[str, Any]], last: StoreChange) -> None:
    """Save sessions, and then the last change, if that is a deletion. Commit them with its position."""
    copy.begin()
    if records:
        copy.execute(SAVE, [json.dumps(records, default=str), json.dumps([TYPES])])
    if last.session is None and last.pruned_before is None:  # the suite was forgotten
        copy.execute(f"DELETE FROM sessions {OF_SUITE}", last.suite)
    elif last.session is None:  # what was kept follows, and is copied again
        copy.execute(f"DELETE FROM sessions {OF_SUITE} AND create_date < ?", (*last.suite, last.pruned_before))
    copy.execute("UPDATE copied SET position = ?", [last.position])
    copy.commit()


async def main() -> None:
    records: dict[object, dict[str, Any]] = {}  # of each session only the last one
    last = None
    async with SessionStore(DATABASE) as store:
        with duckdb.connect(COPY) as copy:
            copy.execute(TABLES)
            ((position,),) = copy.execute("SELECT position FROM copied").fetchall()
            async for last in store.changes(after=position):
                if last.session is not None:
                    records[last.suite, last.session.id] = to_record(last, last.session)
                if last.session is None or len(records) == AT_ONCE:
                    save(copy, [*records.values()], last)
                    records.clear()
            if last is not None:
                save(copy, [*records.values()], last)


asyncio.run(main())
