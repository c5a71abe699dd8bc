"""The command `status`: print which suites are red, since which commit, by whom, and why."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from attrs import evolve
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from buddy_sessions import MAIN, BuddyError, SessionStore, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._base.workers import map_concurrently
from buddy_sessions._export import suite_names
from buddy_sessions.analysis import Judgement, SuiteStatus, TestedCommit
from buddy_sessions.analysis.causes import normalise
from buddy_sessions.analysis.remarks import remarks_text
from buddy_sessions.analysis.suite_status import is_stale

from ..errors import ExitCode, error_text, many_suites_code
from ..git_authors import Clone, name_authors
from ..options import ROWS, Access, Answers, BranchOption, Flag, FromFile, Keys, ReadFile, lacks_branch, open_answers
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import FOR_PEOPLE, choose_format, show
from ..render.text import (
    UNKNOWN,
    age_of,
    author_name,
    author_text,
    cause_text,
    count_read_messages,
    link,
    number_text,
    one_line,
    plain,
    revision_text,
)
from ..suite_selection import SuiteSelection, select_keys
from ..values import Age

_MAX_REMARKS = 20

_COLUMNS = (
    Column("SUITE", is_number=False),
    Column("NAME", is_number=False, can_be_cut=True, rank=1),
    Column("STATUS", is_number=False),
    Column("FAIL", "{} failing", rank=2),
    Column("SINCE", "since {}", is_number=False),
    Column("AGE", "{} ago"),
    Column("COMMIT", "commit {}", is_number=False, rank=3),
    Column("AUTHOR", "by {}", is_number=False, can_be_cut=True),
)
_VALUES = (
    *("name", "branch", "status", "is_stale", "failing_tests", "cause", "session", "html_url"),
    *("since", "is_since_exact", "since_date", "revision", "created_by_name", "synced_at", "missing_since", "error"),
    "remark",
)
_FIELDS = (*SuiteKey._fields, *_VALUES)


class FirstCause(NamedTuple):
    """Why a suite is red. Equal templates of several suites are the same cause, whose texts may differ."""

    text: str
    template: tuple[str, ...]
    note: str = ""  # a later session than the first red one, and of how many causes or messages it is


async def command(
    *key: Keys,
    from_file: FromFile = None,
    db: ReadFile = None,
    branch: BranchOption = MAIN,
    why: Flag = False,
    red: Flag = False,
    max_age: Age | None = None,
    exit_code: Flag = False,
    git: Clone = Path(),
    output_format: Annotated[Literal["table", "jsonl", "csv", "markdown"] | None, ROWS] = None,
    max_bytes: Annotated[int, Parameter(validator=Number(gte=2_000), metavar="BYTES")] = 4_000,
    access: Access = Access(),
) -> ExitCode:
    """Print which suites are red, since which commit, and by whom. Those that turned red last come first.

    SINCE, AGE, COMMIT and AUTHOR are those of the first session in this state. In a narrow terminal, names are cut,
    then COMMIT, FAIL and NAME are left out, in this order, then authors are cut, and left out.

    Each suite costs one request, or two if the branch is rare among its newest 100 sessions, or none with --db. A suite
    that cannot be read does not stop the others. But if 20 in a row fail with the same error, the command ends.

    For example:

    - buddy-sessions status acme/storefront --why
    - buddy-sessions status acme --red --max-age 24h --exit-code
    - buddy-sessions status --db sessions.db --format markdown

    Args:
        why: Print why one test of each red suite fails, with two or three requests for each. With --db, print
            the cause of most failing tests, without a request.
        red: Print only suites that are red or stale, or cannot be read.
        max_age: A suite is stale if its newest verdict, or with --db its last sync, is older than DURATION, such as 7d.
        exit_code: Exit with 1 if a suite is red or stale, with 5 if none has the branch.
        max_bytes: Maximum size of markdown; suites that do not fit are left out. The default fits in a chat message.
    """
    messages, now = access.messages(), datetime.now(UTC)
    selection = SuiteSelection(key, from_file, defaults=access.defaults, may_be_empty=db is not None)
    async with open_answers(db, access, messages) as answers:
        if isinstance(answers, SessionStore):
            suites = select_keys([suite.suite for suite in await answers.info()], selection.targets, db)
            statuses = await answers.status(suites, branch=branch)
        else:
            with messages.progress() as show_progress:
                names = await selection.resolve(answers)
                show_progress(f"reading {format_count(len(names), 'suite')}")
                statuses = [evolve(each, name=names[each.suite]) for each in await answers.status(names, branch=branch)]
        is_unknown = await lacks_branch(answers, branch, statuses, messages)
        causes = {
            suite: each.note + each.text
            for suite, each in (await read_causes(answers, statuses) if why else {}).items()
        }
    statuses = await name_authors(statuses, git)
    result = status_result(statuses, now, max_age=max_age, only_red=red, causes=causes)
    show(result, output_format, messages, max_bytes=max_bytes)
    unread = {str(status.suite): status.error for status in statuses if status.error is not None}
    is_shown = choose_format(output_format) in FOR_PEOPLE  # as a row, with its cause
    messages.print_failures(selection.failures if is_shown else selection.failures | unread)
    needs_attention = any(status.is_failing or is_stale(status, now, max_age) for status in statuses)
    errors = [*selection.failures.values(), *unread.values()]
    code = many_suites_code(errors, is_any_read=len(unread) < len(statuses), is_red=exit_code and needs_attention)
    return ExitCode.NO_VERDICT if exit_code and is_unknown and code is ExitCode.DONE else code


async def read_causes(answers: Answers, statuses: Sequence[SuiteStatus]) -> dict[SuiteKey, FirstCause]:
    """Return why each red suite is red: the cause of most tests, or that no test failed, or why that cannot be read.

    A client reads the message of one test.
    """
    details = isinstance(answers, SessionStore) or 1

    async def read(red_suite: tuple[SuiteStatus, TestedCommit]) -> FirstCause:
        status, commit = red_suite
        suite = status.suite
        try:
            judgement = await answers.judge(suite, commit.session, baseline=None, details=details)
        except BuddyError as error:
            return _other_cause(f"the cause cannot be read: {error_text(error)}")
        if not judgement.causes:
            return _other_cause(next((reason.describe(error_text) for reason in judgement.reasons), ""))
        first = evolve(judgement.causes[0], tests=judgement.causes[0].tests[:1])
        place = suite[:2] if first.is_place else ()
        later = "" if commit is status.since else f"newest #{first.tests[0].session.relative_id}"
        note = ", ".join(filter(None, (later, _count_causes(judgement))))
        return FirstCause(cause_text(first), (first.type or "", first.template, *place), f"({note}) " if note else "")

    red = [(status, status.commit) for status in statuses if status.is_failing and status.commit is not None]
    causes = await map_concurrently(read, red, concurrency=8)
    return {status.suite: cause for (status, _), cause in zip(red, causes, strict=True)}


def _count_causes(judgement: Judgement) -> str:
    """Return how many causes a suite has; if not all messages were read, how many were."""
    if text := count_read_messages(judgement.tests):
        return text
    return f"1 of {len(judgement.causes):,} causes" if len(judgement.causes) > 1 else ""


def _other_cause(text: str) -> FirstCause:
    return FirstCause(text, (normalise(text),))


def status_result(
    statuses: Sequence[SuiteStatus],
    now: datetime,
    *,
    max_age: timedelta | None = None,
    only_red: bool = False,
    causes: Mapping[SuiteKey, str] = MappingProxyType({}),
) -> CommandResult:
    """Return the suites: red ones first, then stale ones, those that could not be read, without a verdict, green."""
    stale = {status.suite for status in statuses if is_stale(status, now, max_age)}
    ordered = sorted(statuses, key=lambda status: _rank(status, now, is_stale=status.suite in stale))
    shown = [each for each in ordered if not only_red or each.is_failing or each.suite in stale or each.error]
    branches = {status.branch for status in statuses if status.commit is not None}
    branch = branches.pop() if len(branches) == 1 else None
    items = [
        status_item(status, now, branch=branch, is_stale=status.suite in stale, cause=causes.get(status.suite))
        for status in shown
    ]
    remarks = [f"{status.suite}: {remarks_text(status.remarks)}" for status in shown if status.remarks]
    rest = [f"and {len(remarks) - _MAX_REMARKS:,} more remarks"] if remarks[_MAX_REMARKS:] else []
    verdicts = [status.is_failing for status in statuses if status.is_failing is not None]
    return CommandResult(
        command="status",
        title=_title(statuses, stale, branch),
        is_red=any(verdicts) if verdicts else None,
        facts=remarks[:_MAX_REMARKS] + rest,
        columns=_COLUMNS,
        sections=[Section("", items)],
        csv_columns=_FIELDS,
    )


def _rank(status: SuiteStatus, now: datetime, *, is_stale: bool) -> tuple[int, float]:
    """Return what suites are sorted by: their state, and of red ones, for how long."""
    states = (status.is_failing, is_stale, status.error is not None, status.commit is None, True)
    date = status.since.turning_session.create_date if status.is_failing and status.since is not None else None
    return states.index(True), (now - date).total_seconds() if date is not None else float("inf")


def _title(statuses: Sequence[SuiteStatus], stale: Container[SuiteKey], branch: str | None) -> str:
    """Return how many suites are in each state: `3 suites on main: 1 red (1 stale), 2 green`."""
    groups = {
        "red": [status for status in statuses if status.is_failing],
        "green": [status for status in statuses if status.is_failing is False],
        "without a verdict": [status for status in statuses if status.reason is not None],
        "not read": [status for status in statuses if status.error is not None],
    }
    figures: list[str] = []
    for what, members in groups.items():
        n_stale = sum(status.suite in stale for status in members)
        figures += [f"{len(members):,} {what}" + (f" ({n_stale:,} stale)" if n_stale else "")] if members else []
    suites = format_count(len(statuses), "suite") + (f" on {branch}" if branch else "")
    return f"{suites}: {', '.join(figures)}" if figures else "no suite"


def status_item(
    status: SuiteStatus, now: datetime, *, branch: str | None, is_stale: bool, cause: str | None = None
) -> Item:
    """Return whether a suite is red, since when, and why. What is not known is None in the row.

    `branch` is that of all suites, which is not repeated; None if they have several.
    """
    row: dict[str, Any] = {**suite_names(status.suite), **dict.fromkeys(_VALUES), "is_stale": is_stale, "cause": cause}
    row |= {name: getattr(status, name) for name in ("name", "branch", "synced_at", "missing_since")}
    names = plain(str(status.suite)), plain(status.name)
    if status.error is not None:
        error = error_text(status.error)
        return Item(None, (*names, "not read"), remark=error, row={**row, "error": error})
    if status.commit is None or status.since is None:
        age = "" if status.missing_since is None else age_of(status.missing_since, now)
        cells = (*names, status.reason or UNKNOWN, "", "", age)
        return Item(None, cells, row={**row, "status": status.reason, "remark": remarks_text(status.remarks) or None})
    session, first = status.commit.session, status.since.turning_session
    state, style = ("red", "bold red") if status.is_failing else ("green", "green")
    where = "" if branch else f"{one_line(status.branch or UNKNOWN)} is "
    or_earlier = "" if status.is_since_exact or first.relative_id == 1 else " or earlier"
    count, failing = _failing_tests(status.commit)
    row |= {
        "status": state,
        "failing_tests": count,
        "session": session.relative_id,
        "html_url": session.html_url,
        "since": first.relative_id,
        "is_since_exact": status.is_since_exact,
        "since_date": first.create_date,
        "revision": first.revision,
        "created_by_name": author_name(first) or None,
        "remark": remarks_text(status.remarks) or None,
    }
    texts = (
        link(plain(str(status.suite)), session.html_url),
        names[1],
        Text.assemble(where, (state, style), ", stale" if is_stale else ""),
        failing,
        Text.assemble(number_text(first), or_earlier),
        age_of(first.create_date, now),
        revision_text(first),
        author_text(first),
    )
    return Item(None, texts, cause or "", row=row, url=session.html_url)


def _failing_tests(commit: TestedCommit) -> tuple[int | None, str]:
    counts = [session.failing_count for session in commit.counted if session.is_failing]
    numbers = [count for count in counts if count is not None]
    if not numbers:
        return None, ""
    return max(numbers), f"{max(numbers):,}" if len(counts) == 1 else f"at least {max(numbers):,}"
