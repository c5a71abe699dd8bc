"""Plain enums with the values that are known today."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """The status of a session."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESSFUL = "SUCCESSFUL"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


class CIProvider(Enum):
    """The service that ran the tests."""

    NONE = "NONE"
    BUDDY = "BUDDY"
    GITHUB_ACTION = "GITHUB_ACTION"
    CIRCLE_CI = "CIRCLE_CI"


class RefType(Enum):
    """The kind of Git reference that was tested."""

    BRANCH = "BRANCH"
    TAG = "TAG"
    PULL_REQUEST = "PULL_REQUEST"
