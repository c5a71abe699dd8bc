"""A model of a server's list, newest first, and the readers that people write by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from buddy_sessions import Session, SessionStatus
from buddy_sessions._paging.reconciler import Step, Window


def session(number: int) -> Session:
    return Session(id=f"id{number}", relative_id=number, status=SessionStatus.SUCCESSFUL)


class FakeList:
    """Sessions by number, newest first, that are created and deleted.

    Attributes:
        stable: The visible numbers that have existed all the time.

    Args:
        numbers: The sessions at the beginning.
        cap: The size to which the server cuts larger pages.
        visible: Whether a number passes the filter.
    """

    def __init__(
        self,
        numbers: Collection[int],
        *,
        cap: int | None = None,
        visible: Callable[[int], bool] = lambda number: True,
    ) -> None:
        self.numbers = sorted(numbers, reverse=True)
        self.stable = {number for number in self.numbers if visible(number)}
        self._highest = self.numbers[0] if self.numbers else 0
        self._cap = cap
        self._visible = visible

    def create(self, count: int = 1) -> None:
        for _ in range(count):
            self._highest += 1
            self.numbers.insert(0, self._highest)

    def delete(self, offset: int) -> None:
        if self.numbers:
            self.stable.discard(self.numbers.pop(offset % len(self.numbers)))

    def visible(self) -> list[int]:
        return [number for number in self.numbers if self._visible(number)]

    def read(self, window: Window) -> tuple[Session, ...]:
        size = window.per_page if self._cap is None else min(window.per_page, self._cap)
        return tuple(map(session, self.visible()[(window.page - 1) * size : window.page * size]))


class NaiveReader:
    """The usual loop: the next page until a short one. It has the interface of `Reconciler`.

    Args:
        per_page: The page size.
        deduplicates: Whether sessions whose id was seen before are dropped.
        read_ahead: How many pages are requested at once.
    """

    def __init__(self, *, per_page: int, deduplicates: bool = False, read_ahead: int = 1) -> None:
        self.is_done = False
        self._per_page = per_page
        self._deduplicates = deduplicates
        self._read_ahead = read_ahead
        self._page = 1
        self._seen: set[str] = set()

    def windows(self) -> Sequence[Window]:
        batch_end = -(-self._page // self._read_ahead) * self._read_ahead
        return [Window(page, self._per_page) for page in range(self._page, batch_end + 1)]

    def feed(self, sessions: Sequence[Session]) -> Step:
        self._page += 1
        self.is_done = len(sessions) < self._per_page
        new = [session for session in sessions if not self._deduplicates or session.id not in self._seen]
        self._seen.update(session.id for session in sessions)
        return Step(sessions=tuple(new))
