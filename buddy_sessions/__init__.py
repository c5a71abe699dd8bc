"""Read the unit-test sessions of Buddy.works suites: each exactly once, also if the list changes meanwhile.

async with BuddyClient.from_env() as buddy:
    async for session in buddy.sessions("my-company/my-project/MNbyVedg"):
        print(session.relative_id, session.status, session.duration)
"""

from ._base import interrupt as interrupt  # isort: split

from typing import TYPE_CHECKING

from ._base.regions import Region
from ._base.stats import Stats
from ._client.client import BuddyClient
from ._client.options import ClientOptions
from ._decoding.converter import to_dict
from ._export.session_rows import to_row
from ._http.rate_limit import RequestLimiter
from ._paging.case_paginator import CasePaginator
from ._paging.paginator import SessionPage, SessionPaginator
from ._streams.changes import Change, ChangeKind
from ._streams.harvest import Harvest
from ._streams.status import StatusChange, StatusKind, StatusWatch
from ._streams.watch import Watch
from ._version import __version__
from .analysis.baseline import BaselineComparison, QuarantinedTest, compare_to_baseline, parse_quarantine
from .analysis.branches import MAIN, Main, main_branch, pass_rate
from .analysis.causes import FailureGroup, group_failures
from .analysis.history import (
    Comparison,
    ConflictingTest,
    FlakyTest,
    SlowTest,
    compare,
    conflicting_tests,
    flaky_tests,
    slowest_tests,
)
from .analysis.judgement import Baseline, FailingTest, Judgement, judge
from .analysis.suite_status import SuiteStatus
from .errors import (
    AuthenticationError,
    BadRequestError,
    BuddyError,
    ClientClosedError,
    ConfigError,
    DecodeError,
    ForbiddenError,
    HarvestError,
    NotFoundError,
    RateLimitError,
    ResponseError,
    ServerError,
    StatusError,
    StoreError,
    TransportError,
    UnstableListingError,
    WaitTimeoutError,
)
from .models import (
    CIProvider,
    Cursor,
    Failure,
    Member,
    Project,
    RateLimit,
    RefType,
    Session,
    SessionRef,
    SessionStatus,
    Suite,
    SuiteKey,
    SuiteRef,
    TestCase,
    TestKey,
    TestRun,
    TestStatus,
    parse_session_url,
)

if TYPE_CHECKING:
    from .store import SavedSuite, SessionStore, StoreChange
else:  # hidden from type checkers, which would accept any name

    def __getattr__(name: str) -> object:
        """Import the store when it is first used: it needs SQLite."""
        if name in {"SavedSuite", "SessionStore", "StoreChange"}:
            from . import store  # noqa: PLC0415 - see the docstring

            return getattr(store, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "MAIN",
    "AuthenticationError",
    "BadRequestError",
    "Baseline",
    "BaselineComparison",
    "BuddyClient",
    "BuddyError",
    "CIProvider",
    "CasePaginator",
    "Change",
    "ChangeKind",
    "ClientClosedError",
    "ClientOptions",
    "Comparison",
    "ConfigError",
    "ConflictingTest",
    "Cursor",
    "DecodeError",
    "FailingTest",
    "Failure",
    "FailureGroup",
    "FlakyTest",
    "ForbiddenError",
    "Harvest",
    "HarvestError",
    "Judgement",
    "Main",
    "Member",
    "NotFoundError",
    "Project",
    "QuarantinedTest",
    "RateLimit",
    "RateLimitError",
    "RefType",
    "Region",
    "RequestLimiter",
    "ResponseError",
    "SavedSuite",
    "ServerError",
    "Session",
    "SessionPage",
    "SessionPaginator",
    "SessionRef",
    "SessionStatus",
    "SessionStore",
    "SlowTest",
    "Stats",
    "StatusChange",
    "StatusError",
    "StatusKind",
    "StatusWatch",
    "StoreChange",
    "StoreError",
    "Suite",
    "SuiteKey",
    "SuiteRef",
    "SuiteStatus",
    "TestCase",
    "TestKey",
    "TestRun",
    "TestStatus",
    "TransportError",
    "UnstableListingError",
    "WaitTimeoutError",
    "Watch",
    "__version__",
    "compare",
    "compare_to_baseline",
    "conflicting_tests",
    "flaky_tests",
    "group_failures",
    "judge",
    "main_branch",
    "parse_quarantine",
    "parse_session_url",
    "pass_rate",
    "slowest_tests",
    "to_dict",
    "to_row",
]
