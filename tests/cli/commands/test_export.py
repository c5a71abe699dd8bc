"""The command `export`."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from buddy_sessions.testing import FakeBuddy, FakeSuite
from helpers.command_line import Call, down_from, numbers_by_suite, rows, sync_database

GUIDE = Path(__file__).parents[3] / "buddy_sessions" / "cli" / "README.md"
A, B, X = "acme/shop/a", "acme/shop/b", "acme/other/x"


@pytest.fixture
def database(fake: FakeBuddy, suites: dict[str, FakeSuite], tmp_path: Path) -> Path:
    """A database of all suites; no request is recorded."""
    folder = tmp_path / "databases"
    folder.mkdir()
    path = folder / "sessions.db"
    suites[A].create(branch="only/here", created_by=None, duration=None)
    sync_database(fake, path)
    fake.requests.clear()
    return path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {X: down_from(20), A: down_from(251), B: down_from(3)}),
        (B, {B: down_from(3)}),
        (f"acme/other {B} {B}", {B: down_from(3), X: down_from(20)}),
        ("acme/shop --branch only/here", {A: [251]}),
        (f"{B} --since 0h", {}),
    ],
)
def test_arguments_select_sessions(
    arguments: str, expected: dict[str, list[int]], fake: FakeBuddy, call: Call, database: Path
) -> None:
    code, out, err = call("export", "--db", str(database), *arguments.split())
    assert (code, numbers_by_suite(out), err, fake.requests) == (0, expected, "", [])


def test_guide_lists_the_columns(call: Call, database: Path) -> None:
    """Of both kinds of rows, by their name; `created_by_…` are several."""
    section = GUIDE.read_text(encoding="utf-8").partition("## Export")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(\w+)`", section))
    for options in ((), ("--cases",)):
        out = call("export", "--db", str(database), "--format", "csv", *options).out
        columns = {re.sub("^created_by_.*", "created_by_name", name) for name in out.splitlines()[0].split(",")}
        assert columns <= listed


@pytest.mark.parametrize("command", [("harvest", A), ("export", A, "--db")], ids=["harvest", "export"])
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_email_is_written_only_if_asked_for(
    suffix: str, command: tuple[str, ...], suites: dict[str, FakeSuite], fake: FakeBuddy, call: Call, database: Path
) -> None:
    email = b"grazyna@example.com"
    suites[A].create(created_by={"id": 7, "name": "Grażyna", "email": email.decode()})
    sync_database(fake, database)
    words = [*command, str(database)] if "--db" in command else [*command]
    path = database.with_name(f"new.{suffix}")
    for options in ((), ("--emails",)):
        assert call(*words, *options, "--out", str(path)).code == 0
        written = path.read_bytes()
        if suffix == "parquet":
            with duckdb.connect() as connection:
                table = connection.read_parquet(str(path)).project("COLUMNS('created_by.*')")
                written = str(table.fetchall()).encode()  # without times, for which an old duckdb needs pytz
        assert (email in written) == bool(options)


def test_cases_are_those_that_were_saved(call: Call, fake: FakeBuddy, database: Path) -> None:
    code, out, err = call("export", B, "--db", str(database), "--cases")
    assert (code, out) == (0, "")
    assert f"no test cases are saved in {database}: sync with --cases failed" in err
    sync_database(fake, database, cases="failed")
    code, out, err = call("export", B, "--db", str(database), "--cases")
    cases = [row for number in (3, 2, 1) for row in rows(call("cases", B, f"#{number}").out)]
    failures = [row for row in cases if row["status"] in {"FAILED", "ERROR"}]
    assert (code, err) == (0, "")
    assert len(rows(out)) == len(failures) > 0
