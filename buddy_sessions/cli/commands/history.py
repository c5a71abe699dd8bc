"""The command `history`: print since when a test fails, and which commits are in between."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from buddy_sessions import SuiteKey, TestKey, to_row
from buddy_sessions._base.figures import format_count, format_duration
from buddy_sessions._base.validate import REVISION
from buddy_sessions._export import suite_names
from buddy_sessions.analysis import TestHistory, TestOutcome
from buddy_sessions.analysis.commits import LAST

from ..git_authors import Clone, name_authors
from ..options import Key, Last, Limit, Question, TableFormat, ask
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import default_limit, show
from ..render.text import HASH, author_text, format_age, number_text, origin, revision_text, status_mark, unread_text

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


async def command(
    key: Key,
    test: str,
    /,
    *,
    last: Last = LAST,
    limit: Limit = None,
    git: Clone = Path(),
    question: Question = Question(),
    output_format: TableFormat = None,
) -> None:
    """Print in which commits a test failed, since when it fails, and which commits may have broken it.

    Without --db, each red session costs one or two requests. If the test failed in all of the --last commits, older
    ones are read, back to where it began. "Did not fail" means that it passed, was skipped, or did not run.

    For example:

    - buddy-sessions history acme/storefront/MNbyVedg "CartTest > adds_discount"
    - buddy-sessions history acme/storefront/MNbyVedg adds_discount --db sessions.db --branch develop

    Args:
        test: Name of a test as other commands print it, or a part that matches only this test.
    """
    async with ask(key, question) as (answers, suite, messages):
        history = await answers.history(suite, test, branch=question.branch, last=last)
    result = history_result(suite, await name_authors(history, git))
    show(result, output_format, messages, limit=limit or default_limit(output_format))


def history_result(suite: SuiteKey, history: TestHistory) -> CommandResult:
    """Return since when a test fails, and what it did in the commits of a branch."""
    now, branch = datetime.now(UTC), history.branch
    title, *facts = _since(history)
    return CommandResult(
        suite=suite,
        about=f"branch {branch}: {history.key}",
        title=title,
        facts=facts,
        columns=_COLUMNS,
        sections=[Section("Commits", [_item(suite, branch, history.key, each, now) for each in history.outcomes])],
        csv_columns=_FIELDS,
        warnings=[unread_text(history.unread)],
    )


def _item(suite: SuiteKey, branch: str, key: TestKey, outcome: TestOutcome, now: datetime) -> Item:
    session, case = outcome.session, outcome.case
    status, time = (None, None) if case is None else (case.status, case.time)
    cells = (
        number_text(session),
        Text("did not fail") if status is None else status_mark(status),
        format_duration(time),
        format_age(session.create_date, now),
        revision_text(session),
        author_text(session),
    )
    values = (key.group, key.classname, key.name, branch, session.id, session.relative_id, status, time)
    of_session = to_row(session)
    row = {**suite_names(suite), **dict(zip(_VALUES, values, strict=True)), **{n: of_session[n] for n in _OF_SESSION}}
    return Item(None, cells, row=row, url=session.html_url)


def _since(history: TestHistory) -> list[str]:
    """Return since when a test fails or does not, the commit before, and the commits in between."""
    streak, before = history.streak, history.before
    if not streak:
        return ["No commit says whether it fails"]
    is_failing, first, commits = history.is_failing, streak[-1].session, format_count(len(streak), "commit")
    may_be_older = before is None and history.may_have_older and first.relative_id > 1
    or_earlier = " or earlier" if may_be_older else ""
    lines = [
        f"{'Failing' if is_failing else 'Not failing'} since #{first.relative_id}{or_earlier}, in {commits}",
        f"#{first.relative_id}: {origin(first)}",
    ]
    if before is None:
        return [*lines, "Older commits were not read" if may_be_older else "There is no older commit"]
    older = before.session
    lines.append(f"Before that, #{older.relative_id} {'did not fail' if is_failing else 'failed'}: {origin(older)}")
    failures = sum(outcome.is_failing for outcome in history.outcomes)
    lines.append(f"It failed in {failures:,} of {format_count(len(history.outcomes), 'commit')}")
    revisions = [(session.revision or "").lower() for session in (older, first)]
    if all(map(REVISION.fullmatch, revisions)):  # nothing else may get into a shell
        lines.append(f"git log --oneline {'..'.join(revision[:HASH] for revision in revisions)}")
    return lines
