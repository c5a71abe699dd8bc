"""The guarantee of the reconciler, tested against a model server that changes its list between any two requests.

Every session that exists during the whole read is yielded exactly once, newest first; none twice; the read ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from buddy_sessions import Cursor, Session, UnstableListingError
from buddy_sessions._paging.pacing import DOCUMENTED_SIZE, ServerTraits, Window
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.selection import NewSessions, ReadSpec
from helpers.fake_list import FakeList, NaiveReader, assert_exact, fetch

GENERATE_ONLY = settings(
    max_examples=2000, phases=[Phase.generate], report_multiple_bugs=False, database=None, deadline=None
)

sizes = st.integers(1, 8) | st.integers(1, 100)
read_aheads = st.sampled_from([1, 2, 4, 16])


class ReconcilerMachine(RuleBasedStateMachine):
    """Creations, deletions, holes, filters, caps, 404s beyond the end, an empty page, pages in any order, crashes."""

    listing: FakeList
    reader: Reconciler | NaiveReader
    cursor: Cursor | None = None
    was_empty: bool  # a page of this read that has rows

    def __init__(self) -> None:
        super().__init__()
        self.is_unstable = False
        self.reads = 0
        self.served: dict[Window, Sequence[Session]] = {}

    @property
    def is_over(self) -> bool:
        return self.reader.is_done or self.is_unstable

    @rule(count=st.integers(1, 30))
    def create(self, count: int) -> None:
        self.listing.create(count)

    @rule(offsets=st.lists(st.integers(0, 300), min_size=1, max_size=30))
    def delete(self, offsets: list[int]) -> None:
        for offset in offsets:
            self.listing.delete(offset)

    @precondition(lambda self: not self.is_over)
    @rule(which=st.integers(0, 15))
    def serve(self, which: int) -> None:
        """One of the requested pages is read now, and arrives later."""
        windows = self.reader.windows()
        window = windows[which % len(windows)]
        if window not in self.served:
            self.served[window] = fetch(self.listing, window)
            self.reads += 1

    @precondition(lambda self: not self.is_over and not self.was_empty)
    @rule(which=st.integers(0, 15))
    def serve_an_empty_page(self, which: int) -> None:
        """One of the requested pages is empty, once in each read: a replica restarts."""
        windows = self.reader.windows()
        self.served[windows[which % len(windows)]] = ()
        self.reads += 1
        self.was_empty = True

    @precondition(lambda self: not self.is_over)
    @rule()
    def accept_page(self) -> None:
        self.serve(0)
        windows = self.reader.windows()
        for stale in self.served.keys() - set(windows):
            del self.served[stale]
        try:
            result = self.reader.accept_page(self.served.pop(windows[0]))
        except UnstableListingError:
            self.is_unstable = True
        else:
            self.take(result)

    @initialize(
        data=st.data(),
        numbers=st.integers(0, 250).flatmap(
            lambda top: st.sampled_from([0, 0.02, 0.2, 0.7]).map(lambda holes: (top, holes))
        ),
        oldest=st.sampled_from([1, 1, 40]),
        cap=st.sampled_from([None, None, 20, 30]),
        one_in=st.sampled_from([1, 1, 2, 3, 10]),
        per_page=sizes,
        read_ahead=read_aheads,
        after=st.sampled_from([0, 0, 0, 7, 100]),
        ends_with_404=st.booleans(),
    )
    def begin(
        self,
        data: st.DataObject,
        numbers: tuple[int, float],
        oldest: int,
        cap: int | None,
        one_in: int,
        per_page: int,
        read_ahead: int,
        after: int,
        ends_with_404: bool,
    ) -> None:
        top, holes = numbers
        random = data.draw(st.randoms(use_true_random=False))
        self.listing = FakeList(
            [number for number in range(oldest, oldest + top) if random.random() >= holes],
            cap=cap,
            visible=lambda number: number * 2654435761 % 97 % one_in == 0,
            ends_with_404=ends_with_404,
        )
        self.after = after
        self.traits = ServerTraits()
        self.yielded: list[int] = []
        self.start(per_page, read_ahead)

    def start(self, per_page: int, read_ahead: int) -> None:
        self.per_page = min(per_page, DOCUMENTED_SIZE)
        self.was_empty = False
        self.reader = Reconciler(
            ReadSpec(after=self.after, cursor=self.cursor),
            per_page=per_page,
            traits=self.traits,
            read_ahead=read_ahead,
        )

    def take(self, result: NewSessions) -> None:
        numbers = [session.relative_id for session in result.sessions]
        assert all(number > self.after for number in numbers)
        self.yielded += numbers
        if numbers:
            self.cursor = Cursor(numbers[-1], result.offset + len(numbers))
        lowest_proven, _ = result.proven_range or (math.inf, 0)
        lowest = min([lowest_proven, *self.yielded[-1:]])
        assert_exact(self.yielded, {number for number in self.listing.stable if number >= lowest})
        assert self.reader.verified, "no session was lost or repeated, but the read is not verified"

    @precondition(lambda self: not self.reader.is_done)
    @rule(per_page=sizes, read_ahead=read_aheads, unsaved=st.integers(0, 5), new_client=st.booleans())
    def crash(self, per_page: int, read_ahead: int, unsaved: int, new_client: bool) -> None:
        """The process dies, up to five sessions before the end of its last page, and another one resumes."""
        assume(len(self.yielded) > unsaved)
        if self.cursor and unsaved and self.cursor.lowest_id == self.yielded[-1]:
            self.yielded = self.yielded[:-unsaved]
            self.cursor = Cursor(self.yielded[-1], self.cursor.offset - unsaved)
        if new_client:
            self.traits = ServerTraits()
        self.served.clear()
        self.start(per_page, read_ahead)

    def teardown(self) -> None:
        """The list stops changing: the read ends soon, and the guarantee holds."""
        if not hasattr(self, "reader"):
            return
        before = self.reads
        while not self.is_over:
            self.accept_page()
            assert self.reads - before <= self.max_reads(), "too many requests"
        assert not self.is_unstable
        assert_exact(self.yielded, {number for number in self.listing.stable if number > self.after})

    def max_reads(self) -> float:
        """The number of requests for the rest of a list that does not change: twice the usual loop, plus a search."""
        return 30 + 2 * math.ceil(len(self.listing.visible()) / self.per_page)


class NaiveMachine(ReconcilerMachine):
    """The same, with the usual loop. It cannot resume, and no page is empty."""

    was_empty = True
    options: ClassVar[dict[str, Any]] = {}

    def start(self, per_page: int, read_ahead: int) -> None:
        assume(not self.yielded and not self.after)
        self.reader = NaiveReader(per_page=per_page, **self.options)

    def max_reads(self) -> float:
        return math.inf


def test_reconciler_keeps_the_guarantee() -> None:
    run_state_machine_as_test(ReconcilerMachine, settings=settings(stateful_step_count=40))


@pytest.mark.parametrize("options", [{}, {"deduplicates": True}, {"deduplicates": True, "read_ahead": 4}])
def test_naive_readers_break_the_guarantee(options: dict[str, Any]) -> None:
    machine = type("Machine", (NaiveMachine,), {"options": options})
    with pytest.raises(AssertionError, match=r"lost|repeated|newest first"):
        run_state_machine_as_test(machine, settings=GENERATE_ONLY)
