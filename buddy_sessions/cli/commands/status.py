"""The command `status`: print which suites are red, since when, of which commit and by whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import evolve
from cyclopts.types import PositiveInt
from rich.text import Text

from buddy_sessions import BuddyError, ConfigError, SessionStore, SuiteKey, SuiteStatus
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_rows import suite_names
from buddy_sessions.analysis.judgement import ALL_BRANCHES

from ..errors import ExitCode, error_text, many_suites_code
from ..input.keys import select_keys
from ..input.paths import find_database
from ..input.suite_selection import SuiteSelection
from ..input.times import Age
from ..options import Access, BranchOptions, Flag, Keys, Source, TestPrinting
from ..reading.suggestions import check_branch
from ..reading.suite_report import is_stale
from ..render.result import Column, Item, Result, Section
from ..render.show import show
from ..render.styled import author_text, link, number_text, plain, revision_text
from ..render.text import UNKNOWN, format_age

_BATCH = 100  # suites between two updates of the progress
_MAX_REMARKS = 20

_NAME = Column("NAME", is_number=False, can_be_cut=True)
_COLUMNS = (
    Column("SUITE", is_number=False),
    _NAME,
    Column("STATUS", is_number=False),
    Column("SINCE", "since {}", is_number=False),
    Column("AGE"),
    Column("COMMIT", "commit {}", is_number=False),
    Column("AUTHOR", "by {}", is_number=False),
)
_VALUES = (
    *("name", "branch", "status", "is_stale", "session", "html_url"),
    *("since", "is_since_exact", "since_date", "revision", "created_by_name", "synced_at", "missing_since", "error"),
    "remark",
)
_FIELDS = (*SuiteKey._fields, *_VALUES)


async def show_status(
    *key: Keys,
    source: Source = None,
    db: Path | None = None,
    branches: BranchOptions = BranchOptions(),
    red: Flag = False,
    max_age: Age | None = None,
    exit_code: Flag = False,
    concurrency: PositiveInt = 8,
    printing: TestPrinting = TestPrinting(),
    access: Access = Access(),
) -> ExitCode:
    """Print which suites are red, since which session, of which commit and by whom; red ones first.

    Each suite costs one request, or none with --db. An error of one suite does not stop the others; 20 in
    a row that fail in the same way do.

    For example:

    - buddy-sessions status acme/storefront
    - buddy-sessions status acme --red --max-age 24h --exit-code
    - buddy-sessions status --db sessions.db --format markdown

    Args:
        db: Read from this SQLite file, written by sync, and send no request (default: all suites in the file).
        red: Print only suites that are red or stale, or cannot be read.
        max_age: A suite is stale if its newest verdict is older than 24h, 7d or 2w. With --db,
            also if its last sync is older, unless it is missing or deleted.
        exit_code: End with exit code 1 if a suite is red or stale.
        concurrency: Maximum number of requests at once.
    """
    output_format, branch, messages = printing.choose(), branches.choose(), access.verbosity.open()
    failures: Mapping[str, BuddyError] = {}
    if db is not None:
        groups = SuiteSelection(key, source, defaults=access.defaults).groups if key or source is not None else []
        async with SessionStore(find_database(db)) as store:
            statuses = await store.status(branch=branch)
        chosen = select_keys([status.suite for status in statuses], groups, db)
        statuses = [status for status in statuses if status.suite in chosen]
        if not statuses:
            raise ConfigError(f"no suite in {str(db)!r}: run buddy-sessions sync WORKSPACE/PROJECT --db {db}")
    else:
        selection = SuiteSelection(key, source, defaults=access.defaults)
        async with access.connection.open_client(messages, max_concurrency=concurrency) as buddy:
            with messages.progress() as show_progress:
                suites = [suite async for suite in selection.suites(buddy)]
                statuses = []
                for start in range(0, len(suites), _BATCH):
                    show_progress(f"{start:,} of {format_count(len(suites), 'suite')}")
                    statuses += await buddy.status(suites[start : start + _BATCH], branch=branch)
            if isinstance(branch, str) and not any(status.session or status.error for status in statuses[:1]):
                messages.print_warning(await check_branch(buddy, suites[0], branch) if suites else "")
        statuses = [evolve(status, name=selection.name_of(status.suite)) for status in statuses]
        failures = selection.failures
    now = datetime.now(UTC)
    result = status_result(statuses, now, max_age=max_age, only_red=red)
    show(result, output_format, messages, max_bytes=printing.max_bytes)
    for name, error in failures.items():
        messages.print_problem("failed", f"{name}: {error_text(error)}")
    needs_attention = any(status.is_failing or is_stale(status, now, max_age) for status in statuses)
    errors = [*failures.values(), *(status.error for status in statuses if status.error is not None)]
    is_any_read = any(status.error is None for status in statuses)
    return many_suites_code(errors, is_any_read=is_any_read, is_red=exit_code and needs_attention)


def status_result(
    statuses: Sequence[SuiteStatus], now: datetime, *, max_age: timedelta | None = None, only_red: bool = False
) -> Result:
    """Return the suites: red ones first, then stale ones, those that could not be read, without a verdict, green."""
    stale = {status.suite for status in statuses if is_stale(status, now, max_age)}

    def rank(status: SuiteStatus) -> int:
        states = (status.is_failing, status.suite in stale, status.error is not None, status.session is None, True)
        return states.index(True)

    ranks = sorted(statuses, key=rank)
    shown = [status for status in ranks if not only_red or rank(status) <= 2]
    has_names = any(status.name for status in shown)
    items = [status_item(status, now, is_stale=status.suite in stale, has_names=has_names) for status in shown]
    failing = [status for status in statuses if status.is_failing]
    counts = {
        "red": len(failing),
        "green": sum(status.is_failing is False for status in statuses),
        "stale": len(stale),
        "without a verdict": sum(status.reason is not None for status in statuses),
        "not read": sum(status.error is not None for status in statuses),
    }
    figures = [f"{count:,} {what}" for what, count in counts.items() if count]
    return Result(
        command="status",
        title=f"{format_count(len(statuses), 'suite')}: {', '.join(figures)}" if figures else "no suite",
        is_red=bool(failing) if failing or counts["green"] else None,
        facts=_remarks(shown),
        columns=[column for column in _COLUMNS if has_names or column is not _NAME],
        sections=[Section("", items)],
        fields=_FIELDS,
        noun="suite",
    )


def _remarks(statuses: Sequence[SuiteStatus]) -> list[str]:
    """Return in which suites tests did not run: that changes no colour."""
    remarks = [f"{status.suite}: {status.remark}" for status in statuses if status.remark]
    rest = [f"and {len(remarks) - _MAX_REMARKS:,} more in which tests did not run"] if remarks[_MAX_REMARKS:] else []
    return remarks[:_MAX_REMARKS] + rest


def status_item(status: SuiteStatus, now: datetime, *, is_stale: bool, has_names: bool) -> Item:
    """Return whether a suite is red, and since when. What is not known is None in the row."""
    session, first = status.session, status.since
    row: dict[str, Any] = {**suite_names(status.suite), **dict.fromkeys(_VALUES)}
    row |= {"name": status.name, "branch": status.branch, "is_stale": is_stale}
    row |= {"synced_at": status.synced_at, "missing_since": status.missing_since}
    name = [plain(status.name)] if has_names else []
    key = plain(str(status.suite))
    if status.error is not None:
        error = error_text(status.error)
        return Item(None, (key, *name), remark=error, row={**row, "error": error})
    if session is None or first is None:
        age = format_age(status.missing_since, now) if status.missing_since is not None else ""
        return Item(None, (key, *name, status.reason or UNKNOWN, "", age), row={**row, "status": status.reason})
    state, style = ("red", "bold red") if session.is_failing else ("green", "green")
    row |= {
        "status": state,
        "session": session.relative_id,
        "html_url": session.html_url,
        "since": first.relative_id,
        "is_since_exact": status.is_since_exact,
        "since_date": first.create_date,
        "revision": first.revision,
        "created_by_name": first.created_by.name if first.created_by is not None else None,
        "remark": status.remark,
    }
    cells: list[str | Text] = [
        link(key, session.html_url),
        *name,
        Text.assemble(plain(status.branch or ALL_BRANCHES), " is ", (state, style), ", stale" if is_stale else ""),
        Text.assemble(number_text(first), "" if status.is_since_exact else " or earlier"),
        format_age(first.create_date, now),
        revision_text(first),
        author_text(first),
    ]
    return Item(None, cells, row=row)
