"""The command `report`: write a database as one HTML page, or print its digest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from buddy_sessions import MAIN, ConfigError, Main, NoVerdictError, SessionStore
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import replace_file
from buddy_sessions.analysis import SuiteStatus
from buddy_sessions.analysis.remarks import remarks_text
from buddy_sessions.analysis.suite_status import is_stale

from ..git_authors import Clone, name_authors
from ..options import FORMAT, BranchOption, Quiet, SavedFile, SavedKeys, lacks_branch
from ..render.console import Output
from ..render.html import MIN_BYTES, Report, digest_rows, load_template, render_page
from ..render.news import Period, SuiteNews, describe_suite, share_causes, time_of
from ..render.show import make_writer
from ..suite_selection import KeyDefaults, select_keys
from ..values import FILE, Age, Since, explain_errors, find_database

_NEW = timedelta(hours=24)
_MAX_LAG = timedelta(days=1)  # a suite that was synced so long before others could not be read since
_STALE = "stale"
_IDLE = timedelta(days=14)  # a green suite whose verdict is older has a remark, unless --max-age says what is stale


async def command(
    *key: SavedKeys,
    db: SavedFile,
    out: Annotated[Path | None, FILE, Parameter(name=("--out", "-o"))] = None,
    branch: BranchOption = MAIN,
    new_since: Annotated[
        Since, Parameter(help="What counts as new: the last 24h, 7d or 2w, or since a date (default: 24h).")
    ] = None,
    max_age: Age | None = None,
    max_bytes: Annotated[int | None, Parameter(validator=Number(gte=MIN_BYTES), metavar="BYTES")] = None,
    output_format: Annotated[Literal["jsonl"] | None, FORMAT] = None,
    git: Clone = Path(),
    quiet: Quiet = False,
    defaults: KeyDefaults = KeyDefaults(),
) -> None:
    """Write an HTML report of a database: what broke on main since yesterday, where, why and by whom.

    The page is one file, which loads nothing from the network: mail it, print it, read it on a phone.
    Causes and flaky tests need the failing tests, which "sync --cases failed" saves.

    For example:

    - buddy-sessions report --db sessions.db -o report.html
    - buddy-sessions report acme/storefront --db sessions.db --new-since 3d -o report.html
    - buddy-sessions report --db sessions.db -o report.html --max-bytes 100000
    - buddy-sessions report --db sessions.db --format jsonl | jq -r .text

    Args:
        out: HTML file to write. It is replaced only when the page is complete.
        max_age: A stale suite is not judged: its newest verdict or last sync is older than DURATION, such as 7d.
        max_bytes: Maximum size of the page, such as 100000 for a mail. A larger page leaves out failing tests first,
            then suites that are not red, and says so.
        output_format: Print a digest for a chat: JSON lines with a "text". They are a summary, the causes (one line for
            those of the same suites), what has recovered, what is not judged, and what is judged with a remark, such
            as a green suite that has not run for 14 days.
    """
    messages, now = Output(stderr=True, quiet=quiet), datetime.now(UTC)
    if out is None and output_format is None:
        raise ConfigError("nothing to write: add -o FILE.html, or --format jsonl for a digest")
    if out is not None and output_format is not None and out.suffix in {".jsonl", ".csv", ".json"}:
        raise ConfigError(f"cannot write {out}: -o is the HTML page, and the digest goes to stdout: write > {out}")
    targets, template = [defaults.parse_target(text) for text in key], load_template() if out else None
    period = Period(now=now, new_since=new_since or now - _NEW, max_age=max_age)
    async with SessionStore(find_database(db)) as store:
        statuses = {each.suite: each for each in await store.status(branch=branch)}
        chosen = [statuses[suite] for suite in select_keys(list(statuses), targets, db)]
        chosen = await name_authors(chosen, git)
        with messages.progress() as progress:
            report = await _read_report(store, chosen, period, branch, progress, git=git)
        await lacks_branch(store, branch, chosen, messages)
    if out is not None:
        page = render_page(template, report, max_bytes=max_bytes)
        with explain_errors(out, replace_file(out, source=str(db))) as new:
            new.write_bytes(page)
        messages.print_written(out, format_count(len(chosen), "suite"))
    if output_format is not None:
        make_writer(output_format, sys.stdout, ()).write([*digest_rows(report)])
    if report.flaky_note:
        messages.print_warning(f"causes and flaky tests are {report.flaky_note}")


async def _read_report(
    store: SessionStore,
    statuses: Sequence[SuiteStatus],
    period: Period,
    branch: str | Main,
    progress: Callable[[str], object],
    *,
    git: Path,
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
            with suppress(NoVerdictError):  # deleted meanwhile
                if status.is_failing:
                    judgement = await store.judge(status.suite, branch=branch, baseline=branch)
                    judgement = await name_authors(judgement, git)
                with suppress(ConfigError):  # the failing tests were not saved
                    flaky = await store.flaky(status.suite, branch=branch)
            unknown += flaky is None
            suite = describe_suite(suite, period, judgement, flaky)
        suites.append(suite)
        progress(f"{len(suites):,}/{format_count(len(statuses), 'suite')}")
    missing = "save the failing tests with sync --cases failed"
    return Report(
        suites=sorted(suites, key=lambda each: (each.key[:2], each.name, each.key)),
        causes=share_causes(suites),
        period=period,
        branch=branch if isinstance(branch, str) else None,
        synced_at=synced_at,
        flaky_note=f"not known of {format_count(unknown, 'suite')}: {missing}" if unknown else "",
    )


def _note(status: SuiteStatus, period: Period, synced_at: datetime | None) -> tuple[str, str]:
    """Return why a suite is not judged, or what is unusual about one that is; and a detail."""
    if status.commit is None:
        missing_since = status.missing_since
        return str(status.reason), period.age(missing_since) if missing_since else remarks_text(status.remarks)
    if is_stale(status, period.now, period.max_age):
        moments = filter(None, (time_of(status.commit.session), status.synced_at))
        return _STALE, period.age(min(moments, default=period.now))
    if synced_at and status.synced_at and synced_at - status.synced_at > _MAX_LAG:
        return "not read by later syncs", period.age(status.synced_at)
    few = next((str(remark) for remark in status.remarks if remark.kind == "few tests"), "")
    if few:
        return "few tests", few
    is_idle = period.max_age is None and status.is_failing is False and is_stale(status, period.now, _IDLE)
    return ("not run for 14 d", period.age(time_of(status.commit.session) or period.now)) if is_idle else ("", "")
