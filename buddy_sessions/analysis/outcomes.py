"""What one test did in the commits of a branch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from attrs import frozen

from ..models import Session, TestCase, TestKey
from .commits import TestedCommit


@frozen(kw_only=True)
class TestOutcome:
    """What a test did in a commit.

    Attributes:
        commit: The commit.
        session: The newest session in which it failed; or else that of the commit.
        case: What it did there; None if only failing tests were read, and it is none of them: it did not fail.
    """

    __test__ = False  # pytest must not collect it

    commit: TestedCommit
    session: Session
    case: TestCase | None

    @property
    def is_failing(self) -> bool:
        """Whether the test failed or ended with an error."""
        return self.case is not None and self.case.is_failing


@frozen(kw_only=True)
class TestHistory:
    """What a test did in the commits of a branch.

    Attributes:
        key: The test.
        branch: The branch.
        outcomes: What it did in each commit, newest first. They end where it began or ceased to fail.
        may_have_older: Whether there may be older commits that were not read.
        unread: Red sessions whose failing tests cannot be read completely: their commits are left out.
    """

    __test__ = False

    key: TestKey
    branch: str
    outcomes: Sequence[TestOutcome]
    may_have_older: bool
    unread: Sequence[Session] = ()

    @property
    def is_failing(self) -> bool | None:
        """Whether the test fails now; None if that is not known."""
        return self.outcomes[0].is_failing if self.outcomes else None

    @property
    def streak(self) -> list[TestOutcome]:
        """The newest commits in which it did the same, newest first."""
        return list(takewhile(lambda outcome: outcome.is_failing == self.is_failing, self.outcomes))

    @property
    def before(self) -> TestOutcome | None:
        """What it did in the commit before the streak; None if that is not known."""
        older = self.outcomes[len(self.streak) :]
        return older[0] if older else None
