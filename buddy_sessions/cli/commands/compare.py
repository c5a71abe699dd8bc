"""The command `compare`: print how the tests of two sessions differ."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from buddy_sessions import Comparison, Session, SuiteKey, TestCase, compare

from ..errors import ExitCode
from ..input.session_names import LATEST, parse_session, parse_session_of
from ..options import Access, Key, TestPrinting
from ..reading.suite_reader import open_cases, require_verdict
from ..render.case_tables import name_text, outcome_text, print_sessions
from ..render.console import Output
from ..render.failing_tests import crash_facts, print_crashed
from ..render.markdown import Entry, Page, Section, headline, places, suite_facts, write_markdown
from ..render.rows import SESSION_CASE_COLUMNS, make_writer, session_case_row
from ..render.table import grid
from ..render.text import format_test_time

_COLUMNS = ("change", *SESSION_CASE_COLUMNS, "old_time")

Changes: TypeAlias = Mapping[str, Sequence[tuple[TestCase | None, TestCase]]]
"""By kind of change: the old test case if it is of interest, and the one to print."""


async def compare_sessions(
    key: Key,
    old: Annotated[str | None, Parameter(show_default=False)] = None,
    new: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    db: Path | None = None,
    exit_code: Annotated[bool, Parameter(show_default=False)] = False,
    printing: TestPrinting = TestPrinting(),
    access: Access = Access(),
) -> ExitCode:
    """Print how the tests of two sessions differ: newly failing, fixed, still failing, added, removed, slower.

    A test is slower if it takes at least twice as long, and at least 0.1 seconds longer. A test that is skipped in one
    of the sessions did not run there. Without --db, each session costs one request for each 100 tests, and one more.

    For example:

    - buddy-sessions compare acme/storefront/MNbyVedg --exit-code
    - buddy-sessions compare acme/storefront/MNbyVedg 381 382 --db sessions.db

    Args:
        old: The old session, as NEW (default: the one before NEW on its branch). A single session is NEW.
        new: latest (the default: of the main branch), relative_id or ID of a session, its URL, or its commit.
        db: Read from this SQLite file, written by "sync --cases all", and send no request.
        exit_code: Exit with 1 if tests newly fail, or if NEW failed without a failing test.
    """
    target, in_key = parse_session(access.defaults, key)
    names = [parse_session_of(target, text) for text in (old, new) if text is not None]
    output_format = printing.choose()
    async with open_cases(target, key, db=db, connection=access.connection, messages=access.verbosity.open()) as source:
        suite = source.suite
        after = await source.session(names[-1] if names else in_key or LATEST)
        if exit_code:
            require_verdict([after])
        before = await (source.session(names[0]) if len(names) > 1 else source.session_before(after))
        changes = list_changes(compare(await source.cases(before), await source.cases(after)))
    if output_format == "table":
        _print_tables(Output(), suite, (before, after), changes)
    elif output_format == "markdown":
        write_markdown(sys.stdout, _page(suite, before, after, changes), max_bytes=printing.max_bytes)
    else:
        make_writer(output_format, sys.stdout, _COLUMNS).write(_rows(suite, before, after, changes))
    return ExitCode.RED if exit_code and (changes["newly failing"] or _crashed(after, changes)) else ExitCode.DONE


def _crashed(session: Session, changes: Changes) -> list[Session]:
    """Return the new session if it failed without a failing test."""
    failing = [*changes["newly failing"], *changes["still failing"]]
    return [session] if session.is_failing and not failing else []


def list_changes(comparison: Comparison) -> Changes:
    """Return the differences of two sessions by their kind, such as `newly failing`."""
    kinds = ("newly_failing", "fixed", "still_failing", "added", "removed")
    changes: Changes = {kind.replace("_", " "): [(None, it) for it in getattr(comparison, kind)] for kind in kinds}
    return {**changes, "slower": comparison.slower}


def count_changes(changes: Changes) -> str:
    """Return the number of differences of each kind: `2 newly failing, 0 fixed, …`."""
    return ", ".join(f"{len(pairs):,} {change}" for change, pairs in changes.items())


def _rows(suite: SuiteKey, old: Session, new: Session, changes: Changes) -> Iterator[dict[str, Any]]:
    for change, pairs in changes.items():
        for before, case in pairs:
            row = session_case_row(suite, old if change == "removed" else new, case)
            old_time = None if before is None else before.time
            yield {"key": str(suite), "change": change.replace(" ", "_"), **row, "old_time": old_time}


def _print_tables(output: Output, suite: SuiteKey, sessions: Sequence[Session], changes: Changes) -> None:
    print_sessions(output, suite, *sessions)
    for change, pairs in changes.items():
        if not pairs:
            continue
        output.print_line((f"\n{change}", "bold"), f" ({len(pairs):,})")
        table = grid()
        table.show_header = False
        table.add_column()
        table.add_column(justify="right")
        table.add_column(overflow="fold")
        for before, case in pairs:
            table.add_row(outcome_text(case.status), _time(before, case), name_text(case.key))
        output.print(table)
    output.print_line(("\n" + count_changes(changes), "bold"))
    print_crashed(output, _crashed(sessions[-1], changes))


def _page(suite: SuiteKey, old: Session, new: Session, changes: Changes) -> Page:
    sections = [
        Section(change.capitalize(), [Entry(new.key, _time(old, new)) for old, new in pairs])
        for change, pairs in changes.items()
    ]
    crashed = _crashed(new, changes)
    title = headline(count_changes(changes), new, is_red=bool(changes["newly failing"] or crashed))
    facts = [suite_facts(suite, new), f"Compared with {places(old)}", *crash_facts(crashed)]
    return Page("compare", suite, title, facts, sections)


def _time(old: TestCase | None, new: TestCase) -> str:
    time = format_test_time(new.time)
    return time if old is None else f"{format_test_time(old.time)} → {time}"
