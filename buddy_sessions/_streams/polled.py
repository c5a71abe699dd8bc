"""What a watch polls: one suite, or `FollowedGroup`, the suites of a project or workspace. No I/O."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from attrs import define

from .._base.validate import validate_name
from ..errors import ConfigError
from ..models import Session, SuiteKey

LOOK_UP = timedelta(hours=1)
"""The time between two look-ups of the suites of a group."""
REMEMBERED_SESSIONS = 100
"""How many of the newest sessions of a suite are kept to detect changes. This bounds the memory."""

_S = TypeVar("_S")


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


@define(eq=False, kw_only=True)
class WatchedSuite(Polled, Generic[_S]):
    """One suite.

    Attributes:
        phase: From 0 to 1: when it is polled within an interval.
        new_since: In the first poll, sessions that were created later are new; None for none.
        is_missing: Whether the suite was not found since the last success.
        highest_id: The highest `relative_id` of the last poll; None before the first success.
        digest: That of a first page which shows that nothing has changed; empty if every page must be compared.
        is_held: Whether the next poll must compare every page, because a change is held back.
        state: What the kind of watch knows of it.
    """

    phase: float = 0.0
    new_since: datetime | None = None
    is_missing: bool = False
    highest_id: int | None = None
    digest: bytes = b""
    is_held: bool = False
    state: _S | None = None
    _unfinished: frozenset[str] = frozenset()  # ids, in the last poll

    def has_enough(self, sessions: Sequence[Session]) -> bool:
        """Return whether a poll needs no more sessions than these."""
        is_enough = len(sessions) >= REMEMBERED_SESSIONS
        return is_enough and (self.highest_id is None or min(map(relative_id_of, sessions)) <= self.highest_id + 1)

    def remember_poll(self, newest: Sequence[Session], *, first_page: int, digest: bytes) -> None:
        """Decide whether the next poll can skip an equal first page, which had so many sessions.

        It cannot if an unfinished session is below it, or was not listed by this poll, as opposed to the one before: a
        single response may be wrong.
        """
        self.highest_id = max(map(relative_id_of, newest), default=self.highest_id or 0)
        watched = newest[:REMEMBERED_SESSIONS]
        is_running_below = any(not each.is_finished for each in watched[first_page:])
        is_one_unlisted = not self._unfinished.issubset(each.id for each in newest)
        self.digest = b"" if is_running_below or is_one_unlisted or self.is_held else digest
        self._unfinished = frozenset(each.id for each in watched if not each.is_finished)

    def is_recreated(self, newest: Sequence[Session], known: Collection[Session]) -> bool:
        """Return whether the suite was deleted and created again: its `relative_id`s start at 1 again."""
        ids, highest_id = {session.id for session in known}, max(map(relative_id_of, known), default=0)
        latest = max((each.create_date for each in known if each.create_date is not None), default=None)
        # After a 404, an empty or short response is not enough: it may only lack the known sessions. Without one, older
        # sessions may have moved up, because the known ones were deleted.
        low = [session for session in newest if session.relative_id <= highest_id]
        is_later = any(latest and each.create_date and each.create_date > latest for each in low)
        is_other = not any(session.id in ids for session in newest)
        return is_other and (is_later or (self.is_missing and bool(low)))


def relative_id_of(session: Session) -> int:
    return session.relative_id
