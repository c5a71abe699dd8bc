"""Creates large databases without a server.

Run it to try the report of a thousand suites: `PYTHONPATH=tests python tests/helpers/large_database.py FILE 1000 100`.
"""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from attrs import evolve

from buddy_sessions import Suite, SuiteKey
from buddy_sessions.store.file import DatabaseFile
from buddy_sessions.store.page_rules import PageToSave
from buddy_sessions.store.pages import save_page
from buddy_sessions.store.suites import save_names
from buddy_sessions.testing import FakeSuite
from helpers.stores import sessions_of

UNTIL = datetime(2026, 3, 31, 12, tzinfo=UTC)


def create_large_database(path: Path, suites: int, sessions: int, *, repeated: int = 0) -> None:
    """Create a database of realistic suites, 50 per project, with this number of sessions each.

    Some have the same `relative_id`: `repeated` of them from 500 on.
    """
    with closing(DatabaseFile(str(path))) as database:
        database.open()
        for start in range(0, suites, 50):
            project = f"project-{start // 50:03}"
            keys = [SuiteKey("acme", project, f"suite{number:04}") for number in range(start, min(start + 50, suites))]
            for key in keys:
                found = [
                    evolve(each, relative_id=500) if 500 <= each.relative_id < 500 + repeated else each
                    for each in sessions_of(FakeSuite(*key).populate(sessions, until=UNTIL))
                ]
                save_page(database, key, PageToSave(sessions=found, listed=found, read=(1, sessions)), UNTIL)
            listed = [Suite(key=key, id=key.suite_id, name=f"Tests of {key.suite_id}") for key in keys]
            save_names(database, "acme", project, listed, UNTIL)


if __name__ == "__main__":
    create_large_database(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
