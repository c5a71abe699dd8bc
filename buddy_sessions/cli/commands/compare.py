"""The command `compare`: print how the tests of two sessions differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from buddy_sessions import Session, TestCase, compare
from buddy_sessions._base.figures import format_duration
from buddy_sessions._export.session_rows import SESSION_CASE_COLUMNS, session_case_row

from ..errors import ExitCode
from ..options import Access, Flag, Key, TestPrinting
from ..reading.named_sessions import (
    find_session,
    find_session_before,
    parse_session,
    parse_session_of,
    require_verdict,
)
from ..reading.suite_reader import SuiteReader, open_suite
from ..render.result import Column, Item, Result, Section
from ..render.show import show
from ..render.styled import outcome_text

_KINDS = ("newly_failing", "fixed", "still_failing", "added", "removed")


async def compare_sessions(
    key: Key,
    old: Annotated[str | None, Parameter(show_default=False)] = None,
    new: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    db: Path | None = None,
    exit_code: Flag = False,
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
    output_format, messages = printing.choose(), access.verbosity.open()
    async with open_suite(target, db=db, connection=access.connection, messages=messages) as reader:
        after = await find_session(reader, names[-1] if names else in_key)
        if exit_code:
            require_verdict([after])
        before = await (find_session(reader, names[0]) if len(names) > 1 else find_session_before(reader, after))
        result = await compare_result(reader, before, after)
    show(result, output_format, messages, max_bytes=printing.max_bytes, is_gate=exit_code)
    return ExitCode.RED if exit_code and result.is_red else ExitCode.DONE


async def compare_result(reader: SuiteReader, old: Session, new: Session) -> Result:
    """Return how the tests of two sessions differ. It is red if tests newly fail, or if the new one crashed."""
    found = compare(await reader.cases(old), await reader.cases(new))
    changes: dict[str, Sequence[tuple[TestCase | None, TestCase]]] = {
        kind: [(None, case) for case in getattr(found, kind)] for kind in _KINDS
    }
    changes["slower"] = found.slower
    crashed = [new] if new.is_failing and not (found.newly_failing or found.still_failing) else []

    def describe(kind: str, before: TestCase | None, case: TestCase) -> Item:
        row = session_case_row(reader.suite, old if kind == "removed" else new, case)
        row = {"key": row["key"], "change": kind, **row, "old_time": None if before is None else before.time}
        time = format_duration(case.time)
        time = time if before is None else f"{format_duration(before.time)} → {time}"
        return Item(case.key, (outcome_text(case.status), time), row=row)

    names = {kind: kind.replace("_", " ") for kind in changes}
    return Result(
        command="compare",
        suite=reader.suite,
        sessions=[new],
        old=old,
        title=", ".join(f"{len(pairs):,} {names[kind]}" for kind, pairs in changes.items()),
        is_red=bool(found.newly_failing or crashed),
        columns=(Column("", "", is_number=False), Column("")),
        sections=[
            Section(f"{names[kind].capitalize()} ({len(pairs):,})", [describe(kind, *pair) for pair in pairs])
            for kind, pairs in changes.items()
        ],
        crashed=crashed,
        fields=("change", *SESSION_CASE_COLUMNS, "old_time"),
    )
