"""A model of a server's newest-first list, and the walks that people write by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from buddy_sessions import Session, SessionStatus
from buddy_sessions.walk import Step, Window


def session(number: int) -> Session:
    return Session(id=f"id{number}", relative_id=number, status=SessionStatus.SUCCESSFUL)


class Listing:
    """Sessions by number, newest first, as they come and go.

    Args:
        numbers: The sessions at the beginning.
        largest: The size to which the server cuts larger pages.
        shown: Whether a filter lets a number through.
    """

    def __init__(
        self,
        numbers: Collection[int],
        *,
        largest: int | None = None,
        shown: Callable[[int], bool] = lambda number: True,
    ) -> None:
        self.numbers = sorted(numbers, reverse=True)
        self.stable = {number for number in self.numbers if shown(number)}
        """What has been there from the beginning until now."""
        self._top = self.numbers[0] if self.numbers else 0
        self._largest = largest
        self._shown = shown

    def create(self, count: int = 1) -> None:
        for _ in range(count):
            self._top += 1
            self.numbers.insert(0, self._top)

    def delete(self, place: int) -> None:
        if self.numbers:
            self.stable.discard(self.numbers.pop(place % len(self.numbers)))

    def shown(self) -> list[int]:
        return [number for number in self.numbers if self._shown(number)]

    def read(self, window: Window) -> tuple[Session, ...]:
        size = window.per_page if self._largest is None else min(window.per_page, self._largest)
        return tuple(map(session, self.shown()[(window.page - 1) * size : window.page * size]))


class PlainWalk:
    """The loop that people write: the next page until a short one. It has the interface of `Walk`.

    Args:
        per_page: The page size.
        dedupe: Whether sessions whose ID was seen are dropped.
        read_ahead: How many pages are gathered at once.
    """

    def __init__(self, *, per_page: int, dedupe: bool = False, read_ahead: int = 1) -> None:
        self.done = False
        self._per_page = per_page
        self._dedupe = dedupe
        self._read_ahead = read_ahead
        self._page = 1
        self._seen: set[str] = set()

    def wanted(self) -> Sequence[Window]:
        batch = -(-self._page // self._read_ahead) * self._read_ahead
        return [Window(page, self._per_page) for page in range(self._page, batch + 1)]

    def feed(self, sessions: Sequence[Session]) -> Step:
        self._page += 1
        self.done = len(sessions) < self._per_page
        fresh = [session for session in sessions if not self._dedupe or session.id not in self._seen]
        self._seen.update(session.id for session in sessions)
        return Step(sessions=tuple(fresh))
