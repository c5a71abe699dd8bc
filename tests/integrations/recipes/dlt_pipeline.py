"""Copy a database of sessions with dlt, into DuckDB or any other of its SQL destinations.

    buddy-sessions sync acme --db sessions.db --cases failed && python dlt_pipeline.py

The position up to which changes were copied is the highest one in the loaded table, so it is loaded together with the
rows, in one transaction. A run that was killed is repeated by the next one. To begin again, delete the table. Run one
copy at a time.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.sql_client import SqlClientBase

from buddy_sessions import SessionStore, StoreChange, to_dict

DATABASE = "sessions.db"
OF_SUITE = "WHERE workspace = %s AND project = %s AND suite_id = %s"


def clean(row: dict[str, Any]) -> Any:
    """Half a surrogate pair, which JSON allows and dlt does not, becomes ?"""
    return json.loads(json.dumps(row, ensure_ascii=False).encode(errors="replace"))


def find_position(copy: SqlClientBase[Any]) -> int:
    try:
        rows = copy.execute_sql("SELECT max(position) FROM sessions") or [(0,)]
    except DatabaseUndefinedRelation:
        return 0
    return rows[0][0] or 0


def delete(copy: SqlClientBase[Any], change: StoreChange) -> None:
    """Delete what was pruned or forgotten. What was kept follows, and is loaded again."""
    if change.pruned_before is None:
        copy.execute_sql(f"DELETE FROM sessions {OF_SUITE}", *change.suite)
    else:
        copy.execute_sql(f"DELETE FROM sessions {OF_SUITE} AND create_date < %s", *change.suite, change.pruned_before)


@dlt.resource(
    write_disposition="merge",
    primary_key=["workspace", "project", "suite_id", "id"],
    columns={
        "duration": {"data_type": "double"},  # the first one may be a whole number
        "created_by": {"data_type": "json"},
        "failures": {"data_type": "json"},
        "create_date": {"data_type": "timestamp"},
        "missing_since": {"data_type": "timestamp"},
        "deleted_at": {"data_type": "timestamp"},
    },
)
async def sessions(pipeline: dlt.Pipeline) -> AsyncIterator[dict[str, Any]]:
    async with SessionStore(DATABASE) as store:
        with pipeline.sql_client() as copy:
            first = find_position(copy)
            async for change in store.changes(after=first):
                if change.session is not None:
                    failures = change.failures and [*map(to_dict, change.failures)]
                    times = {"missing_since": change.missing_since, "deleted_at": change.deleted_at}
                    row = {**change.suite._asdict(), **to_dict(change.session), "failures": failures}
                    yield {**clean(row), **times, "position": change.position}
                elif first:
                    delete(copy, change)


if __name__ == "__main__":
    pipeline = dlt.pipeline("buddy", destination="duckdb", dataset_name="ci")
    print(pipeline.run(sessions(pipeline)))
