"""Wrong usage: exit code 2 and one line, before any request and any new file."""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from buddy_sessions.testing import FakeBuddy
from helpers.command_line import Call, served, sync_database

A = "acme/shop/a"
URL = "https://app.buddy.works/acme/shop/unit-tests"
DB = ("--db", "sessions.db")

CASES = {
    "command with a typing error": ("swync", 'Unknown command "swync". Did you mean "sync"? Available'),
    "unknown option": (f"list {A} --color x", "Unknown option: "),
    "token as an option": (f"list {A} --token secret", "error: Unknown option: --token; set BUDDY_TOKEN (see --help)"),
    "token after =": (f"list {A} --token=secret", "error: Unknown option: --token; set BUDDY_TOKEN (see --help)"),
    "argument of the library": (f"list {A} --max-sessions 5", "Unknown option: --max-sessions; list has --limit (see"),
    "number": (f"gate {A} --count three", "error: --count must be a whole number, not 'three' (see --help)"),
    "one argument too many": (f"list {A} 2", "error: too many arguments: leave out '2' (see --help)"),
    "no suite": ("list", "error: SUITE is missing (see --help)"),
    "no suites": ("harvest", "no suite given"),
    "no database": (f"sync {A}", "error: --db FILE is missing (see --help)"),
    "URL without a scheme": (f"list {URL[8:]}/a", f"a URL begins with https://, as in {URL}/a"),
    "empty database": ("status --db empty.db", "'empty.db' is empty: fill it with buddy-sessions sync"),
    "incomplete key": ("list a", "error: a: a suite is WORKSPACE/PROJECT/SUITE_ID: pass its key, its URL"),
    "backslashes": (r"list acme\shop\a", ": write / between the names"),
    "unknown region": (f"list {A} --region mars", "unknown region 'mars': use US, EU, AS"),
    "session of another suite": (f"cases {A} {URL}/b/first", f"not a session of {A}: 'https"),
    "suite as a session": (f"gate {A} {A}", f"'{A}' is not a session: name it by its relative_id, ID or URL, or a"),
    "session and branch": (f"cases {A} 2 --branch main", "a branch selects the latest session: leave out --branch"),
    "all branches as a name": (f"flaky {A} --branch '*'", "for --branch: '*' is no branch: leave out this option"),
    **{
        f"empty {option}": (f"{words} {option}{end}", f"error: {option} is empty: is a variable not set, or its name")
        for words, options in {
            f"gate {A} 2": "--baseline --branch --revision --run-url --quarantine --after --outcome --git --region -p",
            f"harvest {A}": "--out --from --base-url -w",
            "status": "--db --max-age",
        }.items()
        for option in options.split()
        for end in (" ''", "=")
        if not (len(option) == 2 and end == "=")
    },
    "empty suite": ("status ''", "error: an argument is empty: is a variable not set"),
    "empty argument after a secret": (f"list {A} --token=secret ''", "error: --token is empty: is a variable not"),
    "project in place of a suite": (
        "list acme/shop",
        "a suite is WORKSPACE/PROJECT/SUITE_ID: pass its key, its URL or, with -w and -p, its ID: buddy",
    ),
    "age of a verdict": (f"status {A} --max-age 5m", "'5m' is less than an hour: write 24h, 90d or 12w"),
    "age without a unit": ("prune --db sessions.db --keep 90", "'90' has no unit: write 24h, 90d or 12w"),
    "time": (f"list {A} --since yesterday", "--since: 'yesterday' is not a time: write 24h, 7d or 2w"),
    "future": (f"harvest {A} --since 2999-01-01", "--since: '2999-01-01' is in the future: it is 20"),
    "start of a run": (
        f"gate {A} --after yesterday",
        "'yesterday' is not a time: pass a relative_id, or a time such as 2026-01-31T09:00Z",
    ),
    "day of a run": (
        f"gate {A} --after 2026-01-31",
        "'2026-01-31' needs an offset, because a local time may be in the future: pass a relative_id, or a time",
    ),
    "outcome of no tests": (f"gate {A} --outcome 0", "--outcome needs the tests that ended so: pass --revision"),
    "duration": (f"wait {A} --after 1 --timeout 30x", "--timeout: '30x' is not a duration: write 30s, 5m, 2h or 90d"),
    "no interval": (f"gate {A} --interval 0s", 'Invalid value "0.0" for --interval. Must be > 0'),
    "verdict without a file": (f"gate {A} --write markdown=", "--write"),
    "verdict in a missing folder": (
        f"gate {A} --write markdown=none/gate.md",
        "'none/gate.md': name a file in a folder",
    ),
    "verdict in place of a folder": (f"gate {A} --write markdown=folder.csv", "'folder.csv': name a file in a folder"),
    "two commits to judge": (f"gate {A} 3 --revision f00df00", "SESSION, --run-url and --revision exclude each other"),
    "short hash": (f"gate {A} --revision abc", "value for --revision: 'abc' is not a hash of at least 7 digits: pass"),
    "name of a commit": (
        f"wait {A} --revision HEAD",
        "'HEAD' is not a hash of at least 7 digits: pass it, such as $(git",
    ),
    "no URL of a CI run": (f"wait {A} --run-url 17", "for --run-url: '17' is not the URL of a CI run"),
    **{
        f"{share} of the tests": (
            f"gate {A} --min-tests={share}",
            f"Invalid value for --min-tests: {share!r} is not a share: write 90%, or 0",
        )
        for share in ("90", "101%")
    },
    "share of faults": ("serve --faults 3", "Invalid value for --faults: '3' is not a share: write 90%, or 0"),
    "missing quarantine": (f"gate {A} --quarantine no.toml", "cannot read 'no.toml'"),
    "quarantine with an error": (f"gate {A} --quarantine names.csv", "names.csv: the quarantine is not valid TOML: "),
    "causes as JUnit": (f"failures {A} --group --format junit", "--group contradicts --format junit"),
    "ending": (f"harvest {A} --out x.xlsx", "cannot write 'x.xlsx': name a file that ends in .jsonl, .csv or .parquet"),
    "ending and format": (f"harvest {A} --out x.csv --format jsonl", "the format jsonl contradicts --out x.csv: leave"),
    "missing database": (f"flaky {A} --db none.db", "'none.db' not found: create it with buddy-sessions sync … --db"),
    "digest as a page": (
        "report --db sessions.db --format jsonl -o x.jsonl",
        "the digest goes to stdout: write > x.jsonl",
    ),
    "report without a page": ("report --db sessions.db", "nothing to write: add -o FILE.html, or --format jsonl"),
    "unsaved suites": (
        "export --db sessions.db acme/shop/none acme/none",
        "acme/none, acme/shop/none not found in 'sessions.db': run buddy-sessions sync acme/none acme/shop/none --db",
    ),
    "file in a missing folder": (f"harvest {A} --out none/x.csv", "none' not found: create it, or choose another path"),
    "file that is a folder": (f"harvest {A} --out folder.csv", "'folder.csv' exists and is not a file: choose another"),
    "database that is the input": ("sync --from names.csv --db names.csv", "'names.csv' is the input file: choose"),
    "unknown file": ("harvest --from none.txt", "cannot read 'none.txt': no such file"),
    "folder without files": (f"harvest {A} -o /proc/x.csv", "cannot write '/proc/x.csv': no such"),
    "page instead of the database": (f"report {' '.join(DB)} -o sessions.db", "'sessions.db' is the input file"),
}
COMMANDS_WITH_DB = (
    *(f"{command} {A}" for command in ("status", "failures", "flaky", "slowest", "compare", "sync", "watch")),
    *("export", "prune --keep 1d", "info", "report -o x.html", "mcp"),
)
CASES |= {
    f"{line.split()[0]} with another file as database": (
        f"{line} --db names.csv",
        "is not a SQLite file, and was not changed: choose another path",
    )
    for line in COMMANDS_WITH_DB
}
CASES |= {
    f"{name} with {file} as database": (f"{name} {A} --db {file}", message)
    for name in ("status", "sync")
    for file, message in (
        ("folder.csv", "'folder.csv' "),
        ("other.db", "was written by another program, and was not changed"),
    )
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
    Path("empty.db").touch()
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
    name = module.partition(".")[0]
    expected = f"error: {name} is not installed: run pip install '.[{extra}]' in the clone of buddy_sessions\n"
    assert call(*command.split()) == (2, "", expected)
    assert not fake.requests
    assert sorted(folder.iterdir()) == before
