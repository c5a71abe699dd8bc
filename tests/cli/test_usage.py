"""Wrong usage: exit code 2 and one line, before any request and any new file."""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from buddy_sessions.cli.app import app
from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, served, sync_database

A = "acme/shop/a"
URL = "https://app.buddy.works/acme/shop/unit-tests"
DB = ("--db", "sessions.db")
NEITHER = "neither a suite nor a project: "

CASES = {
    "unknown command": ("bogus", f"Available commands: {', '.join(name for name in app if name[0] != '-')} (see"),
    "command with a typing error": ("swync", 'Unknown command "swync". Did you mean "sync"? Available'),
    "unknown option": (f"list {A} --color x", "Unknown option: "),
    "one argument too many": (f"list {A} 2", "error: too many arguments: leave out '2' (see --help)"),
    "no suite": ("list", "requires an argument (see --help)"),
    "no suites": ("harvest", "no suite given"),
    "no database": (f"sync {A}", "--db"),
    "incomplete key": ("list a", f"{NEITHER}'a'; write workspace/project/suite_id or"),
    "key with an empty name": ("list acme//a", f"{NEITHER}'acme//a'"),
    "key of four names": ("list acme/shop/a/b", f"{NEITHER}'acme/shop/a/b'"),
    "dots": ("harvest acme/..", "'..'"),
    "URL of something else": ("list https://app.buddy.works/acme/shop/pipelines", f"{NEITHER}'https"),
    "URL that is none": ("failures https://[", NEITHER),
    "project without workspace": ("harvest a -p shop", f"{NEITHER}'a'"),
    "half a project": ("suites shop", f"{NEITHER}'shop'; "),
    "unknown region": (f"list {A} --region mars", "unknown region 'mars': use US, EU, AS"),
    "two sessions": (f"failures {URL}/a/first second", "leave out 'second'"),
    "session of another suite": (f"failures {A} {URL}/b/first", f"not a session of {A}: 'https"),
    "suite as session": (f"compare {A} old {URL}/a", f"not a session of {A}: 'https"),
    "empty session": (f"failures {A} ''", "session must be a name"),
    "session and branch": (f"failures {A} 2 --branch main", "--branch selects the latest session: leave it out"),
    "branch and all branches": (f"flaky {A} --branch main --all-branches", "--branch and --all-branches exclude each"),
    "a report's branches": (
        f"report {' '.join(DB)} --branch main --all-branches -o x.html",
        "exclude each other: leave",
    ),
    "all branches as a name": (f"flaky {A} --branch '*'", "'*' is no branch: leave out --branch, or use --all-bran"),
    "all branches as a name in list": (f"list {A} --branch '*'", "'*' is no branch: leave out --branch"),
    "empty baseline": (f"failures {A} --baseline ''", "branch must be"),
    "empty branch": (f"flaky {A} --branch ''", "branch must be"),
    "one session and a branch": (f"list {URL}/a/first --branch main", "is the URL of one session: leave out"),
    "limit and all": (f"list {A} --limit 3 --all", "--limit"),
    "negative relative_id": (f"harvest {A} --after -1", "--after"),
    "no suites of a status": ("status", "no suite given"),
    "age of a verdict": (f"status {A} --max-age 5", "'5' is less than an hour: write 24h, 90d or 12w"),
    "time to keep": (f"prune {' '.join(DB)} --keep 2026-01-31", "'2026-01-31' is not a duration"),
    "nothing to keep": (f"prune {' '.join(DB)} --keep 0d", "'0d' is less than an hour: write 24h, 90d or 12w"),
    "no time to keep": (f"prune {' '.join(DB)}", "--keep"),
    "prune of a missing database": ("prune --db none.db --keep 90d", "'none.db' not found"),
    "time": (f"list {A} --since yesterday", "--since: 'yesterday' is not a time: write 24h, 7d or 2w"),
    "nothing to wait for": (
        f"wait {A}",
        "nothing to wait for: pass a revision, a run_url, a branch, an execution_id or after",
    ),
    "duration": (f"wait {A} --after 1 --timeout 30x", "--timeout: '30x' is not a duration: write 30s, 5m, 2h or 90d"),
    "live without a pause": ("serve --live 0", "--live"),
    "unknown format": (f"failures {A} --format xml", "--format"),
    "format of another command": (f"flaky {A} --format junit", "--format"),
    "last without a baseline": (f"failures {A} --last 5", "--last needs a baseline: add --baseline BRANCH"),
    "tests without a baseline": (f"failures {A} --min-tests 0", "--min-tests needs a baseline"),
    **{
        f"{share} of the tests": (
            f"failures {A} --baseline main --min-tests={share}",
            f"--min-tests must be a share such as 90%, or 0, not {share!r}",
        )
        for share in ("90", "-1%", "101%", "much")
    },
    "missing quarantine": (f"failures {A} --baseline main --quarantine no.toml", "cannot read 'no.toml'"),
    "causes as JUnit": (f"failures {A} --group --format junit", "--group contradicts --format junit"),
    "tiny markdown": (f"failures {A} --format markdown --max-bytes 15999", "--max-bytes"),
    "two formats": (f"list {A} --json --format csv", "--format csv and --json exclude each other"),
    "two formats of tests": (f"failures {A} --json --format junit", "--json"),
    "ending": (f"harvest {A} --out x.xlsx", "cannot write 'x.xlsx': name a file that ends in .jsonl, .csv or .parquet"),
    "ending and format": (f"harvest {A} --out x.csv --format jsonl", "--format jsonl contradicts --out x.csv: leave"),
    "ending and --json": (f"export {' '.join(DB)} --out x.csv --json", "--json contradicts --out x.csv: leave out"),
    "unknown status": (f"list {A} --status green", "--status"),
    "scope of cases": (f"sync {A} --db x.db --cases passed", "--cases"),
    "attempts": (f"harvest {A} --attempts 0", "--attempts"),
    "interval": (f"watch {A} --interval 0", "interval must be a number of seconds above 0"),
    "port": ("serve --port 65536", "--port"),
    "empty suite with sessions": ("serve --empty --sessions 3", "--empty and --sessions exclude each other: use one"),
    "new since": (f"report {' '.join(DB)} --new-since 0 -o x.html", "'0' is not a time"),
    "missing database": (f"flaky {A} --db none.db", "'none.db' not found: create it with buddy-sessions sync … --db"),
    "report of a missing database": ("report --db none.db -o x.html", "'none.db' not found: create it with"),
    "unsaved suites": (
        "export --db sessions.db acme/shop/none acme/none",
        "acme/none, acme/shop/none not found in 'sessions.db': run buddy-sessions sync acme/none acme/shop/none --db",
    ),
    "unsaved suite of a report": ("report --db sessions.db --suite a/b -o x.html", "a/b not found in 'sessions.db'"),
    "file in a missing folder": (f"harvest {A} --out none/x.csv", "none' not found: create it, or choose another path"),
    "file that is a folder": (f"harvest {A} --out folder.csv", "'folder.csv' exists and is not a file: choose another"),
    "file that is the input": ("harvest --from names.csv --out names.csv", "'names.csv' is the input file: choose"),
    "database that is the input": ("sync --from names.csv --db names.csv", "'names.csv' is the input file: choose"),
    "name of a watch without a database": (f"watch {A} --name chat", "--name is the name of a saved state: add --db"),
    "database in a missing folder": (f"watch {A} --db none/x.db", "none' not found: create it, or choose another path"),
    "page that is a folder": (f"report {' '.join(DB)} -o folder.csv", "'folder.csv' exists and is not a file: choose"),
    "unknown file": ("harvest --from none.txt", "cannot read 'none.txt': no such file"),
    "folder instead of a file": ("harvest --from folder.csv", "cannot read 'folder.csv': is a dir"),
    "folder without files": (f"harvest {A} -o /proc/x.csv", "cannot write '/proc/x.csv': no such"),
    "page in a folder without files": (f"report {' '.join(DB)} -o /proc/x", "cannot write '/proc/x'"),
    "page instead of the database": (f"report {' '.join(DB)} -o sessions.db", "'sessions.db' is the input file"),
}
CASES |= {f"{name} without a limit": (f"{name} {A} --limit 0", "--limit") for name in ("list", "failures", "flaky")}
COMMANDS_WITH_DB = (
    *(f"{command} {A}" for command in ("status", "failures", "flaky", "slowest", "compare", "sync", "watch")),
    *("export", "prune --keep 1d", "info", "report -o x.html", "mcp"),
)
CASES |= {
    f"{line.split()[0]} with {what} as database": (f"{line} --db {name}", message)
    for what, name, message in (
        ("a folder", "folder.csv", "'folder.csv' "),
        ("another file", "names.csv", "is not a SQLite file, and was not changed: choose another path"),
        ("a database of another program", "other.db", "was written by another program, or by buddy_sessions before"),
    )
    for line in COMMANDS_WITH_DB
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "sessions.db"
    with served(FakeBuddy()) as fake:
        fake.add_suite("acme", "shop", "a").populate(3)
        sync_database(fake, path)
    return path


@pytest.fixture
def folder(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(saved, "sessions.db")
    Path("folder.csv").mkdir()
    Path("names.csv").write_text(A)
    with closing(sqlite3.connect("other.db")) as other:
        other.execute("CREATE TABLE mine (id)")
    return tmp_path


@pytest.mark.parametrize(("command", "message"), CASES.values(), ids=CASES)
def test_wrong_usage(command: str, message: str, fake: FakeBuddy, call: Call, folder: Path) -> None:
    before = sorted(folder.iterdir())
    code, out, err = call(*(word.strip("'") for word in command.split()))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert message in err
    assert not re.search(r"(?i)errno|\.buddy-sessions-", err)  # the name of a temporary file
    assert not fake.requests
    assert sorted(folder.iterdir()) == before
    assert Path("names.csv").read_text() == A


@pytest.mark.parametrize(
    ("module", "extra", "command"),
    [
        ("jinja2", "report", "report --db sessions.db -o x.html"),
        ("duckdb", "parquet", f"harvest {A} --out x.parquet"),
        ("mcp.server.mcpserver", "mcp", "mcp --db sessions.db"),  # which older releases lack
    ],
)
def test_missing_extra(
    module: str, extra: str, command: str, fake: FakeBuddy, call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(folder.iterdir())
    monkeypatch.setitem(sys.modules, module, None)
    expected = f"error: {module.partition('.')[0]} is not installed; run: pip install 'buddy_sessions[{extra}]'\n"
    assert call(*command.split()) == (2, "", expected)
    assert not fake.requests
    assert sorted(folder.iterdir()) == before
