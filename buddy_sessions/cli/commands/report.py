"""The command `report`: write a database as one HTML page, or print its digest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import Parameter
from cyclopts.validators import Number

from buddy_sessions import ConfigError, SessionStore
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_files import replace_file
from buddy_sessions.analysis.completeness import count_failing
from buddy_sessions.analysis.judgement import crash_text

from ..errors import ExitCode
from ..input.keys import KeyDefaults, select_keys
from ..input.paths import explain_errors, find_database
from ..input.times import Age, Since
from ..options import BranchOptions, Flag, SavedFile, Verbosity
from ..reading.case_source import SavedCases
from ..reading.suggestions import suggest_branches
from ..reading.suite_reader import SuiteReader
from ..reading.suite_report import ReportContext, State, SuiteReport, ended, read_suite
from ..render.html import MIN_BYTES, load_template, render_page
from ..render.result import Item, Result, Section
from ..render.show import show
from ..render.text import cause_text, format_moment, origin
from .status import status_item

_NEW = timedelta(hours=24)


async def report(
    *,
    db: SavedFile,
    suite: Annotated[Sequence[str], Parameter(consume_multiple=True, show_default=False)] = (),
    branches: BranchOptions = BranchOptions(),
    new_since: Annotated[
        Since, Parameter(help="What counts as new: the last 24h, 7d or 2w, or since a date (default: 24h).")
    ] = None,
    max_age: Age | None = None,
    exit_code: Flag = False,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    max_bytes: Annotated[int | None, Parameter(validator=Number(gte=MIN_BYTES))] = None,
    format: Literal["jsonl"] | None = None,  # noqa: A002 - the name of the option
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
) -> ExitCode:
    """Write an HTML report of a database: what is newly red on main, by whom and why, still red, or has recovered.

    The page is one file, which loads nothing from the network: mail it, print it, read it on a phone.
    The failing tests are on it if they were saved by "sync --cases failed".

    For example:

    - buddy-sessions report --db sessions.db -o report.html
    - buddy-sessions report --db sessions.db --suite acme/storefront --new-since 3d -o report.html
    - buddy-sessions report --db sessions.db -o report.html --max-bytes 100000 --exit-code
    - buddy-sessions report --db sessions.db --format jsonl | jq -r .text

    Args:
        suite: Only these suites, or those of WORKSPACE/PROJECT or WORKSPACE (default: all suites in the file).
        max_age: A suite is stale if its newest verdict or its last sync is older than 24h, 7d or 2w, unless it is
            missing or deleted.
        exit_code: End with exit code 1 if a suite is red or stale.
        out: HTML file to write. It is replaced only when the page is complete.
        max_bytes: Maximum size of the page, such as 100000 for a mail: other branches, then failing tests are left
            out, and the page says so.
        format: Print a digest for a chat: a JSON line, with a "text", for each suite that is red, has recovered, is not
            up to date, or did not run all its tests.
    """
    branch, messages = branches.choose(), verbosity.open()
    if out is None and format is None:
        raise ConfigError("nothing to write: add -o FILE.html, or --format jsonl for a digest")
    find_database(db)
    targets = [defaults.parse_group(text) for text in suite]
    template = load_template() if out is not None else None
    now = datetime.now(UTC)
    async with SessionStore(db) as store:
        statuses = {status.suite: status for status in await store.status(branch=branch)}
        pages = {each.key: each.html_url for each in await store.suites()}
        chosen = select_keys(list(statuses), targets, db)
        synced_at = max((it.synced_at for it in statuses.values() if it.synced_at), default=None)
        context = ReportContext(branch, now, new_since or now - _NEW, max_age, synced_at)
        suites: list[SuiteReport] = []
        with messages.progress() as progress:
            for key in chosen:
                reader = SuiteReader(SavedCases(store, db), key)
                suites.append(await read_suite(reader, statuses[key], context, pages.get(key)))
                progress(f"{len(suites):,}/{format_count(len(chosen), 'suite')}")
        if isinstance(branch, str) and suites and not any(each.latest for each in suites):
            messages.print_warning(suggest_branches(branch, chosen[0], await store.sessions(chosen[0])))
    if out is not None:
        page = render_page(template, suites, context, max_bytes=max_bytes)
        with explain_errors(out, replace_file(out, source=str(db))) as new:
            new.write_bytes(page)
        messages.print_written(out, format_count(len(suites), "suite"))
    if format is not None:
        show(_digest(suites, now), format, messages)
    is_red = any(each.is_red or each.delay == "stale" for each in suites)
    return ExitCode.RED if exit_code and is_red else ExitCode.DONE


def _digest(suites: Sequence[SuiteReport], now: datetime) -> Result:
    """Return a row for each suite that is red, has recovered, has a remark, or is not up to date, in this order."""
    states = get_args(State)
    shown = [it for it in suites if it.is_red or it.state == "recovered" or it.status.remark or not it.is_up_to_date]
    items = [_digest_item(each, now) for each in sorted(shown, key=lambda it: states.index(it.state))]
    return Result(command="report", noun="suite", sections=[Section("", items)])


def _digest_item(report: SuiteReport, now: datetime) -> Item:
    """Return what has happened to a suite, as the values of `status`, its failing tests, and one text."""
    status, tests = report.status, report.tests
    state = status.reason or report.state
    facts = [f"{state} since #{status.since.relative_id} ({origin(status.since)})" if status.since else state]
    if tests:
        marks = "".join(f", {count:,} {mark}" for mark, count in report.marks)
        cause = cause_text(report.causes[0]) if report.causes else "their messages were not read"
        facts.append(f"{format_count(len(tests), 'failing test')}{marks}: {cause}")
    elif report.latest is not None and report.is_red and not count_failing(report.latest):
        facts.append(crash_text(report.latest))
    if report.red_streak is not None:
        facts.append(f"it was red since {report.red_streak}")
    if status.remark is not None:
        facts.append(status.remark)
    if status.missing_since is not None:
        facts.append(f"not found since {format_moment(status.missing_since)}")
    elif report.delay == "stale" and report.latest is not None and (time := ended(report.latest)) is not None:
        facts.append(f"stale: the newest verdict is of {format_moment(time)}")
    elif not report.is_up_to_date and status.synced_at is not None:
        facts.append(f"not up to date: synced {format_moment(status.synced_at)}")
    name = f"{status.name} ({status.suite})" if status.name else str(status.suite)
    failing = {
        "failing": [str(test.case.key) for test in tests],
        "new": [str(test.case.key) for test in tests if test.baseline == "new"],
    }
    row = status_item(status, now, is_stale=report.delay == "stale", has_names=True).row or {}
    return Item(None, row={**row, "status": state, **failing, "text": f"{name}: {'; '.join(facts)}"})
