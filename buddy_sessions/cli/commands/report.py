"""The command `report`: write a database as one HTML page, or print its digest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from buddy_sessions import MAIN, ConfigError, Main, NoVerdictError, SessionStore
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_files import replace_file
from buddy_sessions.analysis import FlakyTests, SuiteStatus
from buddy_sessions.analysis.branches import suggest_branches
from buddy_sessions.analysis.suite_status import is_stale

from ..errors import ExitCode
from ..input.keys import KeyDefaults, select_keys
from ..input.paths import explain_errors, find_database
from ..input.times import Age, Since
from ..options import BRANCH, Flag, SavedFile, Verbosity
from ..render.html import MIN_BYTES, Report, load_template, render_page
from ..render.news import Period, SharedCause, SuiteNews, describe_suite, share_causes, time_of
from ..render.result import Item, Result, Section
from ..render.show import show
from ..render.text import SHORT_HASH, author_name, cut

_NEW = timedelta(hours=24)
_MAX_LAG = timedelta(days=1)  # a suite that was synced so long before others could not be read since
_MAX_PLACES = 6
_STALE = "stale"
_FEW_TESTS = re.compile(r"#\d+: [\d,]+ tests? ran[^;]*")


async def report(
    *,
    db: SavedFile,
    suite: Annotated[Sequence[str], Parameter(consume_multiple=True, show_default=False)] = (),
    branch: Annotated[str | None, BRANCH] = None,
    new_since: Annotated[
        Since, Parameter(help="What counts as new: the last 24h, 7d or 2w, or since a date (default: 24h).")
    ] = None,
    max_age: Age | None = None,
    exit_code: Flag = False,
    out: Annotated[Path | None, Parameter(name=("--out", "-o"), metavar="FILE")] = None,
    max_bytes: Annotated[int | None, Parameter(validator=Number(gte=MIN_BYTES))] = None,
    format: Literal["jsonl"] | None = None,  # noqa: A002 - the name of the option
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
) -> ExitCode:
    """Write an HTML report of a database: what broke on main since yesterday, where, why and by whom.

    The page is one file, which loads nothing from the network: mail it, print it, read it on a phone.
    Causes need the failing tests, which "sync --cases failed" saves; flaky tests need "sync --cases all".

    For example:

    - buddy-sessions report --db sessions.db -o report.html
    - buddy-sessions report --db sessions.db --suite acme/storefront --new-since 3d -o report.html
    - buddy-sessions report --db sessions.db -o report.html --max-bytes 100000 --exit-code
    - buddy-sessions report --db sessions.db --format jsonl | jq -r .text

    Args:
        suite: Only these suites, or those of WORKSPACE/PROJECT or WORKSPACE (default: all suites in the file).
        branch: Branch to look at (default: the main branch of each suite).
        max_age: A suite is stale, and not judged, if its newest verdict or its last sync is older than 24h, 7d or 2w.
        exit_code: End with exit code 1 if a suite is red or stale.
        out: HTML file to write. It is replaced only when the page is complete.
        max_bytes: Maximum size of the page, such as 100000 for a mail: failing tests, then suites that are not red are
            left out, and the page says so.
        format: Print a digest for a chat: a JSON line, with a "text", for the whole and for each cause, for what has
            recovered, and for what is not judged.
    """
    messages = verbosity.open()
    if out is None and format is None:
        raise ConfigError("nothing to write: add -o FILE.html, or --format jsonl for a digest")
    targets = [defaults.parse_group(text) for text in suite]
    template = load_template() if out is not None else None
    now = datetime.now(UTC)
    period = Period(now=now, new_since=new_since or now - _NEW, max_age=max_age)
    async with SessionStore(find_database(db)) as store:
        statuses = {each.suite: each for each in await store.status(branch=branch or MAIN)}
        if not statuses:
            raise ConfigError(f"no suite in {str(db)!r}: run buddy-sessions sync WORKSPACE/PROJECT --db {db}")
        chosen = [statuses[key] for key in select_keys(list(statuses), targets, db)]
        with messages.progress() as progress:
            found = await _read_report(store, chosen, period, branch, progress)
        if branch is not None and all(status.reason == "no session" for status in chosen):
            first = chosen[0].suite
            messages.print_warning(suggest_branches(branch, first, await store.sessions(first)))
    if out is not None:
        page = render_page(template, found, max_bytes=max_bytes)
        with explain_errors(out, replace_file(out, source=str(db))) as new:
            new.write_bytes(page)
        messages.print_written(out, format_count(len(chosen), "suite"))
    if format is not None:
        items = [Item(None, row=row) for row in _digest(found)]
        show(Result(command="report", noun="suite", sections=[Section("", items)]), format, messages)
    needs_attention = any(status.is_failing or is_stale(status, now, max_age) for status in chosen)
    return ExitCode.RED if exit_code and needs_attention else ExitCode.DONE


async def _read_report(
    store: SessionStore,
    statuses: Sequence[SuiteStatus],
    period: Period,
    branch: str | None,
    progress: Callable[[str], object],
) -> Report:
    """Return what there is to say about suites: why they are red, and which of their tests are flaky."""
    pages = {suite.key: suite.html_url for suite in await store.suites()}
    synced_at = max((status.synced_at for status in statuses if status.synced_at), default=None)
    suites: list[SuiteNews] = []
    unknown = 0  # suites of which it is not known whether tests are flaky
    for status in statuses:
        note, detail = _note(status, period, synced_at)
        suite = SuiteNews(status=status, url=pages.get(status.suite), note=note, detail=detail)
        if status.is_failing is not None and note != _STALE:
            judgement = flaky = None
            selected = MAIN if branch is None else branch
            with suppress(NoVerdictError):  # deleted meanwhile
                if status.is_failing:
                    judgement = await store.judge(status.suite, branch=selected, baseline=selected)
                flaky = await _find_flaky(store, status, selected)
            unknown += flaky is None
            suite = describe_suite(suite, period, judgement, flaky)
        suites.append(suite)
        progress(f"{len(suites):,}/{format_count(len(statuses), 'suite')}")
    missing = "sync --cases all saves the tests that passed"
    return Report(
        suites=sorted(suites, key=lambda each: (each.project, each.name, each.key)),
        causes=share_causes(suites),
        period=period,
        branch=branch,
        synced_at=synced_at,
        flaky_note=f"Not known of {format_count(unknown, 'suite')}: {missing}." if unknown else "",
    )


async def _find_flaky(store: SessionStore, status: SuiteStatus, branch: str | Main) -> FlakyTests | None:
    """Return the flaky tests of a suite; None if the tests that passed were not saved."""
    try:
        return await store.flaky(status.suite, branch=branch)
    except ConfigError:
        return None


def _note(status: SuiteStatus, period: Period, synced_at: datetime | None) -> tuple[str, str]:
    """Return why a suite is not judged, or what is unusual about one that is; and a detail."""
    if status.missing_since is not None:
        return status.reason or "missing", period.age(status.missing_since)
    if status.commit is None:
        return status.reason or "no verdict", status.remark
    if is_stale(status, period.now, period.max_age):
        moments = filter(None, (time_of(status.commit.session), status.synced_at))
        return _STALE, period.age(min(moments, default=period.now))
    if synced_at and status.synced_at and synced_at - status.synced_at > _MAX_LAG:
        return "not read by later syncs", period.age(status.synced_at)
    few = _FEW_TESTS.search(status.remark)
    return ("few tests", few[0]) if few else ("", "")


def _digest(report: Report) -> Iterator[dict[str, Any]]:
    """Yield what is posted to a chat: the whole, each cause, what has recovered, and what is not judged."""
    count = {state: len(report.by_state(state)) for state in ("new", "recovered", "unknown")}
    yield {
        "kind": "summary",
        "text": report.title,
        "written": report.period.now,
        "new_since": report.period.new_since,
        "synced_at": report.synced_at,
        "suites": len(report.suites),
        "newly_red": count["new"],
        "red": len(report.red),
        "recovered": count["recovered"],
        "not_judged": count["unknown"],
    }
    for cause in report.causes:
        yield _cause_row(report, cause)
    if recovered := report.by_state("recovered"):
        moments = [suite.since for suite in recovered if suite.since is not None]
        yield {
            "kind": "recovered",
            "text": f"{format_count(len(recovered), 'suite')} recovered: {_places(report, recovered)}",
            "suites": [str(suite.key) for suite in recovered],
            "since": min(moments, default=None),
        }
    for reason, suites in report.notes:
        if suites[0].state == "unknown":
            yield {
                "kind": "not judged",
                "text": f"{format_count(len(suites), 'suite')} not judged, {reason}: {_places(report, suites)}",
                "suites": [str(suite.key) for suite in suites],
                "reason": reason,
            }


def _cause_row(report: Report, cause: SharedCause) -> dict[str, Any]:
    """Return a cause as a row of the digest."""
    messages = [": ".join(filter(None, text)) for text in cause.texts]
    began, (_, first) = time_of(cause.first.began), cause.commits[0]
    facts = [
        messages[0],
        f"{format_count(len(cause.hits), 'suite')}, {format_count(cause.tests, 'test') if cause.tests else 'no test'}",
        _places(report, cause.suites),
    ]
    age = "" if began is None else f"for {'' if cause.first.is_exact else 'more than '}{report.period.age(began)}"
    author = f" by {cut(name)}" if (name := author_name(first)) else ""
    commit = f"{cut(first.revision[:SHORT_HASH])}{author}" if first.revision else ""
    facts.append(", ".join(filter(None, (age, commit))))
    return {
        "kind": "newly red" if cause.is_new else "red",
        "text": " · ".join(filter(None, facts)),
        "messages": messages,
        "suites": [str(suite.key) for suite in cause.suites],
        "also_in": [str(suite.key) for suite in cause.also],
        "tests": cause.tests,
        "is_flaky": cause.is_flaky,
        "since": began,
        "is_since_exact": cause.first.is_exact,
        "commits": [
            {
                "project": report.place(suite),
                "revision": session.revision,
                "author": author_name(session) or None,
                "html_url": session.html_url,
                "ci_run_url": session.ci_run_url,
            }
            for suite, session in cause.named_commits
        ],
    }


def _places(report: Report, suites: Sequence[SuiteNews]) -> str:
    """Return the projects of suites; the name of the suite, if a project has only one."""
    names = [
        f"{project} {members[0].name}" if len(members) == 1 else f"{project} ({len(members)} suites)"
        for project, members in report.by_project(suites)
    ]
    more = f" and {len(names) - _MAX_PLACES} more projects" if len(names) > _MAX_PLACES else ""
    return f"{', '.join(names[:_MAX_PLACES])}{more}"
