"""Every unit-test session of your Buddy.works suites, as one `async for`.

async with BuddyClient.from_env() as buddy:
    async for session in buddy.sessions("my-company", "my-project", "MNbyVedg"):
        print(session.relative_id, session.status, session.duration)
"""

from .changes import Change, ChangeKind
from .client import BuddyClient
from .converter import to_json
from .endpoints import Region
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
)
from .harvest import Harvest, HarvestStats
from .models import (
    CIProvider,
    Cursor,
    Member,
    RefType,
    Session,
    SessionPage,
    SessionStatus,
    Suite,
    SuiteKey,
    WalkStats,
)
from .pacing import Budget, RateLimit
from .paging import SessionPaginator
from .store import SessionStore
from .transport import __version__
from .watch import Watch

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "BuddyClient",
    "BuddyError",
    "Budget",
    "CIProvider",
    "Change",
    "ChangeKind",
    "ClientClosedError",
    "ConfigError",
    "Cursor",
    "DecodeError",
    "ForbiddenError",
    "Harvest",
    "HarvestError",
    "HarvestStats",
    "Member",
    "NotFoundError",
    "RateLimit",
    "RateLimitError",
    "RefType",
    "Region",
    "ResponseError",
    "ServerError",
    "Session",
    "SessionPage",
    "SessionPaginator",
    "SessionStatus",
    "SessionStore",
    "StatusError",
    "StoreError",
    "Suite",
    "SuiteKey",
    "TransportError",
    "UnstableListingError",
    "WalkStats",
    "Watch",
    "__version__",
    "to_json",
]
