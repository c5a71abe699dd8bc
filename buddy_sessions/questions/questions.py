"""`Questions`: what people ask about suites. A client and a database answer the same questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from attrs import evolve

from .._base.validate import (
    LATEST,
    validate_after,
    validate_group,
    validate_int,
    validate_key,
    validate_seconds,
    validate_session_ref,
    validate_share,
    validate_status,
    validate_suites,
    validate_word,
)
from .._base.workers import CommonCause, map_concurrently
from ..analysis.branches import MAIN, Main, validate_judged_branch
from ..analysis.commits import LAST, MIN_TESTS, TestedCommit
from ..analysis.judgement import Judgement, ProgramOutcome
from ..analysis.quarantine import QuarantinedTest, validate_quarantine
from ..analysis.results import Comparison, FlakyTests, SlowTest, TestHistory, slowest_tests
from ..analysis.suite_status import SuiteStatus
from ..errors import BuddyError, ClientClosedError, ConfigError
from ..models import CaseScope, SessionRef, Suite, SuiteKey, SuiteRef, TestCase, TestedSession, TestKey, TestStatus
from .judging import JudgeSpec, judge
from .last_commits import compare_sessions, find_cases, find_flaky, find_history, read_last_commits
from .named_sessions import explain_missing, find_sessions, validate_session_name
from .suite_reader import Source, SuiteReader


class Questions:
    """The questions that a `BuddyClient` answers with requests, and a `SessionStore` from what was saved.

    A commit is judged: the sessions of a branch with the same `revision`. A `suite` is a `Suite`, its key,
    `"workspace/project/suite_id"`, or its URL. A `session` is a `Session`, its `relative_id`, `id` or URL; `"latest"`,
    the commit that `status` names; at least 7 digits of a commit's hash; or the URL of a CI run. All sessions of a
    commit or a CI run are judged together. A `branch` is MAIN, or the name of a branch; with a `session` other than
    `"latest"`, leave it out. `last` is the number of its newest commits.

    With a client, `recent_tests`, `slowest`, `compare` and `tests` cost one request for each 100 tests of each
    session.

    The methods raise `ConfigError` for an invalid argument, if a name matches several sessions or tests, or a database
    lacks the test cases; and `NoVerdictError` if no session, commit, branch or test matches, or sessions may have been
    missed. Three differ: `status` then returns a status without a verdict, and `latest` None; `judge` raises the error
    only if nothing matches, and otherwise returns no verdict. `failures` raises `NotFoundError` for an `id` or a URL.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def _reader(self, suite: SuiteRef) -> SuiteReader:
        return SuiteReader(self._source, validate_key(suite))

    async def status(self, suites: Iterable[SuiteRef] | str, *, branch: str | Main = MAIN) -> list[SuiteStatus]:
        """Return whether suites are red, and since which commit, in the order of `suites`.

        A commit is compared with the ten before it. With a client, this costs one request for each suite: the newest
        100 sessions. If these have fewer than eleven finished commits of the branch, its own list is read, with one
        request for each 100 sessions, at most ten; without `main` and `master` among them, both are asked for. The
        error of a suite is the `error` of its status.

        Args:
            suites: The suites; or `"workspace"` or `"workspace/project"` for all its suites, which are looked up first.
            branch: The branch to look at (default: the main branch of each suite, see `main_branch`).

        Raises:
            AuthenticationError: The token was rejected.
            BuddyError: 20 suites in a row have failed with the same error, which is retryable or a `TransportError`.

        Example:
            >>> for status in await buddy.status(["acme/storefront/MNbyVedg", "acme/storefront/65OmRb8v"]):
            ...     if status.is_failing:
            ...         print(f"{status.suite} is red since #{status.since.turning_session.relative_id}")
            acme/storefront/65OmRb8v is red since #217
        """
        if isinstance(suites, str):
            suites = await self._source.suites(*validate_group(suites))
        given = list(validate_suites(suites))
        keys = [validate_key(suite) for suite in given]
        selected, common_cause = validate_judged_branch(branch), CommonCause()

        async def read(suite: SuiteKey) -> SuiteStatus:
            try:
                status = await self._reader(suite).status(selected)
            except (ClientClosedError, ConfigError):  # no other suite can be read either
                raise
            except BuddyError as error:
                if self._source.is_saved or common_cause.record_failure(error):
                    raise
                return SuiteStatus(suite=suite, error=error.with_traceback(None))
            common_cause.record_success()
            return status

        names = {suite.key: suite.name for suite in given if isinstance(suite, Suite)}
        statuses = await map_concurrently(read, keys, concurrency=self._source.concurrency)
        return [evolve(status, name=names.get(status.suite)) for status in statuses]

    async def latest(
        self, suite: SuiteRef, *, branch: str | Main = MAIN, is_failing: bool | None = None
    ) -> TestedCommit | None:
        """Return the newest commit of a branch with a verdict; None if the newest 1,000 sessions have none.

        Args:
            is_failing: Only a red commit (True), or a green one (False): the last one that was good.
        """
        return await self._reader(suite).latest(validate_judged_branch(branch), is_failing=is_failing)

    async def judge(
        self,
        suite: SuiteRef,
        session: SessionRef = LATEST,
        *,
        branch: str | Main = MAIN,
        baseline: str | Main | None = MAIN,
        last: int = LAST,
        quarantine: Sequence[QuarantinedTest] = (),
        outcome: ProgramOutcome | None = None,
        min_tests: float = MIN_TESTS,
        after: int | datetime | None = None,
        details: bool | int = 20,
        count: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the verdict says what is missing
        interval: float = 10.0,
        fail_fast: bool = True,
    ) -> Judgement:
        """Return the verdict on a session, a commit or a CI run: whether it is red, and whether a gate passes.

        A failure is new if the test did not fail in the last commits of the baseline that are older. If evidence is
        missing, there is no verdict: `passes` is None, `reasons` says why, and `tests` has the failures found so far.
        With a `timeout`, it waits for the sessions; with an `outcome`, at most a minute for the first one to appear.

        With a client, it costs a request for the newest 100 sessions, and for each 100 more that are needed. Each red
        session that is judged costs one or two, and if tests fail, so does each red one of the baseline. If some are
        new, so do up to ten of other branches: see `FailingTest.failed_elsewhere`.

        Args:
            session: What to judge.
            baseline: The branch to compare with; None to compare with nothing: then each failure counts, and without
                `outcome` and `after`, re-runs are inferred as for `status`.
            last: The number of commits of the baseline.
            quarantine: Tests that may fail, see `parse_quarantine`.
            outcome: How the program that ran the tests ended, "success" or "failure"; for a matrix, how all its jobs
                ended. Success means that all tests ran. None if it is not known: then the number of tests is checked.
            min_tests: The share of tests that must have run, of the smallest number in a commit of the baseline: 0.0
                (any number but zero) to 1.0.
            after: When this attempt of the CI run began: an aware datetime, or the highest `relative_id` before.
                Earlier red and unfinished sessions are ignored, because they were run again. Without it, no session
                is taken for a re-run, unless the outcome is a success, or `session` is `"latest"`.
            details: How many failing tests to read with their messages, with one request each; True for all.
            count: The number of sessions that there must be, such as one for each job of a matrix. One that was killed
                is none, unless the outcome is a success.
            timeout: Seconds to wait until they exist and have finished. With an `outcome`, they must exist within a
                minute. None to judge what there is now.
            interval: Seconds between two polls, with a jitter of 10 %.
            fail_fast: Return at the first new failure, without waiting for the others, unless the outcome is a success.

        Raises:
            NoVerdictError: Nothing matches, and the `outcome` is no failure, or `session` is `"latest"`.
            WaitTimeoutError: With a `timeout`: the last request failed.

        Example:
            >>> judgement = await buddy.judge("acme/storefront/MNbyVedg", "1f0c2d3")
            >>> judgement.passes, [test.case.name for test in judgement.tests if test.novelty == "new"]
            (False, ['adds_discount'])
        """
        key = validate_key(suite)
        spec = JudgeSpec(
            session=validate_session_name(session, key),
            branch=validate_judged_branch(branch),
            baseline=None if baseline is None else validate_judged_branch(baseline, "baseline"),
            last=validate_int("last", last),
            quarantine=validate_quarantine(quarantine),
            outcome=None if outcome is None else validate_word("outcome", outcome, ProgramOutcome),
            min_tests=validate_share("min_tests", min_tests),
            after=validate_after(after),
            details=_validate_details(details),
            count=None if count is None else validate_int("count", count),
            timeout=None if timeout is None else validate_seconds("timeout", timeout),
            interval=validate_seconds("interval", interval),
            fail_fast=fail_fast,
        )
        return await judge(self._source, key, spec)

    async def history(
        self, suite: SuiteRef, test: TestKey | str, *, branch: str | Main = MAIN, last: int = LAST
    ) -> TestHistory:
        """Return what a test did in the last commits of a branch, and since when it fails.

        A commit in which it is not listed as failing, and not enough tests ran, says nothing, and is left out.

        With a client, a red session costs one or two requests. A test that did not fail costs one more for each 100
        tests of the newest commit.

        Args:
            test: The `key` of a case; or its text, or a part of it that matches only this test.
            last: The number of commits. If the test failed in all of them, older ones are read, back to where it began.

        Raises:
            ConfigError: The text fits several tests: the notes of the error name them.
            NoVerdictError: No test is named so, and the notes name a similar one; or the branch has no tested commit.
        """
        selected = validate_judged_branch(branch)
        if not isinstance(test, str | TestKey) or not str(test).strip():
            raise ConfigError(f"test must be the key of a test case, or its text, not {test!r}")
        return await find_history(self._reader(suite), selected, test, last=validate_int("last", last))

    async def recent_tests(
        self, suite: SuiteRef, *, branch: str | Main = MAIN, last: int = LAST, cases: CaseScope = "all"
    ) -> list[TestedSession]:
        """Return the sessions of the last commits of a branch with their test cases, oldest first, to analyse them.

        Sessions that were deleted meanwhile, or whose test cases were not saved, are left out.

        Args:
            cases: "all", or only those that "failed".
        """
        reader, selected = self._reader(suite), validate_judged_branch(branch)
        validate_word("cases", cases, CaseScope)
        return await read_last_commits(reader, selected, last=validate_int("last", last), cases=cases)

    async def flaky(
        self, suite: SuiteRef, *, branch: str | Main = MAIN, last: int = LAST, flips: int = 3
    ) -> FlakyTests:
        """Return the tests that failed and passed on the same commit, or that flip from commit to commit.

        The most expensive ones come first: those because of which alone most sessions failed. Evidence on the same
        commit, a red session and the one that replaced it, is looked for on all branches: among the newest 100
        sessions, or 1,000 that were saved. Commits in which most tests failed are left out. With a client, each red
        session costs one or two requests.

        Args:
            flips: The minimum number of flips. The default is after Buddy's, which counts sessions.
        """
        reader, selected = self._reader(suite), validate_judged_branch(branch)
        validate_int("flips", flips)
        return await find_flaky(reader, selected, last=validate_int("last", last), flips=flips)

    async def slowest(
        self, suite: SuiteRef, *, branch: str | Main = MAIN, last: int = LAST, threshold: float | None = None
    ) -> list[SlowTest]:
        """Return the times of the tests in the last commits of a branch, slowest median first.

        Args:
            threshold: Only tests whose median is above this number of seconds.
        """
        if threshold is not None:
            validate_seconds("threshold", threshold, zero_allowed=True)
        sessions = await self.recent_tests(suite, branch=branch, last=last)
        return slowest_tests([session.cases for session in sessions], threshold=threshold)

    async def compare(
        self, suite: SuiteRef, old: SessionRef | None = None, new: SessionRef = LATEST, *, branch: str | Main = MAIN
    ) -> Comparison:
        """Return how the tests of two commits differ.

        Sessions that were run again are left out.

        Args:
            old: The old session or commit (default: the last commit before `new` on its branch of which enough tests
                ran).
            new: The new session or commit.

        Raises:
            ConfigError: Both are the same sessions.
        """
        reader, selected = self._reader(suite), validate_judged_branch(branch)
        before = None if old is None else validate_session_name(old, reader.suite)
        after = validate_session_name(new, reader.suite)
        return await compare_sessions(reader, before, after, branch=selected)

    async def tests(
        self,
        suite: SuiteRef,
        session: SessionRef = LATEST,
        *,
        branch: str | Main = MAIN,
        status: TestStatus | None = None,
        details: bool | int = False,
    ) -> list[TestedSession]:
        """Return the sessions of a commit or a CI run, or one session, with their test cases.

        For `"latest"`, only the sessions that count are returned: see `TestedCommit.counted`. Unfinished ones are left
        out if others have finished.

        Args:
            session: What to list.
            status: Only test cases with this status.
            details: How many failing cases to read with their messages, with one request each; True for all.
        """
        reader, selected = self._reader(suite), validate_judged_branch(branch)
        name, count = validate_session_name(session, reader.suite), _validate_details(details)
        return await find_cases(reader, name, branch=selected, status=validate_status(status), details=count)

    async def failures(self, suite: SuiteRef, session: SessionRef, *, details: bool | int = False) -> list[TestCase]:
        """Return the failing test cases of one session, whatever its status. For a verdict, use `judge`.

        With a client, it costs up to four requests, more for long lists, and none for a `Session` without failures.

        Args:
            session: A `Session`, its `relative_id`, its `id`, or its URL.
            details: How many cases to read with `data` and `failure`, with one request each; True for all. Both are
                None for a case that cannot be read, for instance because it was deleted meanwhile.

        Returns:
            The cases with the status FAILED, then those with the status ERROR.

        Raises:
            NoVerdictError: There is no session with this `relative_id`.
            NotFoundError: There is no session with this `id` or URL, or it is hidden.
        """
        reader, count = self._reader(suite), _validate_details(details)
        ref = validate_session_ref(session, reader.suite)
        if isinstance(ref, int) or (isinstance(ref, str) and ref.isdecimal()):
            ref = (await find_sessions(reader, ref)).sessions[0]
        with explain_missing(ref):
            cases = await self._source.failing_cases(reader.suite, ref)
        cases[:count] = await reader.read_details([(ref, case) for case in cases[:count]])
        return cases


def _validate_details(details: bool | int) -> int | None:
    """Return how many messages to read; None for all."""
    if isinstance(details, bool):
        return None if details else 0
    return validate_int("details", details, minimum=0)
