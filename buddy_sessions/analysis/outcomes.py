"""What one test did in a CI run."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..models import Session, TestCase, TestKey, TestRun
from .by_test import group_by_test, worst


@frozen
class Outcome:
    """What a test did in a CI run.

    Attributes:
        session: The session in which it did that: the newest in which it failed, or else the newest one.
        case: What it did there. None if only the failing tests are known, and it is none of them: it did not fail.
    """

    session: Session
    case: TestCase | None

    @property
    def is_failing(self) -> bool:
        """Whether the test failed or ended with an error."""
        return self.case is not None and self.case.is_failing


def outcome_in(runs: Sequence[TestRun], key: TestKey) -> Outcome | None:
    """Return what a test did in a CI run, from its sessions, newest first; None if it did not run in any of them.

    A session of which only failing cases are known is one in which the test did not fail, if it is none of them.
    """
    found = [Outcome(run.session, worst(cases)) for run in runs if (cases := group_by_test(run.cases).get(key))]
    found = [each for each in found if each.is_failing] or found
    found += [Outcome(run.session, None) for run in runs if run.scope == "failed"]
    return found[0] if found else None
