"""The command `flaky`: print the tests whose status changes from session to session, or on one commit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from cyclopts.types import PositiveInt

from buddy_sessions import (
    ConfigError,
    ConflictingTest,
    Main,
    QuarantinedTest,
    Session,
    TestKey,
    TestRun,
    conflicting_tests,
    flaky_tests,
)
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions.analysis.baseline import format_quarantine
from buddy_sessions.analysis.history import failed_only_by

from ..errors import NothingToJudgeError
from ..input.times import Age
from ..options import DEFAULT_LAST, Access, Json, Key, MaxBytes, RunOptions
from ..reading.suite_reader import SuiteReader, open_suite
from ..render.markdown import DEFAULT_MAX_BYTES
from ..render.result import READER_LIMIT, Column, Item, Result, Section, describe_branch
from ..render.rows import KEYED_TEST_COLUMNS, choose_format, keyed_test_row, write_text
from ..render.show import show
from ..render.styled import recent_marks
from ..render.text import SHORT_HASH, UNKNOWN, count_sessions, unread_text

_COLUMNS = (Column("CHANGES", "{} changes"), Column("FAILED", "failed in {}"), Column("RECENT", "", is_number=False))
_QUARANTINE = timedelta(days=14)
_SURROGATE = re.compile("[\ud800-\udfff]")


async def list_flaky_tests(
    key: Key,
    /,
    *,
    changes: PositiveInt = 3,
    options: RunOptions = RunOptions(),
    format: Literal["table", "jsonl", "csv", "markdown", "quarantine"] | None = None,  # noqa: A002 - the name of the option
    json: Json = False,
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES,
    until: Age | None = None,
    access: Access = Access(),
) -> None:
    """Print the flaky tests of a suite: those whose status changes often, or that passed and failed on one commit.

    The defaults are Buddy's own definition: at least 3 changes in the last 10 sessions, skipped tests not counted.
    Tests that passed and failed on the same commit are marked. For these, commits count that were tested several times
    in the newest 100 sessions, on any branch. Without --db, each session costs one request for each 100 tests. The last
    line says how many sessions failed only because of these tests, and how long they took.

    For example:

    - buddy-sessions flaky acme/storefront/MNbyVedg --branch develop
    - buddy-sessions flaky acme/storefront/MNbyVedg --db sessions.db --last 50
    - buddy-sessions flaky acme/storefront/MNbyVedg --format quarantine --until 14d >> quarantine.toml

    Args:
        changes: Minimum number of changes of the status.
        format: Output format (default: table on a terminal, otherwise jsonl). In csv, an apostrophe is put before text
            that looks like a formula; markdown is for a comment or a job summary; quarantine prints entries for the
            file of "failures --quarantine".
        until: How long the entries of a quarantine are valid, such as 14d or 2w (default: 14d).
    """
    target, messages = access.defaults.parse_target(key), access.verbosity.open()
    output_format = choose_format(format, json=json)
    if until is not None and output_format != "quarantine":
        raise ConfigError("--until is the end of a quarantine: add --format quarantine")
    branch, last = options.branches.choose(), options.last or DEFAULT_LAST
    async with open_suite(target, db=options.db, connection=access.connection, messages=messages) as reader:
        result = await flaky_result(reader, branch, last=last, changes=changes)
    if output_format == "quarantine":
        _print_quarantine(result.limited(options.limit), datetime.now(UTC) + (until or _QUARANTINE))
    else:
        show(result, output_format, messages, limit=options.limit, max_bytes=max_bytes)


def _print_quarantine(result: Result, until: datetime) -> None:
    """Print an entry of a quarantine for each test."""
    entries: list[QuarantinedTest] = []
    for item in result.items:
        name = str(item.key)
        pattern = _SURROGATE.sub("?", name)  # which TOML cannot contain
        failed = f"failed in {item.cells[1]} sessions of {result.about}" if item.cells[1] != UNKNOWN else ""
        reason = ", ".join(filter(None, [failed, item.remark]))
        exact = pattern == name and not {"*", "?"}.isdisjoint(name)
        entries.append(QuarantinedTest(pattern, until.date(), reason, exact=exact))
    write_text(format_quarantine(entries))


async def flaky_result(reader: SuiteReader, branch: str | Main | None, *, last: int, changes: int = 3) -> Result:
    """Return the tests whose status changed often in the last sessions, or that passed and failed on one commit."""
    name = await reader.choose_branch(branch)
    runs, newer = await reader.newest_full_runs(name, last=last)
    sessions = [run.session for run in runs]
    changing = {test.key: test for test in flaky_tests([run.cases for run in runs], window=last, changes=1)}
    again, unread = await _read_tested_again(reader, runs)
    conflicts = {test.key: test for test in conflicting_tests(again)}
    found = [key for key, test in changing.items() if test.changes >= changes or key in conflicts]
    found += [key for key in conflicts if key not in changing]
    recent = recent_marks(runs, found)

    def describe(key: TestKey) -> Item:
        test, conflict = changing.get(key), conflicts.get(key)
        cells = (UNKNOWN, UNKNOWN) if test is None else (str(test.changes), f"{test.failed} of {test.runs}")
        row = keyed_test_row(reader.suite, key, name, sessions)
        row |= {field: getattr(test, field, None) for field in ("changes", "failed", "runs")}
        row["revisions"] = list(conflict.revisions) if conflict is not None else []
        return Item(key, (*cells, recent[key]), _describe_conflict(conflict), row=row)

    commits = len({run.session.revision for run in again})
    count, both = format_count(len(found), "flaky test"), format_count(len(conflicts), "test")
    facts = [f"{format_count(commits, 'commit')} tested again: {both} passed and failed on one"] if commits else []
    read = {run.session.id: run for run in [*runs, *again]}
    if wasted := failed_only_by(read.values(), set(found)):
        durations = [session.duration for session in wasted if session.duration is not None]
        cost = f": {format_duration(sum(durations))}" if durations else ""
        facts.append(f"{format_count(len(wasted), 'session')} failed only because of them{cost}")
    return Result(
        command="flaky",
        suite=reader.suite,
        about=describe_branch(name),
        title=f"{count} in {count_sessions(sessions)}",
        facts=facts,
        columns=_COLUMNS,
        reader_limit=READER_LIMIT,
        sections=[Section("Flaky tests", list(map(describe, found)))],
        fields=(*KEYED_TEST_COLUMNS, "changes", "failed", "runs", "revisions"),
        warnings=[
            unread_text(newer, "newer sessions"),
            unread_text(unread, "sessions of commits that were tested again"),
        ],
    )


async def _read_tested_again(reader: SuiteReader, runs: Sequence[TestRun]) -> tuple[list[TestRun], list[Session]]:
    """Return the sessions of the commits that were tested several times, and failed at least once, oldest first.

    They are those of `runs`, and others among the newest sessions of all branches, whose test cases are read. Also
    return those whose test cases cannot be read.
    """
    known = {run.session.id: run for run in runs}
    newest = {session.id: session for session in await reader.search.newest() if session.has_verdict}
    newest |= {run.session.id: run.session for run in runs}
    sessions = sorted(newest.values(), key=lambda session: session.relative_id)
    again = _tested_again(sessions)
    try:
        others = await reader.full_runs([session for session in again if session.id not in known])
    except (ConfigError, NothingToJudgeError):  # not saved, or deleted
        others = []
    found = {**known, **{run.session.id: run for run in others}}
    read = [found[session.id] for session in again if session.id in found]
    return read, [session for session in again if session.id not in found]


def _tested_again(sessions: Sequence[Session]) -> list[Session]:
    """Return the sessions of the commits that were tested several times, and failed at least once."""
    tested = Counter(session.revision for session in sessions)
    failed = {session.revision for session in sessions if session.is_failing and session.revision}
    return [session for session in sessions if session.revision in failed and tested[session.revision] > 1]


def _describe_conflict(test: ConflictingTest | None) -> str:
    """Return on which commits a test passed and failed; an empty text for none."""
    if test is None:
        return ""
    newest = test.revisions[-1][:SHORT_HASH]
    commits = f"commit {newest}" if len(test.revisions) == 1 else f"{len(test.revisions)} commits, the newest {newest}"
    return f"passed and failed on {commits}"
