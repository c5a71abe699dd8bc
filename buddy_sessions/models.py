"""The values that this package returns: frozen attrs classes and enums, independent of JSON and HTTP.

Fields have the names of Buddy's API documentation and OpenAPI types. One that the API omits or sends as null is None.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal, NamedTuple, Self, TypeAlias
from urllib.parse import unquote, urlsplit

from attrs import frozen


class _OpenEnum(StrEnum):
    """A string enum that keeps unknown values, because Buddy adds values without warning."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = str(value)
        return member  # not cached: a server must not be able to fill the memory

    def __reduce_ex__(self, _: object) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.value,)  # some versions of Python pickle by name, which finds no unknown value


class SessionStatus(_OpenEnum):
    """The status of a session. An unknown value is kept, and equals its string."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESSFUL = "SUCCESSFUL"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


class TestStatus(_OpenEnum):
    """The status of a test case. An unknown value is kept, and equals its string."""

    __test__ = False  # pytest must not collect it

    PASSED = "PASSED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    ERROR = "ERROR"


class CIProvider(_OpenEnum):
    """The service that ran the tests. An unknown value is kept, and equals its string."""

    NONE = "NONE"
    BUDDY = "BUDDY"
    GITHUB_ACTION = "GITHUB_ACTION"
    CIRCLE_CI = "CIRCLE_CI"


class RefType(_OpenEnum):
    """The kind of Git reference that was tested. An unknown value is kept, and equals its string."""

    BRANCH = "BRANCH"
    TAG = "TAG"
    PULL_REQUEST = "PULL_REQUEST"
    WILDCARD = "WILDCARD"  # the tests ran outside a Git repository


_FINISHED = frozenset({SessionStatus.SUCCESSFUL, SessionStatus.ERROR, SessionStatus.SKIPPED})
_API_PATH = r"(?:/workspaces)?/([^/]+)/projects/([^/]+)/unit-tests/suites/([^/]+)(?:/sessions/([^/]+))?(?:/|$)"
_BROWSER_PATH = r"/([^/]+)/([^/]+)/unit-tests/([^/]+)(?:/([^/]+))?(?:/|$)"


class SuiteKey(NamedTuple):
    """The names of a suite: workspace, project and suite ID. `str(key)` is `"workspace/project/suite_id"`.

    Example:
        >>> SuiteKey.parse("https://app.buddy.works/acme/storefront/unit-tests/MNbyVedg")
        SuiteKey(workspace='acme', project='storefront', suite_id='MNbyVedg')
    """

    workspace: str
    project: str
    suite_id: str

    def __str__(self) -> str:
        return "/".join(self)

    @classmethod
    def parse(cls, text: str) -> SuiteKey:
        """Return the key of a suite: from `workspace/project/suite_id`, or from a URL, as in `SuiteRef`.

        Raises ValueError if it is neither.
        """
        if isinstance(text, str) and "://" in text:
            return parse_session_url(text)[0]
        names = text.split("/") if isinstance(text, str) else []
        if len(names) != len(cls._fields) or not all(names):
            raise _no_suite(text)
        return cls(*names)


def parse_session_url(url: str) -> tuple[SuiteKey, str | None]:
    """Return the suite and the session ID in a URL of the browser or the API; None for the URL of a suite.

    Raises ValueError if it is neither.
    """
    path = urlsplit(url).path
    match = re.search(_API_PATH, path) or re.match(_BROWSER_PATH, path)
    if match is None:
        raise _no_suite(url)
    *names, session_id = match.groups()
    return SuiteKey(*map(unquote, names)), unquote(session_id) if session_id else None


def _no_suite(text: object) -> ValueError:
    return ValueError(f"not a suite: {text!r}; write workspace/project/suite_id, or paste the URL of the suite")


@frozen(kw_only=True)
class Member:
    """A member of a workspace, who may administrate (`admin`) or own it. `url` is the member in the API."""

    url: str | None = None
    html_url: str | None = None
    id: int | None = None
    name: str | None = None
    avatar_url: str | None = None
    email: str | None = None
    admin: bool | None = None
    workspace_owner: bool | None = None


@frozen(kw_only=True)
class Project:
    """A project of a workspace. `name`, which is always present, is in URLs; people read the `display_name`."""

    name: str
    display_name: str | None = None
    status: str | None = None
    url: str | None = None
    html_url: str | None = None


@frozen(kw_only=True)
class Suite:
    """A unit-test suite.

    The last four fields are None in the list of a project; `buddy.suite` returns them. The suite's own token, which
    writes test results, is never kept.

    Attributes:
        key: The three parts of the key; `buddy.sessions(suite.key)` reads the suite.
        id: The ID of the suite, the last name of its key.
        url: The suite in the API.
        html_url: The suite in the browser.
        identifier: The readable ID that YAML files, variables and scripts use.
        name: The name of the suite.
        timeout: Seconds after which a session is closed.
        slow_threshold: The duration in milliseconds above which Buddy calls a test slow.
        error_pattern: A template, in Markdown, for the errors of test cases.
        send_commit_status: Whether Buddy reports the result to the Git host.
    """

    key: SuiteKey
    id: str
    url: str | None = None
    html_url: str | None = None
    identifier: str | None = None
    name: str | None = None
    timeout: int | float | None = None
    slow_threshold: int | float | None = None
    error_pattern: str | None = None
    send_commit_status: bool | None = None


SuiteRef: TypeAlias = SuiteKey | Suite | str
"""How a suite is named in this package: a `SuiteKey`; a `Suite`; `workspace/project/suite_id`; or the URL of the suite,
or of one of its sessions, in the browser or in the API. Of a URL, only the names are used, never the host."""


@frozen(kw_only=True)
class Session:
    """The test results of one CI run in a suite. It is created in progress, finishes, and can be reopened or deleted.

    `id`, `relative_id` and `status` are always present. Any other field is None if the API does not send it, or sends a
    value of another type.

    Attributes:
        id: The ID, to pass to `buddy.session`.
        relative_id: Sequential number within the suite; 1 is the oldest.
        status: IN_PROGRESS, SUCCESSFUL, ERROR or SKIPPED.
        url: The session in the API.
        html_url: The session in the browser.
        create_date: When the session was created; an aware datetime in UTC.
        start_date: When the tests started; an aware datetime in UTC.
        finish_date: When the session ended; an aware datetime in UTC.
        created_by: The member who started the CI run; None if Buddy knows none, as of runs on GitHub.
        ci_provider: The service that ran the tests.
        ci_run_url: The CI run in the web interface of its provider.
        revision: The commit that was tested.
        ref_type: BRANCH, TAG, PULL_REQUEST or WILDCARD.
        ref_name: The branch, tag or pull request that was tested.
        execution_id: The ID of the pipeline execution, if a Buddy action ran the tests.
        action_execution_id: The ID of the action's execution, if a Buddy action ran the tests.
        error_message: Buddy's error message, if there is one.
        duration: The duration in seconds.
        tests_count: The number of tests, including failed and skipped ones.
        failed_count: The number of tests that failed.
        skipped_count: The number of tests that were skipped.
        error_count: The number of tests that ended with an error. `failed_count` is assumed not to include them.
    """

    id: str
    relative_id: int
    status: SessionStatus
    url: str | None = None
    html_url: str | None = None
    create_date: datetime | None = None
    start_date: datetime | None = None
    finish_date: datetime | None = None
    created_by: Member | None = None
    ci_provider: CIProvider | None = None
    ci_run_url: str | None = None
    revision: str | None = None
    ref_type: RefType | None = None
    ref_name: str | None = None
    execution_id: str | None = None
    action_execution_id: str | None = None
    error_message: str | None = None
    duration: int | float | None = None
    tests_count: int | None = None
    failed_count: int | None = None
    skipped_count: int | None = None
    error_count: int | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the session has ended; with an unknown status, whether it has a `finish_date`, or failing tests.

        It can be reopened.
        """
        if self.has_known_status:
            return self.status != SessionStatus.IN_PROGRESS
        return self.finish_date is not None or bool(self.failing_count)

    @property
    def has_known_status(self) -> bool:
        """Whether the status is one that this version knows."""
        return self.status in _FINISHED or self.status == SessionStatus.IN_PROGRESS

    @property
    def branch(self) -> str | None:
        """The branch that was tested, as it was uploaded; None for a tag, a pull request, or an unknown reference."""
        return self.ref_name if self.ref_type == RefType.BRANCH else None

    @property
    def failing_count(self) -> int | None:
        """The number of tests that failed or ended with an error. If a count is missing, it is None in place of 0."""
        counts = self.failed_count, self.error_count
        failing = sum(count or 0 for count in counts)
        return failing or None if None in counts else failing

    @property
    def is_failing(self) -> bool:
        """Whether the session is red: it finished with the status ERROR, or with an unknown one and failing tests."""
        if self.status in _FINISHED:
            return self.status == SessionStatus.ERROR
        return self.is_finished and bool(self.failing_count)

    @property
    def has_verdict(self) -> bool:
        """Whether the session is red or green (SUCCESSFUL). An unfinished or skipped one is neither."""
        return self.status == SessionStatus.SUCCESSFUL or self.is_failing

    @property
    def passed_count(self) -> int | None:
        """The number of tests that passed; None if a count of tests is missing, or if the counts do not add up."""
        tests, failed, skipped, errors = self.tests_count, self.failed_count, self.skipped_count, self.error_count
        if tests is None or failed is None or skipped is None or errors is None:
            return None
        passed = tests - failed - skipped - errors
        return passed if passed >= 0 else None


SessionRef: TypeAlias = Session | str | int
"""How a session is referenced in this package: a `Session`; its `relative_id`, a number or a text such as `"#383"`; its
`id`; or its URL in the browser or in the API, which must be one of the same suite."""


@frozen
class TestKey:
    """Identifies a test in every session: its group, class and name. The `id` of a case may differ in each session.

    Its text names each part once: Buddy's reporters send the file as group and class, Playwright's in the name, too.

    Example:
        >>> str(TestKey("e2e/cart/a.spec.js", "e2e/cart/a.spec.js", "chromium > cart/a.spec.js > Cart > adds"))
        'e2e/cart/a.spec.js > chromium > Cart > adds'
    """

    __test__: ClassVar[bool] = False

    group: str | None
    classname: str | None
    name: str

    def __str__(self) -> str:
        places = [part for part in dict.fromkeys((self.group, self.classname)) if part]
        names = self.name.split(" > ")
        for index, name in enumerate(names[:-1][:2]):
            if any(place == name or place.endswith(("/" + name, "\\" + name)) for place in places):
                del names[index]
                break
        return " > ".join(filter(None, [*places, " > ".join(names)]))


@frozen(kw_only=True)
class Failure:
    """The reason why a test failed, from its `data`: JUnit XML, or the JSON of Buddy's own reporters.

    Attributes:
        kind: "failure" if an assertion failed, "error" if the test ended unexpectedly.
        type: The type of the failure, such as `AssertionError`; None if it only says `Error`.
        message: The message, usually one line.
        text: The details, usually a stack trace.
    """

    kind: Literal["failure", "error"]
    type: str | None = None
    message: str | None = None
    text: str | None = None


@frozen(kw_only=True)
class TestCase:
    """The result of one test in one session. `id`, `name` and `status` are always present.

    Attributes:
        id: The ID within the session. Another session may use another one for the same test: compare `key`.
        name: The name of the test.
        status: PASSED, FAILED, SKIPPED or ERROR.
        url: The test case in the API.
        html_url: The test case in the browser.
        test_group_name: The group, for instance the file of the test.
        test_group_id: The ID of the group within the session.
        classname: The class of the test.
        time: The duration in seconds.
        data: What was uploaded: JUnit XML, or the JSON of Buddy's own reporters. Only `buddy.case` and
            `buddy.failures(details=True)` return it.
        failure: The first failure or error in `data`; None if there is none, if `data` is neither valid XML nor JSON,
            or if it was not read: see `has_details`.
    """

    __test__: ClassVar[bool] = False

    id: str
    name: str
    status: TestStatus
    url: str | None = None
    html_url: str | None = None
    test_group_name: str | None = None
    test_group_id: str | None = None
    classname: str | None = None
    time: int | float | None = None
    data: str | None = None
    failure: Failure | None = None

    @property
    def key(self) -> TestKey:
        """The group, class and name of the test, which are the same in every session."""
        return TestKey(self.test_group_name, self.classname, self.name)

    @property
    def is_failing(self) -> bool:
        """Whether the test has failed or ended with an error."""
        return self.status in FAILING

    @property
    def has_details(self) -> bool:
        """False only if the test failed, and its `data` and `failure` were not read."""
        return self.data is not None or not self.is_failing


def sort_key(key: TestKey) -> tuple[str, str, str, str]:
    """Return what to sort a key by. Its `repr` distinguishes None from an empty text."""
    return key.group or "", key.classname or "", key.name, repr(key)


FAILING = (TestStatus.FAILED, TestStatus.ERROR)
"""The statuses of tests that fail."""


CaseScope: TypeAlias = Literal["failed", "all"]
"""Which test cases of a session a store saves: those that fail, or all."""


@frozen
class TestedSession:
    """A session with its test cases: all that were asked for."""

    __test__: ClassVar[bool] = False

    session: Session
    cases: tuple[TestCase, ...]


@frozen
class Cursor:
    """The position of a read. You can continue from it at any later time, in any process. `str(cursor)` is `118@40`.

    Attributes:
        lowest_id: The lowest `relative_id` read so far. Sessions with lower ones remain to be read.
        offset: The number of sessions in the list down to `lowest_id`, when they were read. Only a hint: if it is
            wrong, the read makes extra requests, but loses no session.
        verified: False if sessions above it may have been missed. Then its text ends with `?`, and a read that goes on
            from it is not verified either.
    """

    lowest_id: int
    offset: int
    verified: bool = True

    def __str__(self) -> str:
        return f"{self.lowest_id}@{self.offset}{'' if self.verified else '?'}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor whose `str` is `text`. Raises ValueError if it is not a cursor."""
        pattern = r"([1-9][0-9]{0,18})@(0|[1-9][0-9]{0,18})(\??)"
        match = re.fullmatch(pattern, text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"not a cursor: {text!r}; a cursor looks like 118@40")
        return cls(int(match[1]), int(match[2]), not match[3])


@frozen(kw_only=True)
class RateLimit:
    """The rate limit as reported by a response. A value that is absent or invalid is None.

    Attributes:
        limit: Requests allowed in a window (`X-Rate-Limit-Limit`).
        remaining: Requests still allowed in this window (`X-Rate-Limit-Remaining`).
        reset_at: The end of the window, in UTC, by the server's clock (`X-Rate-Limit-Reset`).
        retry_after: Seconds to wait before the next request: from `Retry-After`, or from the time of the response to
            `reset_at`, by the server's clock.
        responded_at: The time of the response, in UTC, by the server's clock, in whole seconds (`Date`).
    """

    limit: int | None = None
    remaining: int | None = None
    reset_at: datetime | None = None
    retry_after: float | None = None
    responded_at: datetime | None = None


def is_before(session: Session, since: datetime | None) -> bool:
    """Return whether a session was created before `since`. A session without a date, or no `since`: False."""
    return since is not None and session.create_date is not None and session.create_date < since


def case_ids(case: TestCase) -> tuple[str | None, str]:
    """Return what identifies a case in its session: its `id` is unique only in its group."""
    return case.test_group_id, case.id


def has_revision(session: Session, revision: str | None) -> bool:
    """Return whether a session tested a commit whose hash begins with `revision`, case-insensitively. None: any."""
    return revision is None or (session.revision or "").lower().startswith(revision.lower())


def has_run_url(session: Session, url: str | None) -> bool:
    """Return whether a session is of the CI run with this URL; one slash at its end does not count. None: any."""
    return url is None or (session.ci_run_url or "").removesuffix("/") == url.removesuffix("/")
