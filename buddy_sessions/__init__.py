"""An async client for the unit-test sessions of Buddy.works suites: each exactly once, although their list moves.

async with BuddyClient.from_env() as buddy:
    async for session in buddy.sessions("my-company/my-project/MNbyVedg"):
        print(session.relative_id, session.status, session.duration)
"""

from inspect import get_annotations
from typing import TYPE_CHECKING, get_type_hints

from ._base.figures import Stats
from ._client.client import BuddyClient
from ._client.options import ClientOptions, Region
from ._decoding.converter import to_dict
from ._export import to_row
from ._paging.case_paginator import CasePaginator
from ._paging.paginator import SessionPage, SessionPaginator
from ._streams.harvest import Harvest
from ._streams.status_changes import StatusChange, StatusKind, StatusWatch
from ._streams.watch import Change, ChangeKind, Watch
from ._version import __version__
from .analysis.branches import MAIN, Main, main_branch, pass_rate
from .analysis.quarantine import parse_quarantine
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
    NoVerdictError,
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
    TestStatus,
)
from .questions.questions import Questions

if TYPE_CHECKING:
    from .store import SavedSuite, SessionStore, StoreChange
else:  # hidden from type checkers, which would accept any name

    def __getattr__(name: str) -> object:
        """Import the store when it is first used: it needs SQLite."""
        if name in {"SavedSuite", "SessionStore", "StoreChange"}:
            from . import store  # noqa: PLC0415 - see the docstring

            value = getattr(store, name)
            _publish(value)
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "MAIN",
    "AuthenticationError",
    "BadRequestError",
    "BuddyClient",
    "BuddyError",
    "CIProvider",
    "CasePaginator",
    "Change",
    "ChangeKind",
    "ClientClosedError",
    "ClientOptions",
    "ConfigError",
    "Cursor",
    "DecodeError",
    "Failure",
    "ForbiddenError",
    "Harvest",
    "HarvestError",
    "Main",
    "Member",
    "NoVerdictError",
    "NotFoundError",
    "Project",
    "Questions",
    "RateLimit",
    "RateLimitError",
    "RefType",
    "Region",
    "ResponseError",
    "SavedSuite",
    "ServerError",
    "Session",
    "SessionPage",
    "SessionPaginator",
    "SessionRef",
    "SessionStatus",
    "SessionStore",
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
    "TestCase",
    "TestKey",
    "TestStatus",
    "TransportError",
    "UnstableListingError",
    "WaitTimeoutError",
    "Watch",
    "__version__",
    "main_branch",
    "parse_quarantine",
    "pass_rate",
    "to_dict",
    "to_row",
]


def _publish(value: object) -> None:
    """Let a class belong to this package: in tracebacks, in pickles, and in `help`.

    Its annotations are resolved first, because others look the names up in the module of the class.
    """
    if isinstance(value, type) and value.__module__.startswith(f"{__name__}."):
        if names := get_annotations(value):  # of this class, not of its bases
            hints = get_type_hints(value, include_extras=True)
            value.__annotations__ = {name: hints[name] for name in names}
        value.__module__ = __name__


for _name in __all__:
    _publish(globals().get(_name))
