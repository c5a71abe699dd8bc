"""The command `flaky`: print the tests that flip from commit to commit, or passed when they were run again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from cyclopts import Parameter

from buddy_sessions import ConfigError, SuiteKey
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions.analysis import FlakyTest, FlakyTests, QuarantinedTest
from buddy_sessions.analysis.commits import LAST, identify_commit
from buddy_sessions.analysis.quarantine import format_quarantine

from ..options import ROWS, Count, Key, Last, Limit, MaxBytes, Question, ask
from ..render.markdown import DEFAULT_MAX_BYTES
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import KEYED_TEST_COLUMNS, default_limit, keyed_test_row, show, write_text
from ..render.text import SHORT_HASH, session_range, unread_text
from ..values import Age

_COLUMNS = (Column("FLIPS", "{} flips"), Column("FAILED", "failed in {}"))
_FIGURES = "flips", "failed", "commits", "revisions", "wasted"
_QUARANTINE = timedelta(days=14)


async def command(
    key: Key,
    /,
    *,
    flips: Count = 3,
    last: Last = LAST,
    limit: Limit = None,
    question: Question = Question(),
    output_format: Annotated[
        Literal["table", "jsonl", "csv", "markdown", "quarantine"] | None,
        ROWS,
        Parameter(help=f'{ROWS.help} quarantine prints entries for the file of "gate --quarantine".'),
    ] = None,
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES,
    until: Age | None = None,
) -> None:
    """Print the flaky tests of a suite: those that passed when they were run again, or that flip often.

    A test that fails, and passes when its job is run again on the same commit of any branch, is flaky. Otherwise, it
    needs 3 flips in the last 10 commits, after Buddy's definition, which counts sessions. Those that cost most come
    first. Without --db, each red session costs one or two requests. The last line says how many sessions failed only
    because of these tests, and how long they took.

    For example:

    - buddy-sessions flaky acme/storefront/MNbyVedg --branch develop
    - buddy-sessions flaky acme/storefront/MNbyVedg --db sessions.db --last 50
    - buddy-sessions flaky acme/storefront/MNbyVedg --format quarantine --until 14d >> quarantine.toml

    Args:
        flips: Minimum number of flips: how often a test failed in one commit and not in the next, or vice versa.
        until: How long the entries of a quarantine are valid, such as 14d or 2w (default: 14d).
    """
    if until is not None and output_format != "quarantine":
        raise ConfigError("--until is the end of a quarantine: add --format quarantine")
    async with ask(key, question) as (answers, suite, messages):
        flaky = await answers.flaky(suite, branch=question.branch, last=last, flips=flips)
    if output_format == "quarantine":
        end = datetime.now(UTC) + (until or _QUARANTINE)
        write_text(format_quarantine([_entry(test, flaky.branch, end) for test in flaky.tests[:limit]]))
    else:
        result = flaky_result(suite, flaky)
        show(result, output_format, messages, limit=limit or default_limit(output_format), max_bytes=max_bytes)


def _entry(test: FlakyTest, branch: str, end: datetime) -> QuarantinedTest:
    name = str(test.key)
    reason = f"failed in {test.failed} of {test.commits} commits of branch {branch}"
    reason = ", ".join(filter(None, [reason, _describe_reruns(test)]))
    return QuarantinedTest(name, end.date(), reason, exact=not {"*", "?"}.isdisjoint(name))


def flaky_result(suite: SuiteKey, flaky: FlakyTests) -> CommandResult:
    """Return the tests that flipped often in the last commits, or that passed when they were run again."""

    def describe(test: FlakyTest) -> Item:
        cells = (str(test.flips), f"{test.failed} of {test.commits}")
        row = keyed_test_row(suite, test.key, flaky.branch, flaky.sessions)
        row |= {name: getattr(test, name) for name in _FIGURES}
        cost = f"alone made {format_count(test.wasted, 'session')} fail" if test.wasted else ""
        return Item(test.key, cells, ", ".join(filter(None, [_describe_reruns(test), cost])), row=row)

    commits = format_count(len(set(map(identify_commit, flaky.sessions))), "commit")
    sessions = session_range(flaky.sessions)
    facts: list[str] = []
    if flaky.wasted:
        durations = [session.duration for session in flaky.wasted if session.duration is not None]
        cost = f": {format_duration(sum(durations))}" if durations else ""
        facts.append(f"{format_count(len(flaky.wasted), 'session')} failed only because of them{cost}")
    return CommandResult(
        command="flaky",
        suite=suite,
        about=f"branch {flaky.branch}",
        title=", ".join(filter(None, (f"{format_count(len(flaky.tests), 'flaky test')} in {commits}", sessions))),
        facts=facts,
        columns=_COLUMNS,
        sections=[Section("Flaky tests", list(map(describe, flaky.tests)))],
        csv_columns=(*KEYED_TEST_COLUMNS, *_FIGURES),
        warnings=[unread_text(flaky.unread)],
    )


def _describe_reruns(test: FlakyTest) -> str:
    """Return on which commits a test passed when it was run again; an empty text for none."""
    if not test.revisions:
        return ""
    newest, count = test.revisions[-1][:SHORT_HASH], len(test.revisions)
    commits = f"commit {newest}" if count == 1 else f"{count} commits, the newest {newest}"
    return f"passed when it was run again on {commits}"
