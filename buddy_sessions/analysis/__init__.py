"""Answer questions about sessions and their test cases: which tests are flaky, slow, new, and why they fail. No I/O.

A run is the list of test cases of one session: `await buddy.cases(suite, session).collect()`, or `cases` of a `TestRun`
from a `SessionStore`; only `conflicting_tests` takes the `TestRun`s. Pass several runs oldest first; a client lists
sessions newest first. For all functions that compare runs:

- `TestCase.key` identifies a test in every session. The order of the cases within a run makes no difference.
- Skipped cases are ignored: a test that was skipped did not run.
- Cases of one run with the same key, such as parametrised ones, count as one test. It has the worst of their statuses
  (ERROR, then FAILED, then any unknown status, then PASSED) and the longest of their times.
- A test fails if its status is FAILED or ERROR. An unknown status is not a failure.
- Tests with the same position in the order of a list are sorted by their keys.

Example:
    >>> from buddy_sessions import TestCase, TestStatus, compare, flaky_tests, slowest_tests
    >>> results = [("PASSED", 0.25), ("FAILED", 0.5), ("PASSED", 0.25), ("FAILED", 1.5)]
    >>> runs = [[TestCase(id="1", name="pays", status=TestStatus(status), time=time)] for status, time in results]
    >>> for flaky in flaky_tests(runs):
    ...     print(f"{flaky.key} changed {flaky.changes} times, failed in {flaky.failed} of {flaky.runs} sessions")
    pays changed 3 times, failed in 2 of 4 sessions
    >>> for slow in slowest_tests(runs, threshold=0.3):
    ...     print(f"{slow.key} takes {slow.median} s, at most {slow.slowest} s")
    pays takes 0.375 s, at most 1.5 s
    >>> difference = compare(runs[-2], runs[-1])
    >>> print([str(case.key) for case in difference.newly_failing])
    ['pays']
    >>> print([f"{old.time} s -> {new.time} s" for old, new in difference.slower])
    ['0.25 s -> 1.5 s']
"""
