"""A model of a server's list, newest first, and the readers that people write by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import evolve

from buddy_sessions import NotFoundError, Session, SessionStatus, Stats
from buddy_sessions._base.figures import Fetched
from buddy_sessions._paging.pacing import ServerTraits, Window
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.requests import take_404_as_end
from buddy_sessions._paging.selection import NewSessions, ReadSpec

T = TypeVar("T")


def session(number: int, suffix: str = "") -> Session:
    return Session(id=f"id{number}{suffix}", relative_id=number, status=SessionStatus.SUCCESSFUL)


def assert_exact(found: Sequence[int], stable: Collection[int]) -> None:
    """Fail unless every session that has existed all the time was found once, newest first."""
    repeated = [number for number, count in Counter(found).items() if count > 1]
    assert not repeated, f"these sessions were repeated: {repeated}"
    lost = sorted(set(stable) - set(found))
    assert not lost, f"these sessions were lost, although they existed during the whole read: {lost}"
    assert list(found) == sorted(found, reverse=True), "the sessions were not found newest first"


def experienced() -> ServerTraits:
    """Return the traits of a server of which a client knows that it honours 100."""
    return ServerTraits(longest_page=100)


class FakeList:
    """Sessions by number, newest first, that are created and deleted. The server cuts pages to `cap` rows.

    With `ends_with_404`, a page beyond the end is a 404.
    """

    def __init__(
        self,
        numbers: Collection[int],
        *,
        cap: int | None = None,
        visible: Callable[[int], bool] = lambda number: True,
        ends_with_404: bool = False,
    ) -> None:
        self.numbers = sorted(numbers, reverse=True)
        self.ends_with_404 = ends_with_404
        self.stable = {number for number in self.numbers if visible(number)}  # have existed all the time
        self.cap = cap
        self._highest = self.numbers[0] if self.numbers else 0
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
        return tuple(map(session, self._cut(self.visible(), window)))

    def _cut(self, rows: list[T], window: Window) -> list[T]:
        size = window.per_page if self.cap is None else min(window.per_page, self.cap)
        page = rows[(window.page - 1) * size : window.page * size]
        if self.ends_with_404 and window.page > 1 and not page:
            raise NotFoundError(status=404)
        return page


class FaultyList(FakeList):
    """A list that cannot be read reliably.

    `moved` numbers are listed as if they were another number, `doubled` ones twice, with two ids; a filter removes the
    `hidden` ones from a page after it was cut.
    """

    def __init__(
        self,
        numbers: Collection[int],
        *,
        moved: Mapping[int, float] | None = None,
        doubled: Collection[int] = (),
        hidden: Collection[int] = (),
    ) -> None:
        super().__init__(numbers, visible=lambda number: number not in hidden)
        self.age = 0  # the number of changes that the pages do not show yet: outdated snapshots are served
        self._moved = moved or {}
        self._doubled = doubled
        self._hidden = hidden
        self._snapshots = [self.numbers.copy()]

    def create(self, count: int = 1) -> None:
        super().create(count)
        self._snapshots.append(self.numbers.copy())

    def delete(self, offset: int) -> None:
        super().delete(offset)
        self._snapshots.append(self.numbers.copy())

    def read(self, window: Window) -> tuple[Session, ...]:
        numbers = self._snapshots[max(-1 - self.age, -len(self._snapshots))]
        if self._moved:
            numbers = sorted(numbers, key=lambda number: self._moved.get(number, number), reverse=True)
        rows = self._cut(self._rows(numbers), window) if self._doubled else self._rows(self._cut(numbers, window))
        return tuple(session(*row) for row in rows if row[0] not in self._hidden)

    def stable_rows(self) -> list[Session]:
        """Return the rows that have existed all the time and are not hidden."""
        return [session(*row) for row in self._rows(self.stable.difference(self._hidden))]

    def _rows(self, numbers: Iterable[int]) -> list[tuple[int, str]]:
        return [(number, suffix) for number in numbers for suffix in ("", "-2")[: 1 + (number in self._doubled)]]


class NaiveReader:
    """The usual loop: the next page until a short one, without sessions that it has seen if it `deduplicates`."""

    def __init__(self, *, per_page: int, deduplicates: bool = False, read_ahead: int = 1) -> None:
        self.is_done = False
        self.verified = True
        self._per_page = per_page
        self._deduplicates = deduplicates
        self._read_ahead = read_ahead
        self._page = 1
        self._seen: set[str] = set()

    def windows(self) -> Sequence[Window]:
        batch_end = -(-self._page // self._read_ahead) * self._read_ahead
        return [Window(page, self._per_page) for page in range(self._page, batch_end + 1)]

    def accept_page(self, sessions: Sequence[Session]) -> NewSessions:
        self._page += 1
        self.is_done = len(sessions) < self._per_page
        new = [session for session in sessions if not self._deduplicates or session.id not in self._seen]
        self._seen.update(session.id for session in sessions)
        return NewSessions(sessions=tuple(new))


def fetch(listing: FakeList, window: Window) -> Sequence[Session]:
    """Return a page as a client gets it: a list may be a 404 beyond its end."""
    fetched: Fetched[Sequence[Session]] = Fetched(stats=Stats(requests=1))
    try:
        fetched = evolve(fetched, value=listing.read(window))
    except NotFoundError as error:
        fetched = evolve(fetched, error=error)
    return take_404_as_end(fetched, window.page, ()).result()


def read_list(
    listing: FakeList,
    traits: ServerTraits,
    before_request: Callable[[int], object] = lambda requests: None,
    *,
    per_page: int = 20,
    read_ahead: int = 1,
    **options: Any,
) -> tuple[list[int], int, Reconciler]:
    """Read a list; return the `relative_id`s, the number of requests, and the reconciler."""
    reconciler = Reconciler(ReadSpec(**options), per_page=per_page, traits=traits, read_ahead=read_ahead)
    served: dict[Window, Sequence[Session]] = {}
    found: list[int] = []
    requests = 0
    while not reconciler.is_done:
        windows = reconciler.windows()
        for window in windows:
            if window not in served:
                before_request(requests)
                requests += 1
                served[window] = fetch(listing, window)
        found += [session.relative_id for session in reconciler.accept_page(served.pop(windows[0])).sessions]
        served = {window: served[window] for window in reconciler.windows() if window in served}
    return found, requests, reconciler
