"""The enums that one would write: plain ones, with the values that are known today."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """How a session stands."""

    IN_PROGRESS = "IN_PROGRESS"
    SUCCESSFUL = "SUCCESSFUL"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"


class CIProvider(Enum):
    """What ran the tests."""

    NONE = "NONE"
    BUDDY = "BUDDY"
    GITHUB_ACTION = "GITHUB_ACTION"
    CIRCLE_CI = "CIRCLE_CI"


class RefType(Enum):
    """What was tested."""

    BRANCH = "BRANCH"
    TAG = "TAG"
    PULL_REQUEST = "PULL_REQUEST"
