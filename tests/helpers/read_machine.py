"""A read of a model server's list, as a state machine: the list changes between any two requests."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from buddy_sessions import Session, UnstableListingError
from buddy_sessions._paging.pacing import Window
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.selection import NewSessions
from helpers.fake_list import FakeList, NaiveReader

read_aheads = st.sampled_from([1, 2, 4, 16])


class ReadMachine(RuleBasedStateMachine):
    """A read of a list that changes, and whose pages are served in any order."""

    listing: FakeList
    reader: Reconciler | NaiveReader

    def __init__(self) -> None:
        super().__init__()
        self.is_unstable = False
        self.may_change = True
        self.reads = 0
        self.served: dict[Window, tuple[Session, ...]] = {}

    @property
    def is_over(self) -> bool:
        return self.reader.is_done or self.is_unstable

    @rule(count=st.integers(1, 30))
    def create(self, count: int) -> None:
        if self.may_change:
            self.listing.create(count)

    @rule(offsets=st.lists(st.integers(0, 300), min_size=1, max_size=30))
    def delete(self, offsets: list[int]) -> None:
        if self.may_change:
            for offset in offsets:
                self.listing.delete(offset)

    @precondition(lambda self: not self.is_over)
    @rule(which=st.integers(0, 15))
    def serve(self, which: int) -> None:
        """One of the requested pages is read now, and arrives later."""
        windows = self.reader.windows()
        window = windows[which % len(windows)]
        if window not in self.served:
            self.served[window] = self.listing.read(window)
            self.reads += 1

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

    def take(self, result: NewSessions) -> None:
        """Take the new sessions of a page."""
        raise NotImplementedError

    def finish(self, max_reads: float) -> None:
        """Read the rest of the list, which does not change any more."""
        before = self.reads
        while not self.is_over:
            self.accept_page()
            assert self.reads - before <= max_reads, "too many requests"
