"""What questions read: `Source` is implemented once for the API, and once for a database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from ..analysis.commits import SessionList
from ..models import Session, SuiteKey, TestCase, TestKey, TestStatus


class Source(Protocol):
    """Where the sessions of suites and their test cases are read from."""

    concurrency: int
    """How many sessions to read at once."""
    is_saved: bool
    """Whether another read returns the same, because it is one of a database."""

    def lists(self, suite: SuiteKey, branch: str | None, /) -> AsyncGenerator[SessionList, None]:
        """Yield the sessions of a suite, or those with the `ref_type` BRANCH of a branch, in parts, newest first."""
        ...

    async def session(self, suite: SuiteKey, name: int | str, /) -> Session | None:
        """Return the session with this `relative_id` or ID; None if there is none."""
        ...

    async def failing_cases(self, suite: SuiteKey, session: Session | str, /) -> list[TestCase]:
        """Return the failing cases of a session, perhaps without details. Raises ConfigError if they were not saved."""
        ...

    async def cases(self, suite: SuiteKey, session: Session, status: TestStatus | None = None, /) -> list[TestCase]:
        """Return all cases of a session, or those with a status. Raises ConfigError if they were not saved."""
        ...

    async def with_details(self, suite: SuiteKey, session: Session | str, case: TestCase, /) -> TestCase:
        """Return a failing case with its `data` and `failure`, as far as they are known."""
        ...

    async def passed_in_group(self, suite: SuiteKey, session: Session, group_id: str, /) -> set[TestKey] | None:
        """Return the tests that passed in a group of a session; None if that was not saved."""
        ...
