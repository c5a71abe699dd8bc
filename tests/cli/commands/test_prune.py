"""The command `prune`, and the options of `sync` that delete old sessions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from buddy_sessions.cli import run
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call
from helpers.stores import query

COUNTS = "SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM cases)"


@pytest.fixture
def database(fake: FakeBuddy, tmp_path: Path) -> Path:
    """A database of ten sessions with a failed test case each: one session a day, the newest one just now."""
    suite = fake.add_suite("acme", "shop", "a")
    for age in range(10, 0, -1):
        created = datetime.now(UTC) - timedelta(days=age - 1, minutes=age)
        suite.create(cases=[{"name": "test", "status": "FAILED"}], create_date=created.isoformat())
    path = tmp_path / "sessions.db"
    assert run(["sync", "acme/shop/a", "--db", str(path), "--cases", "failed", "--quiet"]) == 0
    return path


@pytest.mark.parametrize(
    ("arguments", "message", "counts"),
    [
        (["prune", "--keep", "5d"], r"Deleted 5 old sessions from .*\.db, which has \d\.\d MB now\n", (5, 5)),
        (["sync", "acme/shop/a", "--keep", "1w", "--cases", "failed"], "1 suite, 0 new or changed sessions, ", (7, 7)),
    ],
    ids=lambda value: " ".join(value[::2]) if isinstance(value, list) else None,
)
def test_old_sessions_are_deleted(
    call: Call, database: Path, arguments: list[str], message: str, counts: tuple[int, int]
) -> None:
    code, out, err = call(*arguments, "--db", str(database))
    assert (code, out) == (0, "")
    assert re.match(message, err)
    assert query(database, COUNTS) == [counts]
