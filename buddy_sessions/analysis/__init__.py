"""What sessions and their test cases say: verdicts, causes, flaky and slow tests. No I/O.

`BuddyClient` and `SessionStore` return these results. The functions work on lists of your own: of the test cases of
several commits or sessions, such as `await buddy.cases(suite, session).collect()`, or `cases` of a `TestedSession`.
`flaky_tests` needs them oldest first; a client lists sessions newest first. For all functions that compare test cases:

- `TestCase.key` identifies a test in every session. The order of the cases within a list makes no difference.
- Skipped cases are ignored: a test that was skipped did not run.
- Cases of one list with the same key, such as parametrised ones, count as one test. It has the worst of their statuses
  (ERROR, then FAILED, then any unknown status, then PASSED) and the longest of their times.
- A test fails if its status is FAILED or ERROR. An unknown status is not a failure.
- Tests with the same position in the order of a list are sorted by their keys.

Example:
    >>> from buddy_sessions import TestCase, TestStatus
    >>> from buddy_sessions.analysis import compare_cases, flaky_tests, slowest_tests
    >>> results = [("PASSED", 0.25), ("FAILED", 0.5), ("PASSED", 0.25), ("FAILED", 1.5)]
    >>> tested = [[TestCase(id="1", name="pays", status=TestStatus(status), time=time)] for status, time in results]
    >>> for flaky in flaky_tests(tested):
    ...     print(f"{flaky.key} flipped {flaky.flips} times, failed in {flaky.failed} of {flaky.commits} commits")
    pays flipped 3 times, failed in 2 of 4 commits
    >>> for slow in slowest_tests(tested, threshold=0.3):
    ...     print(f"{slow.key} takes {slow.median} s, at most {slow.slowest} s")
    pays takes 0.375 s, at most 1.5 s
    >>> difference = compare_cases(tested[-2], tested[-1])
    >>> print([str(case.key) for case in difference.newly_failing])
    ['pays']
    >>> print([f"{old.time} s -> {new.time} s" for old, new in difference.slower])
    ['0.25 s -> 1.5 s']
"""

from ..models import TestedSession
from .baseline import Baseline, Cause, FailingTest
from .branches import main_branch, pass_rate
from .causes import FailureGroup, group_failures
from .commits import TestedCommit
from .judgement import Judgement
from .quarantine import QuarantinedTest, parse_quarantine
from .remarks import Reason, Remark
from .results import (
    Comparison,
    FlakyTest,
    FlakyTests,
    SlowTest,
    TestHistory,
    TestOutcome,
    compare_cases,
    flaky_tests,
    slowest_tests,
)
from .suite_status import SuiteStatus

__all__ = [
    "Baseline",
    "Cause",
    "Comparison",
    "FailingTest",
    "FailureGroup",
    "FlakyTest",
    "FlakyTests",
    "Judgement",
    "QuarantinedTest",
    "Reason",
    "Remark",
    "SlowTest",
    "SuiteStatus",
    "TestHistory",
    "TestOutcome",
    "TestedCommit",
    "TestedSession",
    "compare_cases",
    "flaky_tests",
    "group_failures",
    "main_branch",
    "parse_quarantine",
    "pass_rate",
    "slowest_tests",
]
