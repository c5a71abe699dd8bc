"""The targets of a watch: suites, and a project or workspace whose suites it looks up."""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from attrs import define

from .._api import Api
from ..models import Session, SuiteKey

LOOK_UP = timedelta(hours=1)
"""The time between two look-ups of the suites of a group."""
REMEMBERED_SESSIONS = 100
"""How many of the newest sessions of a suite are kept to detect changes. This bounds the memory."""

_S = TypeVar("_S")


class SavedStates(Protocol):
    """Saves what a watch has seen of each suite, as JSON values, so that a later watch continues."""

    def hold(self) -> AbstractAsyncContextManager[None]:
        """Refuse other watches of this kind and name until the block ends."""
        ...

    async def load(self, suite: SuiteKey) -> Any:
        """Return what was saved of a suite; None if it was never watched."""

    async def update(self, suite: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for what was saved of a suite."""


@define(eq=False, kw_only=True)
class PollTarget:
    """A suite, or a group of suites, that is polled again and again."""

    key: SuiteKey
    is_followed: bool = False  # whether a look-up lists it; otherwise it was named
    timer: TimerHandle | None = None  # makes it due; None while it is due or being polled
    is_due: bool = False  # whether it is to be polled, or once more if it is being polled
    is_running: bool = False  # whether it is being polled
    polls: int = 0
    failed_polls: int = 0  # since the last success

    def stop(self) -> None:
        """Do not poll it any more."""
        self.is_due = False
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@define(eq=False, kw_only=True)
class WatchedSuite(PollTarget, Generic[_S]):
    """One suite, and the state that the kind of watch keeps of it."""

    new_since: datetime | None = None  # in the first poll, sessions that were created later are new; None for none
    highest_id: int | None = None  # the highest `relative_id` of the last poll; None before the first success
    digest: bytes = b""  # of a first page which shows that nothing has changed; empty if every page must be compared
    is_held: bool = False  # whether the next poll must compare every page, because a change is held back
    state: _S | None = None
    _unfinished: frozenset[str] = frozenset()  # ids, in the last poll

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

    def is_recreated(self, newest: Sequence[Session], seen: Collection[Session]) -> bool:
        """Return whether the suite was deleted and created again: its `relative_id`s start at 1 again."""
        ids, highest_id = {session.id for session in seen}, max(map(relative_id_of, seen), default=0)
        latest = max((each.create_date for each in seen if each.create_date is not None), default=None)
        low = [session for session in newest if session.relative_id <= highest_id]
        # Without a later date, older sessions have moved up, because the seen ones were deleted.
        is_later = any(latest and each.create_date and each.create_date > latest for each in low)
        return is_later and not any(session.id in ids for session in newest)


@define(eq=False, kw_only=True)
class FollowedGroup(PollTarget):
    """A project or a workspace whose suites are looked up. In its key, the names that it does not have are empty."""

    suites: frozenset[SuiteKey] = frozenset()  # those that were listed in the last look-up
    _looked_up: datetime | None = None  # the time of the last one

    def __str__(self) -> str:
        return "/".join(filter(None, self.key))

    async def look_up(self, api: Api, saved: SavedStates | None) -> list[WatchedSuite[Any]]:
        """Return the suites that were not listed in the last look-up."""
        now = datetime.now(UTC)
        suites = [suite.key for suite in await api.suites(self.key.workspace, self.key.project or None)]
        if self._looked_up is None and saved is not None:
            text = await saved.load(self.key)
            self._looked_up = None if text is None else datetime.fromisoformat(text)
        # An hour earlier: clocks differ, and a watch may end before it has polled all suites of the look-up.
        since = None if self._looked_up is None else self._looked_up - LOOK_UP
        new = [
            WatchedSuite[Any](key=key, is_followed=True, new_since=since) for key in suites if key not in self.suites
        ]
        if saved is not None:
            await saved.update(self.key, lambda _: now.isoformat())
        self._looked_up, self.suites = now, frozenset(suites)
        return new


def relative_id_of(session: Session) -> int:
    return session.relative_id
