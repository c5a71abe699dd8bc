"""The command `failures`: print the failing tests of a session, and which of them are new."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from attrs import evolve
from cyclopts import Group, Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from buddy_sessions import ConfigError, QuarantinedTest, Session, SuiteKey, parse_quarantine
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions._export.session_rows import SESSION_CASE_COLUMNS, Row, session_case_row, suite_names
from buddy_sessions.analysis.completeness import MIN_TESTS
from buddy_sessions.analysis.judgement import NOVELTIES, Cause, FailingTest, Judgement, find_causes, judge
from buddy_sessions.analysis.runs import name_sessions

from ..errors import ExitCode, NothingToJudgeError
from ..input.paths import read_text
from ..options import BRANCH, DEFAULT_LAST, Access, BranchOptions, Flag, Json, KeyOrSession, MaxBytes, SessionName
from ..reading.judging import has_no_main_yet, read_baseline, read_judged, read_other_sessions
from ..reading.named_sessions import find_sessions, parse_session, require_verdict
from ..reading.suite_reader import SuiteReader, open_suite
from ..render.markdown import DEFAULT_MAX_BYTES
from ..render.result import MAX_SESSIONS, Column, Item, Result, Section
from ..render.rows import choose_format
from ..render.show import show
from ..render.styled import outcome_text
from ..render.text import cause_text, count_sessions, origin

_CAUSE_FIELDS = ("workspace", "project", "suite_id", "relative_ids", "type", "template", "count", "new", "tests")
"""What `--group` prints of a cause. `new` is null without a baseline."""
_BASELINE_FIELDS = ("baseline", "failed_in")
_UNORDERED = "the list of sessions is out of order: the highest number is the newest"
_LIMITS = {"table": 50, "markdown": 200}
"""The default numbers of tests whose messages are read, with one request each. --group reads as many as markdown."""


@Parameter(name="*", group=Group("Gate", sort_key=1))  # before that of the connection
@dataclass(frozen=True)
class Gate:
    """Which failures count."""

    baseline: Annotated[str | None, BRANCH] = None
    """Branch to compare with: a failure is new if the test did not fail in the last CI runs of this branch that
    are older, and of another commit."""
    last: PositiveInt | None = None
    """Number of these CI runs (default: 10). With more, fewer good changes are blocked by flaky tests, and more
    regressions get through."""
    quarantine: Path | None = None
    """TOML file with tests that may fail: [[test]] with name (* for any text), until (a day), and reason."""
    after: Annotated[NonNegativeInt, Parameter(show_default=False)] = 0
    """Judge only sessions with a higher relative_id: not those of an earlier run, which may have been killed."""
    min_tests: Annotated[str | None, Parameter(show_default=False)] = None
    """Share of the tests that usually run on the baseline's branch, below which the verdict is red (default: 90%):
    tests did not run. 0 switches it off."""
    newest_only: Flag = False
    """Of a commit or a CI run, judge only the newest session. All of them must have finished."""
    reread_after: Annotated[float, Parameter(show=False)] = 10.0
    """Seconds after which a list that is too short is read again."""
    exit_code: Flag = False
    """Exit with 1 if there are failures (with --baseline: new ones), or if the session failed without a failing
    test."""

    def read_quarantine(self) -> list[QuarantinedTest]:
        """Return the entries of the quarantine. Raises ConfigError for options without a baseline."""
        options = (("--last", self.last), ("--quarantine", self.quarantine), ("--min-tests", self.min_tests))
        for option, value in options:
            if self.baseline is None and value is not None:
                raise ConfigError(f"{option} needs a baseline: add --baseline BRANCH")
        return [] if self.quarantine is None else parse_quarantine(read_text(str(self.quarantine)))

    def read_min_tests(self) -> float:
        """Return the share of the usual number of tests that must have run."""
        if self.min_tests is None:
            return MIN_TESTS
        match = re.fullmatch(r"(\d+(?:\.\d+)?)%|0", self.min_tests)
        share = float(match[1] or 0) / 100 if match is not None else 2
        if share > 1:
            raise ConfigError(f"--min-tests must be a share such as 90%, or 0, not {self.min_tests!r}")
        return share


async def list_failures(
    key: KeyOrSession,
    session: SessionName = None,
    /,
    *,
    branches: BranchOptions = BranchOptions(),
    gate: Gate = Gate(),
    group: Flag = False,
    limit: PositiveInt | None = None,
    format: Literal["table", "jsonl", "csv", "junit", "markdown", "pytest"] | None = None,  # noqa: A002 - the name of the option
    json: Json = False,
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES,
    db: Path | None = None,
    access: Access = Access(),
) -> ExitCode:
    r"""Print the failing tests of a session, a commit or a CI run, with their messages: all of them, or which are new.

    The message of each failing test costs a request, unless it is read from a database. A baseline costs two requests
    for each of its sessions that is red.

    For example:

    - buddy-sessions failures acme/storefront/MNbyVedg --branch develop
    - buddy-sessions failures acme/storefront/MNbyVedg 383 --format junit
    - buddy-sessions failures acme/storefront/MNbyVedg 1f0c2d3 --baseline main --exit-code
    - buddy-sessions failures acme/storefront/MNbyVedg https://github.com/acme/web/actions/runs/17 --after 383
    - buddy-sessions failures acme/storefront/MNbyVedg --format pytest | xargs -r -d '\n' pytest

    Args:
        group: Print the causes: the failing tests with similar messages, in a table, jsonl or csv.
        limit: Maximum number of tests (default: 50 in a table, otherwise all). In markdown and with --group, all tests
            are printed, and this is the maximum number of messages that are read (default: 200).
        format: Output format (default: table on a terminal, otherwise jsonl). All but table and pytest have the stack
            traces. junit is JUnit XML; markdown is for a comment or a job summary; pytest prints the node IDs of the
            tests to run again, one on each line: run it where pytest ran, because it looks for the files; an ID can
            contain spaces, hence xargs -d. In csv, an apostrophe is put before text that looks like a formula.
        db: Read from this SQLite file, written by "sync --cases failed", and send no request.
    """
    target, name = parse_session(access.defaults, key, session)
    branch = branches.choose()
    output_format = choose_format(format, json=json)
    if group and output_format in {"junit", "pytest"}:
        raise ConfigError(f"--group contradicts --format {output_format}: leave out one of them")
    quarantine, min_tests = gate.read_quarantine(), gate.read_min_tests()
    messages = access.verbosity.open()
    async with open_suite(target, db=db, connection=access.connection, messages=messages) as reader:
        is_gate = gate.baseline is not None or gate.exit_code
        sessions = await find_sessions(reader, name, branch=branch, after=gate.after, all_finished=is_gate)
        judgement = await _judge(reader, sessions, gate, quarantine, min_tests)
        if limit is None and (db is None or output_format == "table"):
            limit = _LIMITS.get("markdown" if group else output_format)
        read = [] if output_format == "pytest" else judgement.tests[:limit]
        cases = await reader.add_failures([(test.session, test.case) for test in read])
    judgement = judgement.with_cases(cases)
    exit_code = (ExitCode.RED if judgement.is_red else ExitCode.DONE) if gate.exit_code else ExitCode.DONE
    if judgement.is_red is None and (gate.exit_code or gate.baseline is not None):
        exit_code = ExitCode.NOTHING_TO_JUDGE
    result = failures_result(reader.suite, judgement, by_cause=group and output_format != "markdown")
    if db is not None and (unread := sum(not case.has_details for case in cases)):
        messages.print_note(f"details not read: {format_count(unread, 'test')}; leave out --db to read them")
    all_count = group or output_format == "markdown"
    limit = None if all_count else limit
    show(result, output_format, messages, limit=limit, max_bytes=max_bytes, is_gate=is_gate)
    return exit_code


async def _judge(
    reader: SuiteReader,
    sessions: Sequence[Session],
    gate: Gate,
    quarantine: Sequence[QuarantinedTest],
    min_tests: float,
) -> Judgement:
    """Return the verdict on sessions, newest first. The failures of the test cases are not read."""
    if gate.newest_only:
        sessions = sessions[:1]
    if gate.baseline is not None or gate.exit_code:
        require_verdict(sessions)
    runs, unread = await read_judged(reader, sessions, pause=gate.reread_after)
    if not runs:
        names = name_sessions(unread)
        raise NothingToJudgeError(f"no verdict: the failing tests of {names} cannot be read: try again later")
    if gate.baseline is None:
        return judge(runs, unread=unread)
    try:
        baseline = await read_baseline(
            reader, sessions, gate.baseline, last=gate.last or DEFAULT_LAST, min_tests=min_tests
        )
    except NothingToJudgeError:
        judgement = judge(runs, unread=unread)
        if judgement.is_red is not False or not await has_no_main_yet(reader, gate.baseline):
            raise
        return evolve(
            judgement, remarks=[*judgement.remarks, "nothing to compare with yet: no session of main or master"]
        )
    others = await read_other_sessions(reader, sessions, baseline) if min_tests else []
    judgement = judge(runs, baseline, quarantine=quarantine, min_tests=min_tests, others=others, unread=unread)
    unordered = [] if reader.search.is_ordered else [_UNORDERED]
    return evolve(judgement, remarks=[*judgement.remarks, *unordered])


def failures_result(suite: SuiteKey, judgement: Judgement, *, by_cause: bool) -> Result:
    """Return the failing tests with the verdict, by novelty or by cause."""
    baseline, tests = judgement.baseline, judgement.tests
    causes = find_causes(tests)
    if by_cause:
        sections = [_cause_section(suite, judgement, cause) for cause in causes]
    else:
        of_kind = {kind: [test for test in tests if test.baseline == kind] for kind in NOVELTIES}
        by_kind = {"failing tests": tests} if baseline is None else of_kind
        sections = [
            Section(f"{kind.capitalize()} ({len(members):,})", [_item(suite, test) for test in members])
            for kind, members in by_kind.items()
        ]
    first = {test.streak.first for test in tests if test.streak is not None}
    since = sorted(first, key=lambda session: session.relative_id)[-MAX_SESSIONS:]
    facts = [f"Failing since #{session.relative_id}: {origin(session)}" for session in since]
    if baseline is not None:
        facts.append(f"Compared with {baseline}: {count_sessions(baseline.sessions)}")
    is_running = baseline is None and not all(session.is_finished for session in judgement.sessions)
    has_verdict = judgement.is_red is not None or is_running
    problems = judgement.missing_tests if has_verdict else judgement.reasons
    return Result(
        command="failures",
        suite=suite,
        sessions=judgement.sessions,
        title=verdict_text(judgement) if has_verdict else "No verdict",
        is_red=judgement.is_red,
        facts=facts,
        causes=causes,
        columns=() if by_cause else (Column("STATUS", "", is_number=False), Column("TIME", "")),
        sections=sections,
        crashed=judgement.crashed,
        fields=_CAUSE_FIELDS if by_cause else (*SESSION_CASE_COLUMNS, *(_BASELINE_FIELDS if baseline else ())),
        problems=problems,
        warnings=[
            *(problem if has_verdict else f"no verdict: {problem}" for problem in problems),
            *(
                f"the quarantine of {entry.pattern!r} ended on {entry.until}: fix the test, or set another day"
                for entry in judgement.expired
            ),
        ],
        notes=[
            *judgement.remarks,
            *(
                f"the quarantine of {entry.pattern!r} is unused: no failing test has that name"
                for entry in judgement.unused
            ),
        ],
    )


def _item(suite: SuiteKey, test: FailingTest) -> Item:
    """Return a failing test. Its remark says why it does not count."""
    case, since = test.case, f", failing since {test.streak}" if test.streak is not None else ""
    row = session_case_row(suite, test.session, case)
    row |= {} if test.baseline is None else {"baseline": test.baseline, "failed_in": test.failed_in}
    return Item(case.key, (outcome_text(case.status), format_duration(case.time)), test.excuse + since, case, row)


def _cause_section(suite: SuiteKey, judgement: Judgement, cause: Cause) -> Section:
    """Return the tests of a cause, and which of them are new."""
    items = [_item(suite, test) for test in cause.tests]
    if judgement.baseline is not None:
        items = [evolve(item, remark=item.remark or "new") for item in items]
    row: Row = {
        **suite_names(suite),
        "relative_ids": [session.relative_id for session in judgement.sessions],
        "type": cause.type,
        "template": cause.template,
        "count": len(cause.tests),
        "new": sum(test.baseline == "new" for test in cause.tests) if judgement.baseline else None,
        "tests": [str(test.case.key) for test in cause.tests],
    }
    return Section(f"{format_count(len(items), 'test')}: {cause_text(cause)}", items, row)


def verdict_text(judgement: Judgement) -> str:
    """Return the verdict: `3 of 412 tests failed`, or `2 new failures, 1 known`."""
    sessions, tests = judgement.sessions, judgement.tests
    if judgement.missing_tests and not judgement.crashed and not any(not test.excuse for test in tests):
        return "Tests did not run"
    if judgement.crashed and not tests:
        return "Failed without a failing test"
    if judgement.baseline is not None:
        counts = {novelty: sum(test.baseline == novelty for test in tests) for novelty in NOVELTIES}
        new = format_count(counts.pop("new"), "new failure")
        return ", ".join([new, *(f"{count:,} {novelty}" for novelty, count in counts.items() if count)])
    if len(sessions) == 1 and sessions[0].tests_count is not None:
        return f"{len(tests):,} of {format_count(sessions[0].tests_count, 'test')} failed"
    return f"{format_count(len(tests), 'test')} failed"
