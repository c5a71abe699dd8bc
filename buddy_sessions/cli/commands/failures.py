"""The command `failures`: print the failing tests of a session, and which of them are new."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from attrs import evolve
from cyclopts import Parameter
from cyclopts.types import PositiveInt

from buddy_sessions import MAIN, ConfigError, QuarantinedTest, Session, parse_quarantine
from buddy_sessions.analysis.judgement import Judgement, judge

from ..errors import ExitCode
from ..input.paths import read_text
from ..input.session_names import LATEST, parse_session
from ..options import DEFAULT_LAST, Access, BranchOptions, Json, MaxBytes
from ..reading.suite_reader import SuiteReader, open_cases, require_verdict
from ..render.case_tables import print_hidden
from ..render.console import Output
from ..render.failing_tests import (
    CAUSE_COLUMNS,
    cause_rows,
    failures_page,
    print_causes,
    print_failing_tests,
    test_rows,
)
from ..render.junit import write_junit
from ..render.markdown import DEFAULT_MAX_BYTES, write_markdown
from ..render.rows import SESSION_CASE_COLUMNS, choose_format, make_writer
from ..render.text import format_count

_LIMITS = {"table": 50, "markdown": 200}
"""The default numbers of tests whose messages are read, with one request each. --group reads as many as markdown."""


@Parameter(name="*", group="Gate")
@dataclass(frozen=True)
class Gate:
    """Which failures count."""

    baseline: str | None = None
    """Branch to compare with: a failure is new if the test did not fail in the last sessions of this branch that are
    older, and of another commit."""
    last: PositiveInt | None = None
    """Number of these sessions (default: 10). With more, fewer good changes are blocked by flaky tests, and more
    regressions get through. In a simulation with 2,000 tests: 1: 69 % and 3 %; 10: 24 % and 18 %; 20: 10 % and
    22 %; 50: 3 % and 27 %."""
    quarantine: Path | None = None
    """TOML file with tests that may fail: [[test]] with name (* for any text), until (a day), and reason."""
    newest_only: Annotated[bool, Parameter(show_default=False)] = False
    """Of a commit, judge only the newest session, and not all that have finished."""
    exit_code: Annotated[bool, Parameter(show_default=False)] = False
    """Exit with 1 if there are failures (with --baseline: new ones), or if the session failed without a failing
    test."""

    def read_quarantine(self) -> list[QuarantinedTest]:
        """Return the entries of the quarantine. Raises ConfigError for options without a baseline."""
        for option, value in (("--last", self.last), ("--quarantine", self.quarantine)):
            if self.baseline is None and value is not None:
                raise ConfigError(f"{option} needs a baseline: add --baseline BRANCH")
        return [] if self.quarantine is None else parse_quarantine(read_text(str(self.quarantine)))


async def list_failures(
    key: str,
    session: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    branches: BranchOptions = BranchOptions(),
    gate: Gate = Gate(),
    group: Annotated[bool, Parameter(show_default=False)] = False,
    limit: PositiveInt | None = None,
    format: Literal["table", "jsonl", "csv", "junit", "markdown"] | None = None,  # noqa: A002 - the name of the option
    json: Json = False,
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES,
    db: Path | None = None,
    access: Access = Access(),
) -> ExitCode:
    """Print the failing tests of a session or a commit, with their messages: all of them, or which are new.

    The message of each failing test costs a request, unless it is read from a database. A baseline costs two requests
    for each of its sessions that is red.

    For example:

    - buddy-sessions failures acme/storefront/MNbyVedg --branch develop
    - buddy-sessions failures acme/storefront/MNbyVedg 383 --format junit
    - buddy-sessions failures acme/storefront/MNbyVedg 1f0c2d3 --baseline main --exit-code

    Args:
        key: WORKSPACE/PROJECT/SUITE_ID, or the URL of a suite or a session. With -w and -p, SUITE_ID is enough.
        session: latest (the default), relative_id or ID of a session, its URL, or a commit: at least 7 digits.
        group: Print the causes: the failing tests with similar messages, in a table, jsonl or csv.
        limit: Maximum number of tests (default: 50 in a table, otherwise all). In markdown and with --group, all tests
            count, and this limits those whose messages are read (default: 200).
        format: Output format (default: table on a terminal, otherwise jsonl). All but table have the stack traces.
            junit is JUnit XML; markdown is for a comment or a job summary. In csv, an apostrophe is put before text
            that looks like a formula.
        db: Read from this SQLite file, written by "sync --cases failed", and send no request.
    """
    target, name = parse_session(access.defaults, key, session)
    branch = branches.choose()
    if name not in {None, LATEST} and branch is not MAIN:
        raise ConfigError("--branch selects the latest session: leave it out, or do not name a session")
    output_format = choose_format(format, json=json)
    if group and output_format == "junit":
        raise ConfigError("--group contradicts --format junit: leave out one of them")
    quarantine = gate.read_quarantine()
    messages = access.verbosity.open()
    async with open_cases(target, key, db=db, connection=access.connection, messages=messages) as source:
        sessions = await source.find(LATEST if name is None else name, branch=branch)
        judgement = await _judge(source, sessions, gate, quarantine)
        if limit is None and (db is None or output_format == "table"):
            limit = _LIMITS.get("markdown" if group else output_format)
        tests = judgement.tests[:limit]
        cases = await source.add_failures([(test.session, test.case) for test in tests])
    judgement = judgement.with_cases(cases)
    tests = judgement.tests[: len(tests)]
    _print_notes(messages, judgement, unread=sum(not case.has_details for case in cases) if db is not None else 0)
    if output_format == "markdown":
        write_markdown(sys.stdout, failures_page(source.suite, judgement), max_bytes=max_bytes)
    elif group and output_format == "table":
        print_causes(Output(), source.suite, judgement)
    elif group:
        make_writer(output_format, sys.stdout, CAUSE_COLUMNS).write(cause_rows(source.suite, judgement))
    elif output_format == "table":
        print_failing_tests(Output(), source.suite, judgement, tests)
        print_hidden(messages, len(judgement.tests) - len(tests))
    elif output_format == "junit":
        write_junit(sys.stdout, source.suite, evolve(judgement, tests=tests))
    else:
        extra = () if judgement.baseline is None else ("baseline", "failed_in")
        writer = make_writer(output_format, sys.stdout, (*SESSION_CASE_COLUMNS, *extra))
        writer.write(test_rows(source.suite, evolve(judgement, tests=tests)))
    return ExitCode.RED if gate.exit_code and judgement.is_red else ExitCode.DONE


async def _judge(
    source: SuiteReader, sessions: Sequence[Session], gate: Gate, quarantine: Sequence[QuarantinedTest]
) -> Judgement:
    """Return the verdict on sessions, newest first. The failures of the test cases are not read."""
    if gate.newest_only:
        sessions = sessions[:1]
    if gate.baseline is not None or gate.exit_code:
        require_verdict(sessions)
    runs = await source.failing_runs(sessions)
    if gate.baseline is None:
        return judge(runs)
    baseline = await source.baseline(sessions, gate.baseline, last=gate.last or DEFAULT_LAST)
    return judge(runs, baseline, quarantine=quarantine)


def _print_notes(messages: Output, judgement: Judgement, *, unread: int) -> None:
    if unread:
        messages.print_note(f"details not read: {format_count(unread, 'test')}; leave out --db to read them")
    for entry in judgement.expired:
        messages.print_warning(
            f"the quarantine of {entry.pattern!r} ended on {entry.until}: fix the test, or set another day"
        )
    for entry in judgement.unused:
        messages.print_note(f"the quarantine of {entry.pattern!r} is unused: no failing test has that name")
