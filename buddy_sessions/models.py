"""What this package hands out: frozen values that know nothing of JSON or HTTP.

The fields of `Session`, `Member` and `Suite` are the API's own, under the API's own names (the session list of Buddy's
API documentation, and Buddy's OpenAPI types). A field that the API leaves out or sends as null is None.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self

from attrs import define, frozen

from .errors import ConfigError


class _OpenEnum(StrEnum):
    """A string enum that keeps values it does not know: Buddy adds some without warning."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = str(value)
        return member  # not remembered: what a server sends must not fill the memory


class SessionStatus(_OpenEnum):
    """How a session stands. A value not listed here is kept as it is, and equals its string."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESSFUL = "SUCCESSFUL"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


class CIProvider(_OpenEnum):
    """What ran the tests. A value not listed here is kept as it is, and equals its string."""

    NONE = "NONE"
    BUDDY = "BUDDY"
    GITHUB_ACTION = "GITHUB_ACTION"
    CIRCLE_CI = "CIRCLE_CI"


class RefType(_OpenEnum):
    """What kind of Git reference was tested. A value not listed here is kept as it is, and equals its string."""

    BRANCH = "BRANCH"
    TAG = "TAG"
    PULL_REQUEST = "PULL_REQUEST"


_FINISHED = frozenset({SessionStatus.SUCCESSFUL, SessionStatus.ERROR, SessionStatus.SKIPPED})


class SuiteKey(NamedTuple):
    """The three names that lead to a suite. `str(key)` is `"workspace/project/suite_id"`."""

    workspace: str
    project: str
    suite_id: str

    def __str__(self) -> str:
        return "/".join(self)

    @classmethod
    def parse(cls, text: str) -> SuiteKey:
        """Return the key that `str(key)` wrote.

        Raises:
            ConfigError: `text` is not three names with slashes between them.
        """
        names = text.split("/") if isinstance(text, str) else ()
        if len(names) != 3 or not all(names):
            raise ConfigError(f"a suite is written as workspace/project/suite_id, not {text!r}")
        return cls(*names)

    @classmethod
    def checked(cls, key: object) -> SuiteKey:
        """Return a key that was handed in, which may be a plain tuple.

        Raises:
            ConfigError: It is not a tuple of three.
        """
        if not isinstance(key, tuple) or len(key) != len(cls._fields):
            raise ConfigError(f"a suite is named by a SuiteKey, not {key!r}; SuiteKey.parse reads its text")
        return cls(*key)


@frozen(kw_only=True)
class Member:
    """A member of a workspace."""

    url: str | None = None
    html_url: str | None = None
    id: int | None = None
    name: str | None = None
    avatar_url: str | None = None
    email: str | None = None
    admin: bool | None = None
    workspace_owner: bool | None = None


@frozen(kw_only=True)
class Suite:
    """A unit-test suite, as its project lists it."""

    key: SuiteKey
    """Where the suite is: `client.sessions(*suite.key)` reads it."""
    id: str
    url: str | None = None
    html_url: str | None = None
    identifier: str | None = None
    name: str | None = None


@frozen(kw_only=True)
class Session:
    """One run of a suite's tests. It can change: a session is created in progress, finished, reopened, deleted."""

    id: str
    relative_id: int
    """The sequential number within the suite, from 1 for the oldest."""
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
    """Seconds."""
    tests_count: int | None = None
    failed_count: int | None = None
    skipped_count: int | None = None
    error_count: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the session has come to its end, until someone reopens it.

        A status that this version does not know counts as finished once there is a `finish_date`.
        """
        if self.status in _FINISHED:
            return True
        return self.status != SessionStatus.IN_PROGRESS and self.finish_date is not None

    @property
    def passed_count(self) -> int | None:
        """The tests that passed: those that neither failed, nor were skipped, nor broke.

        None where one of the four counts is missing, or where they do not add up.
        """
        tests, failed, skipped, errors = (
            self.tests_count,
            self.failed_count,
            self.skipped_count,
            self.error_count,
        )
        if tests is None or failed is None or skipped is None or errors is None:
            return None
        passed = tests - failed - skipped - errors
        return passed if passed >= 0 else None


@frozen
class Cursor:
    """Where a walk stands: valid after every single session, at any later time. `str(cursor)` is short text.

    Attributes:
        below: What remains has a lower `relative_id` than this.
        place: How many places of the list lay above what remains, when it was last seen. A hint: a wrong one costs
            requests, never sessions.
    """

    below: int
    place: int

    def __str__(self) -> str:
        return f"{self.below}@{self.place}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Return the cursor that `str(cursor)` wrote.

        Raises:
            ConfigError: `text` is not such a text.
        """
        match = _CURSOR.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ConfigError(f"a cursor is written as 118@40, not {text!r}")
        return cls(int(match[1]), int(match[2]))


_CURSOR = re.compile(r"([1-9][0-9]{0,18})@(0|[1-9][0-9]{0,18})", re.ASCII)


@frozen(kw_only=True)
class SessionPage:
    """One page of a walk: only what the walk had not yielded before, newest first.

    Attributes:
        suite: The suite that was read.
        number: The number of the page as it was asked for, from 1.
        sessions: The sessions that are new to this walk.
        url: The API's URL of the list.
        html_url: The web page of the list.
        covers: `(low, high)`: every session alive with such a `relative_id`, and on the walk's branch if it has one,
            is known once this page is. None where the list's order allows no such proof.
        last: Whether the walk is complete with this page (which may be empty).
    """

    suite: SuiteKey
    number: int
    sessions: tuple[Session, ...]
    url: str | None = None
    html_url: str | None = None
    covers: tuple[int, int] | None = None
    last: bool = False


@define(kw_only=True)
class WalkStats:
    """What a walk has cost so far, and what it is worth.

    Attributes:
        requests: Requests sent, repeated ones counted.
        retries: Requests among them that repeated a failed one.
        waited: Seconds that its requests have waited, for the rate limit and before retries, added up.
        pages: Pages read.
        sessions: Sessions yielded.
        duplicates: Sessions that came again and were dropped.
        rereads: Pages that brought nothing new.
        certified: Whether it is proved that nothing was lost; False where the list was not in strict order.
    """

    requests: int = 0
    retries: int = 0
    waited: float = 0.0
    pages: int = 0
    sessions: int = 0
    duplicates: int = 0
    rereads: int = 0
    certified: bool = True
