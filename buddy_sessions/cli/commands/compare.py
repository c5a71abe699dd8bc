"""The command `compare`: print how the tests of two commits or sessions differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from cyclopts import Parameter

from buddy_sessions import SuiteKey, TestCase
from buddy_sessions._base.figures import format_duration
from buddy_sessions._export import SESSION_CASE_COLUMNS, session_case_row
from buddy_sessions.analysis import Comparison
from buddy_sessions.analysis.remarks import crash_text, name_sessions

from ..errors import ExitCode
from ..options import ROWS, Flag, Key, Limit, MaxBytes, Question, SessionName, ask
from ..render.markdown import DEFAULT_MAX_BYTES
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import default_limit, show
from ..render.text import status_mark, unfinished_text
from ..suite_selection import parse_session

_KINDS = ("newly_failing", "fixed", "still_failing", "added", "removed")


async def command(
    key: Key,
    old: Annotated[
        SessionName,
        Parameter(help="Like NEW (default: the commit before NEW on its branch). If you pass only one, it is NEW."),
    ] = None,
    new: SessionName = None,
    /,
    *,
    exit_code: Flag = False,
    limit: Limit = None,
    question: Question = Question(),
    output_format: Annotated[Literal["table", "jsonl", "csv", "markdown"] | None, ROWS] = None,
    max_bytes: MaxBytes = DEFAULT_MAX_BYTES,
) -> ExitCode:
    """Print how the tests of two commits differ: newly failing, fixed, still failing, added, removed, slower.

    Sessions that were run again are left out. A test is slower if it takes at least twice as long, and at least 0.1
    seconds longer. A test that is skipped in one of the commits did not run there. Without --db, each session costs one
    request for each 100 tests.

    For example:

    - buddy-sessions compare acme/storefront/MNbyVedg --exit-code
    - buddy-sessions compare acme/storefront/MNbyVedg 381 382 --db sessions.db

    Args:
        exit_code: Exit with 1 if tests newly fail, or if NEW failed without a failing test.
    """
    _, in_key = parse_session(question.access.defaults, key)
    names = [text for text in (old, new) if text is not None]
    old_name, new_name = names[0] if len(names) > 1 else None, names[-1] if names else in_key
    async with ask(key, question) as (answers, suite, messages):
        comparison = await answers.compare(suite, old_name, new_name, branch=question.branch)
    result = compare_result(suite, comparison)
    show(result, output_format, messages, limit=limit or default_limit(output_format), max_bytes=max_bytes)
    codes = {True: ExitCode.RED, False: ExitCode.DONE, None: ExitCode.NO_VERDICT}
    return codes[result.is_red] if exit_code else ExitCode.DONE


def compare_result(suite: SuiteKey, comparison: Comparison) -> CommandResult:
    """Return how the tests of two commits differ. It is red if tests newly fail, or if the new one crashed."""
    is_red = bool(comparison.newly_failing or comparison.crashed)
    running = unfinished_text(comparison.new)
    incomplete = comparison.incomplete
    changes: dict[str, Sequence[tuple[TestCase | None, TestCase]]] = {
        kind: [(None, case) for case in getattr(comparison, kind)] for kind in _KINDS
    }
    changes["slower"] = comparison.slower

    def describe(kind: str, before: TestCase | None, case: TestCase) -> Item:
        sessions = comparison.old if kind == "removed" else comparison.new
        row = session_case_row(suite, sessions[0], case)
        if len(sessions) > 1:  # one of these
            row |= {"session_id": None, "relative_id": None}
        row = {"key": row["key"], "change": kind, **row, "old_time": None if before is None else before.time}
        time = format_duration(case.time)
        time = time if before is None else f"{format_duration(before.time)} → {time}"
        return Item(case.key, (status_mark(case.status), time), row=row)

    names = {kind: kind.replace("_", " ") for kind in changes}
    return CommandResult(
        command="compare",
        suite=suite,
        sessions=comparison.new,
        old=comparison.old,
        title=", ".join(f"{len(pairs):,} {names[kind]}" for kind, pairs in changes.items()),
        is_red=None if (running or incomplete) and not is_red else is_red,
        columns=(Column("", "", is_number=False), Column("")),
        sections=[
            Section(f"{names[kind].capitalize()} ({len(pairs):,})", [describe(kind, *pair) for pair in pairs])
            for kind, pairs in changes.items()
        ],
        problems=list(map(crash_text, comparison.crashed)),
        csv_columns=("change", *SESSION_CASE_COLUMNS, "old_time"),
        warnings=[running, f"{name_sessions(incomplete)}: not all failing tests are listed" if incomplete else ""],
    )
