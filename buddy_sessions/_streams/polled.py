"""What a watch polls: `FollowedGroup`, the suites of a project or workspace, and in `changes`, one suite. No I/O."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import define

from .._base.validate import validate_name
from ..errors import ConfigError
from ..models import SuiteKey

LOOK_UP = timedelta(hours=1)
"""The time between two look-ups of the suites of a group."""


@define(eq=False, kw_only=True)
class Polled:
    """What is polled again and again.

    Attributes:
        key: The key of the suite.
        is_followed: Whether it was found by a look-up, not named.
        timer: Makes it due; None while it is due or being polled.
        is_due: Whether it is to be polled, or once more if it is being polled.
        is_running: Whether it is being polled.
        polls: The number of polls so far.
        failed_polls: The number of polls that failed since the last success.
    """

    key: SuiteKey
    is_followed: bool = False
    timer: TimerHandle | None = None
    is_due: bool = False
    is_running: bool = False
    polls: int = 0
    failed_polls: int = 0

    def stop(self) -> None:
        """Do not poll it any more."""
        self.is_due = False
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@define(eq=False, kw_only=True)
class FollowedGroup(Polled):
    """A project or a workspace whose suites are looked up. In its key, the names that it does not have are empty.

    Attributes:
        looked_up: When its suites were looked up last; None before the first time.
        listed: The suites that the last look-up has found.
    """

    looked_up: datetime | None = None
    listed: frozenset[SuiteKey] = frozenset()

    @classmethod
    def parse(cls, text: str) -> FollowedGroup:
        """Return the workspace or project that a text of one or two parts names."""
        names = text.split("/")
        if len(names) > 2:
            raise ConfigError(
                f"suites must be a list of suites, or the text 'workspace' or 'workspace/project', not {text!r}"
            )
        for what, name in zip(SuiteKey._fields, names, strict=False):
            validate_name(what, name)
        return cls(key=SuiteKey(*names, *[""] * (3 - len(names))))

    def __str__(self) -> str:
        return "/".join(filter(None, self.key))

    @property
    def new_since(self) -> datetime | None:
        """The time since which the sessions of new suites are new.

        It is an hour before the last look-up, because clocks differ, and a watch may have ended before it has polled
        all suites that it had found.
        """
        return None if self.looked_up is None else self.looked_up - LOOK_UP

    def find_new(self, listed: Sequence[SuiteKey], now: datetime) -> list[SuiteKey]:
        """Return the suites that the last look-up has not found."""
        new = [key for key in dict.fromkeys(listed) if key not in self.listed]
        self.looked_up, self.listed = now, frozenset(listed)
        return new
