"""The command `history`: print since when a test fails, and which commits are in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from attrs import evolve, frozen
from cyclopts import Parameter
from cyclopts.types import PositiveInt
from rich.text import Text

from buddy_sessions import Main, Session, SuiteKey, TestKey, to_row
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions._base.validate import REVISION
from buddy_sessions._export.session_rows import suite_names
from buddy_sessions.analysis.by_test import find_test, find_tests
from buddy_sessions.analysis.completeness import lists_too_few
from buddy_sessions.analysis.outcomes import Outcome, outcome_in
from buddy_sessions.analysis.runs import CIRun, newest_streak

from ..errors import NothingToJudgeError
from ..options import DEFAULT_LAST, Access, BranchOptions, Key, TestPrinting
from ..reading.suite_reader import SuiteReader, open_suite
from ..render.result import READER_LIMIT, Column, Item, Result, Section, describe_branch
from ..render.show import show
from ..render.styled import author_text, number_text, outcome_text, revision_text
from ..render.text import HASH, count_sessions, format_age, origin

_COLUMNS = (
    Column("SESSION"),
    Column("STATUS", is_number=False),
    Column("TIME", ""),
    Column("AGE", ""),
    Column("COMMIT", "commit {}", is_number=False),
    Column("AUTHOR", is_number=False),
)
_VALUES = ("test_group_name", "classname", "name", "branch", "session_id", "relative_id", "status", "time")
_OF_SESSION = ("create_date", "revision", "created_by_name", "ci_run_url", "html_url")
_FIELDS = (*SuiteKey._fields, *_VALUES, *_OF_SESSION)
_OLDER, _NO_OLDER = "No older CI run was read: --last N reads more", "No older CI run is listed"


async def show_history(
    key: Key,
    test: str,
    /,
    *,
    branches: BranchOptions = BranchOptions(),
    last: PositiveInt = DEFAULT_LAST,
    limit: PositiveInt | None = None,
    printing: TestPrinting = TestPrinting(),
    db: Annotated[Path | None, Parameter(show_default=False)] = None,
    access: Access = Access(),
) -> None:
    """Print in which CI runs a test failed, since when it fails, and which commits are between that and the last one.

    Without --db, a red session costs two requests. They are read back to where the test began or ceased to fail; in
    those that passed, or do not list the test, it did not fail: it passed, was skipped, or did not run.

    For example:

    - buddy-sessions history acme/storefront/MNbyVedg "CartTest > adds_discount"
    - buddy-sessions history acme/storefront/MNbyVedg adds_discount --db sessions.db --branch develop

    Args:
        test: Name of a test as other commands print it, or a part of it that fits one test.
        last: Number of CI runs in which a failure is searched; while the test fails, older ones are read, too.
        limit: Maximum number of CI runs (default: 20 in a table and in markdown, otherwise all).
        db: Read from this SQLite file, written by "sync --cases failed" or "sync --cases all", and send no request.
    """
    target, output_format, messages = access.defaults.parse_target(key), printing.choose(), access.verbosity.open()
    async with open_suite(target, db=db, connection=access.connection, messages=messages) as reader:
        result = await history_result(reader, branches.choose(), test, last=last)
    show(result, output_format, messages, limit=limit, max_bytes=printing.max_bytes)


@frozen
class _History:
    """What a test did in CI runs, newest first, and the sessions of which that is not known.

    Of these, `unread` list fewer failing tests than they count, or belong to a CI run with such a session; the failing
    tests of `unreadable` cannot be read.
    """

    key: TestKey
    outcomes: Sequence[Outcome]
    may_have_older: bool  # otherwise, the list of CI runs was read to its end
    unread: Sequence[Session] = ()
    unreadable: Sequence[Session] = ()


async def _read_history(reader: SuiteReader, branch: str | None, text: str, last: int) -> _History:
    """Return what the test that fits a text did in the newest CI runs; without a database, see `_read_failing`."""
    ci_runs = await reader.newest_ci_runs(branch, last=last, with_incomplete=True)
    await reader.readable_runs(ci_runs[0].deciding)  # raises ConfigError if they were not saved
    saved = await reader.source.history(reader.suite, text, branch=branch)
    if saved is None:
        return await _read_failing(reader, ci_runs, text, last)
    key = next((case.key for run in saved for case in run.cases), None)
    if key is None:
        raise NothingToJudgeError(f"{text!r} did not fail in a saved session of {describe_branch(branch)}")
    of_session = {run.session.id: run for run in saved}
    sessions = [[of_session[each.id] for each in ci_run.deciding if each.id in of_session] for ci_run in ci_runs]
    outcomes = [outcome for each in sessions if (outcome := outcome_in(each, key)) is not None]
    return _History(key, outcomes, may_have_older=len(ci_runs) >= last)


async def _read_failing(reader: SuiteReader, ci_runs: Sequence[CIRun], text: str, last: int) -> _History:
    """Return what a test did, back to where it began or ceased to fail: two requests for each red session.

    `last` CI runs are searched for a failure, and while the test fails, all that are known.
    """
    searched = f"all tests of #{ci_runs[0].session.relative_id}, and the failures of {last} CI runs"
    key: TestKey | None = None
    outcomes: list[Outcome] = []
    unread: list[Session] = []
    unreadable: list[Session] = []
    for number, ci_run in enumerate(ci_runs):
        if number >= last and not (outcomes and outcomes[0].is_failing):
            break
        readable, lost = await reader.readable_runs(ci_run.deciding)
        read = [evolve(each, scope="failed") for each in readable]
        failing = {case.key for each in read for case in each.cases}
        if key is None and find_tests(failing, text):
            key = find_test(failing, text, searched=searched)
        if key not in failing and (lost or any(map(lists_too_few, read))):
            unreadable += lost
            unread += [] if lost else [each.session for each in read]
            continue
        outcome = None if key is None else outcome_in(read, key)
        outcomes.append(outcome or Outcome(ci_run.session, None))
        if outcomes[-1].is_failing != outcomes[0].is_failing:
            break
    if key is None:  # all tests of the newest CI run say whether there is such a test
        complete = await reader.full_runs(ci_runs[0].deciding)
        key = find_test({case.key for each in complete for case in each.cases}, text, searched=searched)
        newest = outcome_in(complete, key)
        outcomes[:1] = [newest] if newest is not None else outcomes[:1]
    return _History(key, outcomes, len(ci_runs) >= last, unread, unreadable)


async def history_result(reader: SuiteReader, branch: str | Main | None, text: str, *, last: int) -> Result:
    """Return since when the test that a text names fails, and what it did in CI runs of a branch.

    Raises ConfigError if the text fits no test, or several, or if the newest sessions were not saved, and
    NothingToJudgeError if the branch has no session that passed or failed, or the test ran in none.
    """
    name, suite, now = await reader.choose_branch(branch), reader.suite, datetime.now(UTC)
    history = await _read_history(reader, name, text, last)
    title, *facts = _since(history)
    return Result(
        command="history",
        noun="CI run",
        suite=suite,
        about=f"{describe_branch(name)}: {history.key}",
        title=title,
        facts=facts,
        columns=_COLUMNS,
        reader_limit=READER_LIMIT,
        sections=[Section("CI runs", [_item(suite, name, history.key, each, now) for each in history.outcomes])],
        fields=_FIELDS,
        warnings=[
            f"left out {count_sessions(sessions)}: {reason}"
            for sessions, reason in (
                (history.unread, "fewer failing tests are listed than counted"),
                (history.unreadable, "the failing tests cannot be read"),
            )
            if sessions
        ],
    )


def _item(suite: SuiteKey, branch: str | None, key: TestKey, outcome: Outcome, now: datetime) -> Item:
    """Return what a test did in a CI run."""
    session, case = outcome.session, outcome.case
    status, time = (None, None) if case is None else (case.status, case.time)
    cells = (
        number_text(session),
        Text("did not fail") if status is None else outcome_text(status),
        format_duration(time),
        format_age(session.create_date, now),
        revision_text(session),
        author_text(session),
    )
    values = (key.group, key.classname, key.name, branch, session.id, session.relative_id, status, time)
    of_session = to_row(session)
    row = {name: of_session[name] for name in _OF_SESSION}
    return Item(None, cells, row={**suite_names(suite), **dict(zip(_VALUES, values, strict=True)), **row})


def _since(history: _History) -> list[str]:
    """Return since when a test fails or does not, the last CI run before, and the commits in between."""
    if not history.outcomes:
        return ["Did not run in any of the CI runs"]
    streak = newest_streak(history.outcomes)
    is_failing, first, before = history.outcomes[0].is_failing, streak.first, streak.before
    ci_runs = format_count(streak.length, "CI run")
    older = _OLDER if history.may_have_older else _NO_OLDER
    if before is None and not is_failing:
        return [f"Did not fail in {ci_runs}, since {streak}", older]
    in_a_row = " in a row" if streak.length > 1 else ""
    lines = [f"{'Failing' if is_failing else 'Not failing'} since {streak}, {ci_runs}{in_a_row}"]
    lines.append(f"#{first.relative_id}: {origin(first)}")
    if before is None:
        return [*lines, older]
    lines.append(f"Before that, #{before.relative_id} {'did not fail' if is_failing else 'failed'}: {origin(before)}")
    commits = [(session.revision or "").lower() for session in (before, first)]
    if commits[0] == commits[1] != "":
        return [*lines, "Both are of the same commit"]
    if all(map(REVISION.fullmatch, commits)):  # nothing else may get into a shell
        lines.append(f"git log --oneline {'..'.join(commit[:HASH] for commit in commits)}")
    return lines
