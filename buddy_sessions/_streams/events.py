"""The events of a watch, and what it remembers of each suite."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from .._base.validate import validate_branch
from .._decoding.converter import session_from_dict, to_dict
from ..models import Session, SuiteKey
from .changes import REMEMBERED_SESSIONS, Change, Newest, WatchedSuite

_T = TypeVar("_T")


class Memory(Protocol):
    """Saves what a watch has seen of each suite, as JSON values, so that a later watch continues."""

    async def load(self, suite: SuiteKey) -> Any:
        """Return what was saved of a suite; None if it was never watched."""

    async def update(self, suite: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save what a function returns for what was saved of a suite."""


class NoMemory:
    """The memory of a watch that begins anew each time."""

    async def load(self, suite: SuiteKey) -> None:
        """Return None: nothing was saved."""

    async def update(self, suite: SuiteKey, change: Callable[[Any], object]) -> None:
        """Save nothing."""


class Pending(NamedTuple, Generic[_T]):
    """An event of a watch, or None, and what to do when it is acknowledged, such as to save it."""

    event: _T | None
    acknowledge: Callable[[], Awaitable[None]]


class EventSource(Protocol[_T]):
    """Decides which events a watch has."""

    listed_branch: str | None
    """The branch whose sessions are read; None for all."""

    async def load(self, suite: WatchedSuite) -> list[Session] | None:
        """Return the sessions of a suite that were saved; None if the suite was never watched."""

    async def start(self, suite: WatchedSuite, sessions: Iterable[Session], /) -> None:
        """Begin with the sessions that exist, in place of all that were saved before."""

    async def events(self, suite: WatchedSuite, newest: Newest, changes: Sequence[Change], /) -> Sequence[Pending[_T]]:
        """Return the events of a poll with these changes. `newest` usually has 100 sessions or more."""
        ...


class ChangeSource:
    """Every change is an event. The memory has the newest sessions of each suite, as they were acknowledged."""

    def __init__(self, branch: str | None, memory: Memory) -> None:
        self.listed_branch = validate_branch(branch)
        self._memory = memory

    async def load(self, suite: WatchedSuite) -> list[Session] | None:
        """As in `EventSource`."""
        saved = await self._memory.load(suite.key)
        return None if saved is None else list(map(session_from_dict, saved))

    async def start(self, suite: WatchedSuite, sessions: Iterable[Session], /) -> None:
        """As in `EventSource`."""
        await self._memory.update(suite.key, lambda _: _newest(map(to_dict, sessions)))

    async def events(self, _suite: WatchedSuite, _newest: Newest, changes: Sequence[Change]) -> list[Pending[Change]]:
        """As in `EventSource`."""
        return [Pending(change, partial(self._save, change)) for change in changes]

    async def _save(self, change: Change) -> None:
        await self._memory.update(change.suite, lambda saved: _newest([*(saved or ()), to_dict(change.session)]))


def _newest(sessions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest of these sessions, each once: the last one with an ID counts."""
    latest = {session["id"]: session for session in sessions}.values()
    return sorted(latest, key=lambda session: session["relative_id"])[-REMEMBERED_SESSIONS:]
