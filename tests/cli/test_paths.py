"""Commands with new files: what is written, what a failure leaves behind, and that no database is replaced."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, down_from, sync_database

pytestmark = pytest.mark.usefixtures("suites")

A, B = "acme/shop/a", "acme/shop/b"


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file, except those in which SQLite coordinates processes."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


@pytest.mark.parametrize("name", ["new.csv", "new.jsonl", "new.parquet"])
def test_full_disk_leaves_no_file(call: Call, tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))  # fails like a full disk
    try:
        code, out, err = call("harvest", A, "--out", str(tmp_path / name))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (code, out) == (7, "")
    assert re.search(f"cannot write .*{name}.*too large|disk I/O error", err)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["kept.db", "KEPT.DB", "kept.jsonl", "link.jsonl"])
@pytest.mark.parametrize("command", [["harvest", A], ["export", "--db"], ["report", "--db"]], ids=" ".join)
def test_database_is_not_replaced(command: list[str], name: str, call: Call, fake: FakeBuddy, tmp_path: Path) -> None:
    """SQLite would apply the changes in the `-wal` next to it to the new file."""
    other, kept = tmp_path / "other", tmp_path / ("kept.db" if name.startswith("link") else name)
    for path in (other, kept):
        path.touch()  # no database is created with the name of an export
        sync_database(fake, path)
    if name.startswith("link"):
        (tmp_path / name).symlink_to(kept)
    fake.requests.clear()
    arguments = [*command, str(other)] if "--db" in command else command
    with closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()
        before = contents(tmp_path)
        assert before[f"{kept.name}-wal"]
        code, out, err = call(*arguments, "--out", str(tmp_path / name))
        assert contents(tmp_path) == before
    assert (code, out, fake.requests) == (2, "", [])
    assert err.startswith("error: cannot write ")
    assert err.endswith("use buddy-sessions sync SUITE… --db FILE\n")


def test_parquet_has_typed_columns(call: Call, suites: dict[str, FakeSuite], tmp_path: Path) -> None:
    path = tmp_path / "new.parquet"
    odd: dict[str, Any] = {"branch": "ó\ud800\u2028\x00'\n", "created_by": None, "duration": 1.5}
    suites[B].create(create_date="2025-10-21T06:42:16Z", **odd)
    code, out, err = call("harvest", A, B, "--out", str(path))
    assert (code, out, err.splitlines()[1:]) == (0, "", [f"Wrote {path} (254 sessions)"])
    assert [*tmp_path.iterdir()] == [path]
    call("harvest", A, B, "--out", str(path.with_suffix(".csv")))
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        found = database.read_parquet(str(path))
        types = dict(zip(found.columns, map(str, found.types), strict=True))
        newest = found.filter("relative_id = 4 AND suite_id = 'b'")
        row = newest.select("create_date::VARCHAR, ref_name, created_by_name, duration").fetchall()
        numbers = found.filter("suite_id = 'a'").select("relative_id").fetchall()
        (name,) = found.filter("relative_id = 1 AND suite_id = 'b'").select("created_by_name").fetchall()
    assert row == [("2025-10-21 06:42:16+00", "ó\ufffd\u2028\x00'\n", None, 1.5)]
    assert [number for (number,) in numbers] == down_from(250)
    assert name == (suites[B].sessions[-1]["created_by"]["name"],)
    assert [*types] == (tmp_path / "new.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    others = {name: kind for name, kind in types.items() if kind != "VARCHAR"}
    flags = dict.fromkeys(("created_by_admin", "created_by_workspace_owner"), "BOOLEAN")
    counts = ("created_by_id", "relative_id", "tests_count", "failed_count", "skipped_count", "error_count")
    dates = dict.fromkeys(("create_date", "start_date", "finish_date"), "TIMESTAMP WITH TIME ZONE")
    assert others == {**dict.fromkeys(counts, "BIGINT"), **dates, **flags, "duration": "DOUBLE"}
