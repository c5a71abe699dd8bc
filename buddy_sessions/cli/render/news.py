"""What is new in many suites, and which causes they share: what the page of a report and its digest say.

It groups and sorts what the methods of a store have returned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Literal, TypeAlias

from attrs import evolve, frozen

from buddy_sessions import Session, SuiteKey, TestCase, TestKey
from buddy_sessions._base.figures import format_count
from buddy_sessions.analysis import Cause, FailingTest, FlakyTest, FlakyTests, Judgement, SuiteStatus, TestedCommit
from buddy_sessions.analysis.causes import normalise, read_message

from .result import crashed_sessions
from .text import age_of, cut

State = Literal["new", "old", "unknown", "recovered", "green"]
"""Newly red, red for longer, not judged, recovered, green."""

_MAX_MESSAGE, _MAX_NAME, _MAX_TYPE = 300, 200, 60  # characters
_MAX_COMMITS = 2  # of a cause; of more, only the first one is named
_UNSAVED = "The failing tests are not in the database: save them with sync --cases failed"
_NO_REASON = "Buddy gives no reason"
_OLDEST = datetime.min.replace(tzinfo=UTC)

_CauseKey: TypeAlias = tuple[str, ...]
"""What causes of different suites have in common, if they are the same."""


@frozen(kw_only=True)
class Period:
    """The time of a report, since when something is new in it, and after what time a verdict is stale."""

    now: datetime
    new_since: datetime
    max_age: timedelta | None = None

    @property
    def text(self) -> str:
        """Since when, as a part of a sentence: "since yesterday", "in the last 3 d"."""
        is_a_day = timedelta(hours=20) <= self.now - self.new_since <= timedelta(hours=28)
        return "since yesterday" if is_a_day else f"in the last {self.age(self.new_since)}"

    def age(self, moment: datetime) -> str:
        """Return the age of a moment, at least a minute: `3 h`."""
        return age_of(min(moment, self.now - timedelta(minutes=1)), self.now)

    def includes(self, moment: datetime | None) -> bool:
        """Return whether a moment is new."""
        return moment is not None and moment >= self.new_since


@frozen(kw_only=True)
class SuiteCause:
    """Why one suite is red: failing tests with the same cause, or a session in which no test failed."""

    key: _CauseKey
    prefix: str = ""  # the type of the exception, or that no test failed
    message: str
    began: Session
    is_exact: bool  # whether it did not begin earlier
    is_new: bool
    is_steady: bool = True  # otherwise, it is a cause only of a suite without another one
    is_flaky: bool = False
    cases: Sequence[TestCase] = ()  # the failing tests


@frozen(kw_only=True)
class SuiteNews:
    """A suite of a report: its status, and what is new."""

    status: SuiteStatus
    url: str | None  # of its page
    state: State = "unknown"
    note: str = ""  # why it is not judged, or what is unusual about a suite that is
    detail: str = ""  # of the note
    causes: Sequence[SuiteCause] = ()
    failing: int = 0  # failing tests
    unread: int = 0  # those of them whose messages were not read
    flaky: FlakyTest | None = None  # the one that failed most often

    @property
    def key(self) -> SuiteKey:
        """The workspace, the project and the ID."""
        return self.status.suite

    @property
    def name(self) -> str:
        """Its name, or else its ID."""
        return cut(self.status.name or self.key.suite_id, _MAX_NAME)

    @property
    def is_red(self) -> bool:
        """Whether it is newly red, or for longer."""
        return self.state in {"new", "old"}

    @property
    def main_causes(self) -> Sequence[SuiteCause]:
        """Its steady causes; all if none is."""
        return [cause for cause in self.causes if cause.is_steady] or self.causes

    @property
    def other_causes(self) -> Sequence[SuiteCause]:
        """Those of tests that are flaky or failed earlier, if it has a steady cause."""
        return [cause for cause in self.causes if cause not in self.main_causes]

    @property
    def since(self) -> datetime | None:
        """Since when it is red or green."""
        return None if self.status.since is None else time_of(self.status.since.turning_session)


@frozen(kw_only=True)
class SharedCause:
    """A cause of one or more suites; or several causes of the same suites."""

    texts: Sequence[tuple[str, str]]  # of each cause, its prefix and message
    hits: Sequence[tuple[SuiteNews, Sequence[SuiteCause]]]  # of a new cause, without those in `also`
    also: Sequence[SuiteNews]  # other suites with a new cause, which were red before
    is_new: bool
    label: str = ""

    @property
    def suites(self) -> list[SuiteNews]:
        """The suites of `hits`."""
        return [suite for suite, _ in self.hits]

    @property
    def is_flaky(self) -> bool:
        """Whether all its tests are flaky."""
        return all(cause.is_flaky for cause in self._causes)

    @property
    def tests(self) -> int:
        """The number of failing tests in `suites` that are known to have it."""
        return _count_tests(self._causes)

    @property
    def failing(self) -> int:
        """The number of all failing tests in `suites`."""
        return sum(suite.failing for suite in self.suites)

    @property
    def unread(self) -> int:
        """The number of those whose messages were not read: they may have it, too."""
        return sum(suite.unread for suite in self.suites)

    @property
    def tests_text(self) -> str:
        """How many tests fail, and how many others of these suites: `2 tests, 1 other earlier or flaky`.

        If not all messages were read: `100 of 900 tests, 100 messages read`.
        """
        others = sum(_count_tests(suite.other_causes) for suite in self.suites)
        more = f"{format_count(others, 'other')} earlier or flaky" if others else ""
        count, read = self.tests or self.failing, self.failing - self.unread
        text = format_count(count, "test") if count else ""
        if self.unread and read:
            text = f"{count:,} of {format_count(self.failing, 'test')}, {format_count(read, 'message')} read"
        return ", ".join(filter(None, (text, more)))

    @property
    def first(self) -> SuiteCause:
        """Where it began."""
        return min(self._causes, key=lambda cause: time_of(cause.began) or _OLDEST)

    @property
    def commits(self) -> list[tuple[SuiteNews, Session]]:
        """The commits with which it began, each once, oldest first."""
        begins: dict[object, tuple[SuiteNews, Session]] = {}
        begun = [(suite, cause.began) for suite, causes in self.hits for cause in causes]
        for suite, session in sorted(begun, key=lambda each: time_of(each[1]) or _OLDEST):
            begins.setdefault((suite.key[:2], session.revision or session.id), (suite, session))
        return list(begins.values())

    @property
    def named_commits(self) -> list[tuple[SuiteNews, Session]]:
        """Those of `commits` that are named."""
        return self.commits if len(self.commits) <= _MAX_COMMITS else self.commits[:1]

    @property
    def rank(self) -> tuple[object, ...]:
        """What causes are sorted by: most suites first, then newest first; unsteady ones last."""
        began = time_of(self.first.began) or _OLDEST
        is_steady = any(cause.is_steady for cause in self._causes)
        return not self.is_new, not is_steady, -len(self.hits), _OLDEST - began, self.texts[0]

    @property
    def _causes(self) -> list[SuiteCause]:
        return [cause for _, causes in self.hits for cause in causes]


def _count_tests(causes: Iterable[SuiteCause]) -> int:
    return sum(len(cause.cases) for cause in causes)


def time_of(session: Session) -> datetime | None:
    """Return when the verdict of a session was known."""
    return session.finish_date or session.create_date


def describe_suite(
    suite: SuiteNews, period: Period, judgement: Judgement | None = None, flaky: FlakyTests | None = None
) -> SuiteNews:
    """Return a suite that is red or green with its state, its causes and its flaky tests."""
    status, first, is_new = suite.status, suite.status.since, period.includes(suite.since)
    tests = flaky.tests if flaky is not None else ()
    suite = evolve(suite, flaky=max(tests, key=lambda test: test.failed, default=None))
    if not status.is_failing:
        return evolve(suite, state="recovered" if is_new and status.is_since_exact else "green")
    suite = evolve(suite, state="new" if is_new else "old")
    if judgement is None or status.commit is None or first is None:
        return suite
    causes: list[SuiteCause] = []
    for cause in judgement.causes:
        commits = [_began_with(test, first, judgement) or status.commit for test in cause.tests]
        began = min(commits, key=lambda commit: commit.first.relative_id)
        causes.append(_describe_cause(suite, cause, began, period, flaky={test.key for test in tests}))
    causes += _crashes(suite, first, judgement)
    unread = [test for test in judgement.tests if not test.case.has_details]
    counted = max((session.failing_count or 0 for session in judgement.sessions), default=0)
    failing = len(judgement.tests) or counted  # what is counted may not be saved
    suite = evolve(suite, failing=failing, unread=len(unread) if judgement.tests else failing)
    return evolve(suite, causes=causes or [_unknown_cause(suite, first, unread)])


def _began_with(test: FailingTest, first: TestedCommit, judgement: Judgement) -> TestedCommit | None:
    """Return the commit with which a test began to fail, not before the first red one; None for the newest one."""
    if test.since is None:
        return None if judgement.baseline is not None else first
    may_be_older = judgement.baseline is not None and test.failed_in == len(judgement.baseline.commits)
    return first if may_be_older or test.since.first.relative_id < first.first.relative_id else test.since


def _describe_cause(
    suite: SuiteNews, cause: Cause, began: TestedCommit, period: Period, *, flaky: Collection[TestKey]
) -> SuiteCause:
    """Return a cause of failing tests. Its message is that of one test, as it was."""
    failure = cause.tests[0].case.failure
    message = "" if failure is None else read_message(failure)[1]
    if cause.is_place:
        message = " ".join(filter(None, (cut(message, _MAX_MESSAGE // 2), cause.template)))
    is_flaky = all(test.case.key in flaky for test in cause.tests)
    is_steady = not is_flaky and any(test.novelty != "earlier" for test in cause.tests)
    return SuiteCause(
        key=("test", cause.type or "", cause.template, *(suite.key[:2] if cause.is_place else ())),
        prefix=cut(cause.type or "", _MAX_TYPE),
        message=cut(message or cause.template or ("" if cause.type else "no message"), _MAX_MESSAGE),
        began=began.turning_session,
        is_exact=began is not suite.status.since or suite.status.is_since_exact,
        is_new=suite.state == "new" or (is_steady and period.includes(time_of(began.turning_session))),
        is_steady=is_steady,  # more than flaky tests, or tests that failed earlier
        is_flaky=is_flaky,
        cases=[test.case for test in cause.tests],
    )


def _unknown_cause(suite: SuiteNews, first: TestedCommit, unread: Sequence[FailingTest] = ()) -> SuiteCause:
    """Return the cause of a suite of which no message of a failing test is known."""
    return SuiteCause(
        key=("unread", *suite.key),  # what is not known is not shared
        message="The messages of the failing tests were not read" if unread else _UNSAVED,
        began=first.turning_session,
        is_exact=suite.status.is_since_exact,
        is_new=suite.state == "new",
        cases=[test.case for test in unread],
    )


def _crashes(suite: SuiteNews, first: TestedCommit, judgement: Judgement) -> list[SuiteCause]:
    texts = [each.error_message or _NO_REASON for each in crashed_sessions(judgement)]
    messages = {normalise(text[:_MAX_MESSAGE]): cut(text, _MAX_MESSAGE) for text in texts}
    cause = evolve(_unknown_cause(suite, first), prefix="No test failed")
    return [evolve(cause, key=("crash", key), message=message) for key, message in messages.items()]


def share_causes(suites: Iterable[SuiteNews]) -> list[SharedCause]:
    """Return the causes of red suites, new ones first, each with a label: A, B, C."""
    hits: dict[_CauseKey, list[tuple[SuiteNews, SuiteCause]]] = {}
    for suite in suites:
        for cause in suite.main_causes:
            hits.setdefault(cause.key, []).append((suite, cause))
    same: dict[tuple[bool, frozenset[SuiteKey]], list[list[tuple[SuiteNews, SuiteCause]]]] = {}
    for group in hits.values():
        is_new = any(cause.is_new for _, cause in group)
        same.setdefault((is_new, frozenset(suite.key for suite, _ in group)), []).append(group)
    causes = sorted((_join(group, is_new=key[0]) for key, group in same.items()), key=lambda cause: cause.rank)
    return [evolve(cause, label=_label(index)) for index, cause in enumerate(causes)]


def _join(same: Sequence[Sequence[tuple[SuiteNews, SuiteCause]]], *, is_new: bool) -> SharedCause:
    """Return the causes of the same suites as one: in the newly red suites, or those for which one is new, or all."""
    chosen = [
        [hit for hit in hits if hit[0].state == "new"] or [hit for hit in hits if hit[1].is_new] or hits
        for hits in same
    ]
    by_suite: dict[SuiteKey, tuple[SuiteNews, list[SuiteCause]]] = {}
    for suite, cause in chain.from_iterable(chosen):
        by_suite.setdefault(suite.key, (suite, []))[1].append(cause)
    also = {suite.key: suite for suite, _ in chain.from_iterable(same) if suite.key not in by_suite}
    return SharedCause(
        texts=[(hits[0][1].prefix, hits[0][1].message) for hits in chosen],
        hits=list(by_suite.values()),
        also=list(also.values()),
        is_new=is_new,
    )


def _label(index: int) -> str:
    return (_label(index // 26 - 1) if index >= 26 else "") + chr(ord("A") + index % 26)
