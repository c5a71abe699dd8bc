"""Pages that are not full: what explains them, and what the read never says if nothing does.

The law reads random lists on random servers: honest ones, also with a limit of rows, and ones with a fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from buddy_sessions import Session, UnstableListingError
from buddy_sessions._paging.pacing import ServerTraits, Window
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.selection import ReadSpec
from helpers.effort import repeats
from helpers.fake_list import FakeList, FaultyList, assert_exact, experienced, read_list, session


@pytest.mark.parametrize(
    ("ids", "options", "requests"),
    [
        pytest.param(range(31, 41), {}, 2, id="short"),
        pytest.param([*range(31, 36), *range(37, 41)], {}, 3, id="short-with-a-hole"),
        pytest.param([*range(31, 36), *range(37, 41)], {"branch": "main"}, 2, id="short-of-a-branch"),
        pytest.param([], {}, 2, id="empty"),
        pytest.param(range(31, 41), {"after": 30}, 1, id="down-to-after"),
        pytest.param([33, 32, 31], {"max_sessions": 3}, 1, id="enough"),
        pytest.param([3, 2, 1], {}, 1, id="number-1"),
        pytest.param([5, 3, 1], {}, 2, id="number-1-with-holes"),
        pytest.param(range(31, 61), {"per_page": 100, "traits": ServerTraits()}, 4, id="perhaps-cut"),
        pytest.param(range(31, 71), {}, 5, id="after-a-full-page"),
        pytest.param(range(301, 381), {"read_ahead": 4}, 10, id="after-full-pages-read-ahead"),
    ],
)
def test_what_an_end_costs(ids: Sequence[int], options: dict[str, Any], requests: int) -> None:
    options = {"traits": experienced()} | options
    found, count, reconciler = read_list(FakeList(ids), **options)
    assert (found, count, reconciler.verified) == (sorted(ids, reverse=True), requests, True)


@pytest.mark.parametrize("traits", [ServerTraits, experienced])
def test_hidden_row_is_no_cap(traits: Callable[[], ServerTraits]) -> None:
    """The next page is longer."""
    found, _, reconciler = read_list(FaultyList(range(1, 351), hidden={340}), traits(), per_page=100)
    assert (len(found), reconciler.verified) == (349, False)


def test_page_requested_before_a_short_one_proves_no_end() -> None:
    """Rows may have moved there since. It is requested again."""
    for page_4 in ([], [78, 77]):
        reconciler = Reconciler(ReadSpec(), per_page=20, traits=ServerTraits(), read_ahead=2)
        for numbers in (range(120, 100, -1), range(100, 80, -1), range(80, 76, -1), page_4):
            windows = reconciler.windows()
            reconciler.accept_page([session(number) for number in numbers])
        assert (reconciler.is_done, reconciler.windows()) == (False, windows)


@pytest.mark.parametrize(("missing", "options"), [(22, {}), (20, {"branch": "main"})], ids=["first-row", "branch"])
def test_rows_move_up_into_a_page_that_lacks_one(missing: int, options: dict[str, Any]) -> None:
    """So the next page is empty, and no hole shows that the page was full."""
    listing = FakeList(range(1, 23))
    read = listing.read

    def read_without_a_row(window: Window) -> tuple[Session, ...]:
        listing.read = read  # type: ignore[method-assign]  # only one response is wrong
        rows = tuple(each for each in read(window) if each.relative_id != missing)
        for _ in range(2):
            listing.delete(5)
        return rows

    listing.read = read_without_a_row  # type: ignore[method-assign]  # see above
    found, _, reconciler = read_list(listing, experienced(), **options)
    assert_exact(found, listing.stable)
    assert reconciler.verified


def test_rows_move_up_past_a_page_that_lacks_one() -> None:
    """So its second response is empty, and what follows is on a page above."""
    listing = FakeList(range(1, 63))
    read = listing.read

    def read_without_a_row(window: Window) -> tuple[Session, ...]:
        rows = read(window)
        if window.page == 2 and len(listing.numbers) == 62:
            rows = rows[:-1]
            for _ in range(45):
                listing.delete(0)
        return rows

    listing.read = read_without_a_row  # type: ignore[method-assign]  # see above
    found, _, reconciler = read_list(listing, experienced())
    assert_exact(found, listing.stable)
    assert reconciler.verified


def test_rows_move_up_into_a_page_that_is_cut() -> None:
    """Between its first response and its second one, rows after it are read. The last one is deleted, too."""
    listing = FakeList(range(1, 85), cap=30)
    deleted: dict[int, list[int]] = {1: [0] * 45, 2: [0] * 20 + [-1] + [0] * 8}  # offsets, by the request

    def before_request(requests: int) -> None:
        for offset in deleted.get(requests, []):
            listing.delete(offset)

    found, _, reconciler = read_list(listing, ServerTraits(), before_request, per_page=31)
    assert_exact(found, listing.stable)
    assert reconciler.verified


def test_list_that_is_cleared_after_page_3_was_requested() -> None:
    listing = FakeList(range(1, 64))
    pages = {window: listing.read(window) for window in (Window(1, 20), Window(3, 20))}
    listing.read = lambda window: pages.pop(window, ())  # type: ignore[method-assign]  # see above
    found, _, reconciler = read_list(listing, experienced(), read_ahead=8)
    assert (len(found), reconciler.verified) == (20, True)


class RandomServer(FakeList):
    """A random list on a random server, which may have one `fault`. Without one, it is honest."""

    def __init__(self, random: Random, fault: str) -> None:
        oldest, count = random.choice([1, 1, 40]), random.choice([0, 1, random.randrange(30), random.randrange(900)])
        holes, one_in = random.choice([0, 0, 0.02, 0.1, 0.3, 0.7]), random.choice([1, 1, 1, 2, 5])
        super().__init__(
            [number for number in range(oldest, oldest + count) if random.random() >= holes],
            cap=random.choice([None, 20, 25, 30, 50, 100]) if fault in WITH_LIMIT else None,
            visible=lambda number: number * 2654435761 % 97 % one_in == 0,
            ends_with_404=fault == "is a 404 beyond the end",
        )
        self.is_filtered = one_in > 1
        self.fault = fault
        self.random = random
        self.change_rate = random.choice([0, 0, 0.3, 1]) if fault in REPAIRED else 0
        self.faulty_request = random.randrange(1, 12)
        self.requests = 0
        share = random.choice([0.02, 0.3])
        self.hidden = {number for number in self.numbers if fault == "hides rows" and random.random() < share}
        self.stable -= self.hidden
        self.size, self.tiny = random.choice([20, 50]), random.randrange(1, 20)

    def read(self, window: Window) -> tuple[Session, ...]:
        self.requests += 1
        if self.random.random() < self.change_rate:
            self.create(self.random.choice([0, 1, 1, 5, 30]))
            for _ in range(self.random.choice([0, 1, 3])):
                self.delete(self.random.randrange(1000))
        if self.fault == "has a tiny limit":
            self.cap = self.tiny
        if self.fault == "lowers its limit" and self.requests >= self.faulty_request:
            self.cap = 50
        if self.fault == "ignores per_page":
            window = Window(window.page, self.size)
        rows = self.visible()
        page = self._cut(rows, window)
        if self.fault == "repeats a page" and rows and not page:
            page = self._cut(rows, Window((len(rows) - 1) // window.per_page + 1, window.per_page))
        if self.fault == "sends an empty page" and self.requests == self.faulty_request:
            return ()
        is_faulty = self.fault == "lacks a row" and self.requests == self.faulty_request
        is_faulty |= self.fault == "lacks rows" and self.random.random() < 0.03
        if is_faulty and page and page[-1] != rows[-1]:
            page.remove(self.random.choice(page))
        return tuple(session(number) for number in page if number not in self.hidden)


WITH_LIMIT = {"none", "sends an empty page", "is a 404 beyond the end"}
REPAIRED = {*WITH_LIMIT, "lacks a row"}
"""What leaves nothing in doubt."""

FAULTS = [
    *sorted(REPAIRED),
    "lacks rows",
    "hides rows",
    "lowers its limit",
    "has a tiny limit",
    "ignores per_page",
    "repeats a page",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_session_is_lost_without_a_doubt(fault: str) -> None:
    """One response that lacks a row is repaired, at each page but the last; and one empty one, at each page."""
    for seed in range(repeats(quick=600, thorough=2000, long=20_000)):
        random = Random(f"{fault} {seed}")
        listing = RandomServer(random, fault)
        limit = random.choice([None, None, random.randrange(1, 300)]) if fault == "none" else None
        found, _, reconciler = read_list(
            listing,
            ServerTraits(longest_page=random.choice([20, 100]) if listing.cap is None else 20),
            per_page=random.choice([20, 30, 50, 100]),
            read_ahead=random.choice([1, 4, 16]),
            branch="main" if listing.is_filtered else None,
            max_sessions=limit,
        )
        assert limit is None or len(found) <= limit
        if reconciler.verified:
            lowest = min(found) if len(found) == limit else 0
            assert_exact(found, {number for number in listing.stable if number >= lowest})
        else:
            assert fault not in REPAIRED, f"list {seed} is in doubt: {reconciler.doubt}"


def new_faulty_list(random: Random, fault: str, per_page: int) -> FaultyList:
    """Return a list whose rows are out of order, or are listed twice."""
    oldest, top = random.choice([1, 1, 40]), random.randrange(1, 250)
    numbers = range(oldest, oldest + top)
    chosen = random.sample(numbers, min(random.choice([1, 1, 2, 5]), top))
    moved: dict[int, float] = {}
    if fault == "moved":  # not below number 1, and number 1 only alone
        for number in [1] if 1 in chosen else chosen:
            moved[number] = max(number + random.choice([1.5, -1.5, 20.5, -20.5]), 1.5)
    elif fault == "sunk":  # the first row is the first one of another page
        moved[numbers[-1]] = max(numbers[-1] - per_page * random.choice([1, 1, 2, 5]) - 0.5, 1.5)
    elif fault == "last":  # not the newest one: without it, the list would have no hole
        moved[random.choice(numbers[:-1] or numbers)] = 0.5
    elif fault == "raised":  # rows in order, but above newer ones
        lowest = random.choice([oldest + 1, oldest + 2, random.choice(numbers)])
        rows = min(random.choice([1, per_page, 2 * per_page, random.randrange(1, 50)]), top)
        moved = {number: number + 1000 for number in range(max(lowest, 2), lowest + rows)}
    doubled = {number for number in chosen if fault == "doubled" and number > 1}
    return FaultyList(numbers, moved=moved, doubled=doubled)


@pytest.mark.parametrize("fault", ["moved", "sunk", "last", "raised", "doubled", "outdated"])
def test_no_session_of_a_list_out_of_order_is_lost_without_a_doubt(fault: str) -> None:
    """Nor if some pages are outdated, but for the sessions below an end that these have shown."""
    for seed in range(repeats(quick=600, thorough=2000, long=20_000)):
        random = Random(f"{fault} {seed}")
        per_page = random.choice([*range(1, 9), 20, 30, 50, 100])
        listing = new_faulty_list(random, fault, per_page)

        def change(_: object, random: Random = random, listing: FaultyList = listing) -> None:
            listing.age = random.choice([0, 0, 1, 5, 30])
            for _ in range(random.choice([0, 0, 1, 3])):
                if random.random() < 0.5:
                    listing.create()
                else:
                    listing.delete(random.randrange(300))

        traits, read_ahead = random.choice([ServerTraits(), experienced()]), random.choice([1, 2, 4, 16])
        before = [change] if fault == "outdated" else []
        try:
            found, _, reconciler = read_list(listing, traits, *before, per_page=per_page, read_ahead=read_ahead)
        except UnstableListingError:
            continue
        if reconciler.verified and fault == "outdated":
            assert_exact(found, {number for number in listing.stable if number >= min(found, default=0)})
        elif reconciler.verified:
            assert Counter(found) == Counter(row.relative_id for row in listing.stable_rows())
