"""The law of the walk, held against a model server that does whatever it likes between any two reads.

Every session that exists during the whole walk is yielded exactly once, newest first; none twice; the walk ends.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from buddy_sessions import Cursor
from buddy_sessions.walk import DOCUMENTED_SIZE, ServerTraits, Step, Walk, Window
from listing import Listing, PlainWalk

GENERATE_ONLY = settings(
    max_examples=2000, phases=[Phase.generate], report_multiple_bugs=False, database=None, deadline=None
)

sizes = st.integers(1, 8) | st.integers(1, 100)
aheads = st.sampled_from([1, 2, 4, 16])


class WalkMachine(RuleBasedStateMachine):
    """Creations, deletions, holes, filters, clamps, pages served in any order, crashes and resumes."""

    walk: Walk | PlainWalk
    cursor: Cursor | None = None

    @initialize(
        data=st.data(),
        numbers=st.integers(0, 250).flatmap(
            lambda top: st.sampled_from([0, 0.02, 0.2, 0.7]).map(lambda holes: (top, holes))
        ),
        oldest=st.sampled_from([1, 1, 40]),
        largest=st.sampled_from([None, None, 20, 30]),
        one_in=st.sampled_from([1, 1, 2, 3, 10]),
        per_page=sizes,
        read_ahead=aheads,
        since=st.sampled_from([0, 0, 0, 7, 100]),
    )
    def begin(
        self,
        data: st.DataObject,
        numbers: tuple[int, float],
        oldest: int,
        largest: int | None,
        one_in: int,
        per_page: int,
        read_ahead: int,
        since: int,
    ) -> None:
        top, holes = numbers
        random = data.draw(st.randoms(use_true_random=False))
        self.listing = Listing(
            [number for number in range(oldest, oldest + top) if random.random() >= holes],
            largest=largest,
            shown=lambda number: number * 2654435761 % 97 % one_in == 0,
        )
        self.since = since
        self.traits = ServerTraits()
        self.yielded: list[int] = []
        self.reads = 0
        self.served: dict[Window, Any] = {}
        self.start(per_page, read_ahead)

    def start(self, per_page: int, read_ahead: int) -> None:
        self.per_page = min(per_page, DOCUMENTED_SIZE)
        self.walk = Walk(
            per_page=per_page, traits=self.traits, read_ahead=read_ahead, since=self.since, start=self.cursor
        )

    @rule(count=st.integers(1, 30))
    def create(self, count: int) -> None:
        self.listing.create(count)

    @rule(places=st.lists(st.integers(0, 300), min_size=1, max_size=30))
    def delete(self, places: list[int]) -> None:
        for place in places:
            self.listing.delete(place)

    @precondition(lambda self: not self.walk.done)
    @rule(which=st.integers(0, 15))
    def serve(self, which: int) -> None:
        """One of the pages wanted is read now, and arrives later."""
        wanted = self.walk.wanted()
        window = wanted[which % len(wanted)]
        if window not in self.served:
            self.served[window] = self.listing.read(window)
            self.reads += 1

    @precondition(lambda self: not self.walk.done)
    @rule()
    def feed(self) -> None:
        self.serve(0)
        wanted = self.walk.wanted()
        for stale in self.served.keys() - set(wanted):
            del self.served[stale]
        step = self.walk.feed(self.served.pop(wanted[0]))
        self.take(step)

    def take(self, step: Step) -> None:
        numbers = [session.relative_id for session in step.sessions]
        assert all(number > self.since for number in numbers)
        self.yielded += numbers
        assert self.yielded == sorted(set(self.yielded), reverse=True), "a session came twice, or out of order"
        if numbers:
            self.cursor = Cursor(numbers[-1], step.place + len(numbers))
        if step.covers:
            low, high = step.covers
            missed = {number for number in self.listing.stable if low <= number <= high} - set(self.yielded)
            assert not missed, f"said to be covered, but not yielded: {missed}"

    @precondition(lambda self: not self.walk.done)
    @rule(per_page=sizes, read_ahead=aheads, undone=st.integers(0, 5), anew=st.booleans())
    def crash(self, per_page: int, read_ahead: int, undone: int, anew: bool) -> None:
        """The process dies, up to five sessions before the end of its last page, and another goes on."""
        assume(len(self.yielded) > undone)
        if self.cursor and undone and self.cursor.below == self.yielded[-1]:
            self.yielded = self.yielded[:-undone]
            self.cursor = Cursor(self.yielded[-1], self.cursor.place - undone)
        if anew:
            self.traits = ServerTraits()
        self.served.clear()
        self.start(per_page, read_ahead)

    def teardown(self) -> None:
        """The list comes to rest: the walk ends soon, and the law holds."""
        if not hasattr(self, "walk"):
            return
        before = self.reads
        while not self.walk.done:
            self.feed()
            assert self.reads - before <= self.bound(), "too many requests"
        missed = {number for number in self.listing.stable if number > self.since} - set(self.yielded)
        assert not missed, f"lost: {missed}"

    def bound(self) -> float:
        """Requests that reading the rest of a list at rest may take: twice what the plain rule takes, and a search."""
        return 30 + 2 * math.ceil(len(self.listing.shown()) / self.per_page)


class PlainMachine(WalkMachine):
    """The same, with the loop that people write. It cannot resume."""

    options: ClassVar[dict[str, Any]] = {}

    def start(self, per_page: int, read_ahead: int) -> None:
        assume(not self.yielded and not self.since)
        self.walk = PlainWalk(per_page=per_page, **self.options)

    def bound(self) -> float:
        return math.inf


def test_the_law_holds_whatever_the_server_does_between_two_reads() -> None:
    run_state_machine_as_test(WalkMachine, settings=settings(stateful_step_count=40))


@pytest.mark.parametrize("options", [{}, {"dedupe": True}, {"dedupe": True, "read_ahead": 4}])
def test_the_same_generator_breaks_the_plain_rules(options: dict[str, Any]) -> None:
    machine = type("Machine", (PlainMachine,), {"options": options})
    with pytest.raises(AssertionError, match=r"lost|twice"):
        run_state_machine_as_test(machine, settings=GENERATE_ONLY)
