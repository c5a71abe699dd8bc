"""A source of questions over lists, for laws that need thousands of histories: no server, no file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from buddy_sessions import RefType, Session, Suite, SuiteKey, TestCase, TestKey, TestStatus
from buddy_sessions.analysis.commits import SessionList
from buddy_sessions.questions.questions import Questions
from buddy_sessions.questions.suite_reader import Source

Ask: TypeAlias = Callable[[], Awaitable[Questions]]
"""Returns what is asked: the fixture `ask` of `questions`."""

SUITE = SuiteKey("acme", "shop", "MNbyVedg")


class ListSource(Source):
    """See `Source`: the sessions of one suite, newest first, and the test cases of each."""

    concurrency = 1
    is_saved = True  # another read returns the same

    def __init__(
        self, sessions: Sequence[Session], cases_of: Callable[[str], Sequence[TestCase]], *, as_of: datetime
    ) -> None:
        self._sessions = sorted(sessions, key=lambda session: -session.relative_id)
        self._cases_of = cases_of
        self._as_of = as_of

    async def parts(self, _suite: SuiteKey, branch: str | None) -> AsyncGenerator[SessionList, None]:
        of_branch = [
            session
            for session in self._sessions
            if branch is None or (session.ref_type == RefType.BRANCH and session.ref_name == branch)
        ]
        yield SessionList(sessions=of_branch, below="nothing", as_of=self._as_of)

    async def session(self, _suite: SuiteKey, name: int | str) -> Session | None:
        return next((each for each in self._sessions if name in {each.relative_id, each.id}), None)

    async def failing_cases(self, _suite: SuiteKey, session: Session | str) -> list[TestCase]:
        session_id = session.id if isinstance(session, Session) else session
        return [case for case in self._cases_of(session_id) if case.is_failing]

    async def cases(self, _suite: SuiteKey, session: Session, status: TestStatus | None = None) -> list[TestCase]:
        return [case for case in self._cases_of(session.id) if status in {None, case.status}]

    async def suites(self, _workspace: str, _project: str | None) -> list[Suite]:
        return [Suite(key=SUITE, id=SUITE.suite_id)]

    async def passed_in_group(self, _suite: SuiteKey, session: Session, group_id: str) -> set[TestKey] | None:
        cases = self._cases_of(session.id)
        return {case.key for case in cases if case.status == TestStatus.PASSED and case.test_group_id == group_id}


def ask_about(
    sessions: Sequence[Session], cases_of: Callable[[str], Sequence[TestCase]], *, as_of: datetime
) -> Questions:
    """Return what answers questions about these sessions of `SUITE`."""
    return Questions(ListSource(sessions, cases_of, as_of=as_of))
