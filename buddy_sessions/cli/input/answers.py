"""What answers a command: a client, or a database; and the suites and sessions that its arguments name there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from buddy_sessions import BuddyClient, ConfigError, Main, SessionStore, SuiteKey
from buddy_sessions._base.validate import LATEST
from buddy_sessions.analysis import SuiteStatus
from buddy_sessions.analysis.branches import suggest_branches
from buddy_sessions.models import parse_session_url

from ..options import Access, Question
from ..render.console import Output
from .paths import find_database
from .suite_selection import KeyDefaults, select_keys

Answers: TypeAlias = BuddyClient | SessionStore


def open_answers(
    db: Path | None, access: Access, messages: Output, *, max_wait: float = 300.0
) -> AbstractAsyncContextManager[Answers]:
    """Open the database `db`, or a client if it is None."""
    if db is not None:
        return SessionStore(find_database(db))
    return access.connection.open_client(messages, max_wait=max_wait)


@asynccontextmanager
async def ask(key: str, question: Question) -> AsyncIterator[tuple[Answers, SuiteKey, Output]]:
    """Open what answers a question about the suite that `key` names, and the console for messages."""
    messages = question.access.messages()
    suite = question.access.defaults.parse_suite(key)
    with messages.progress(enabled=question.db is None):
        async with open_answers(question.db, question.access, messages) as answers:
            if isinstance(answers, SessionStore):
                select_keys([saved.key for saved in await answers.suites()], [suite], question.db)
            yield answers, suite, messages


def parse_session(defaults: KeyDefaults, key: str, session: str | None = None) -> tuple[SuiteKey, str]:
    """Return the suite of a key, and the name of a session: `latest` if neither `key` nor `session` names one."""
    suite = defaults.parse_suite(key)
    is_session = "://" in key and parse_session_url(key)[1] is not None
    if session is None:
        return suite, key if is_session else LATEST
    if is_session:
        raise ConfigError(f"two sessions: {key!r} is the URL of one, so leave out {session!r}")
    return suite, session


async def check_branch(answers: Answers, suite: SuiteKey, branch: str) -> str:
    """Return that a suite has no session of a branch, and which ones it has; empty if it has one: one request."""
    if isinstance(answers, SessionStore):
        return suggest_branches(branch, suite, await answers.sessions(suite))
    return suggest_branches(branch, suite, await answers.sessions(suite, max_sessions=100).collect())


async def lacks_branch(answers: Answers, branch: str | Main, statuses: Sequence[SuiteStatus], messages: Output) -> bool:
    """Return whether a branch was named, and no suite has a session of it. This is a warning."""
    if not isinstance(branch, str) or any(status.reason != "no session" for status in statuses):
        return False
    for status in statuses[:1]:
        messages.print_warning(await check_branch(answers, status.suite, branch))
    return True
