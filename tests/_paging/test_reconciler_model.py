"""The guarantee of the reconciler, tested against a model server that changes its list between any two requests.

Every session that exists during the whole read is yielded exactly once, newest first; none twice; the read ends. And if
a faulty server lists its sessions so that one is missed, the read is not reported as verified.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from buddy_sessions import Cursor, Session
from buddy_sessions._paging.pacing import DOCUMENTED_SIZE, ServerTraits
from buddy_sessions._paging.reconciler import Reconciler
from buddy_sessions._paging.selection import NewSessions, ReadSpec
from helpers.fake_list import FakeList, FaultyList, NaiveReader, assert_exact, experienced
from helpers.read_machine import ReadMachine, read_aheads

GENERATE_ONLY = settings(
    max_examples=2000, phases=[Phase.generate], report_multiple_bugs=False, database=None, deadline=None
)

sizes = st.integers(1, 8) | st.integers(1, 100)


class ReconcilerMachine(ReadMachine):
    """Creations, deletions, holes, filters, caps, pages served in any order, crashes and resumes."""

    cursor: Cursor | None = None

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
    ) -> None:
        top, holes = numbers
        random = data.draw(st.randoms(use_true_random=False))
        self.listing = FakeList(
            [number for number in range(oldest, oldest + top) if random.random() >= holes],
            cap=cap,
            visible=lambda number: number * 2654435761 % 97 % one_in == 0,
        )
        self.after = after
        self.traits = ServerTraits()
        self.yielded: list[int] = []
        self.start(per_page, read_ahead)

    def start(self, per_page: int, read_ahead: int) -> None:
        self.per_page = min(per_page, DOCUMENTED_SIZE)
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
        self.finish(self.max_reads())
        assert not self.is_unstable
        assert_exact(self.yielded, {number for number in self.listing.stable if number > self.after})

    def max_reads(self) -> float:
        """The number of requests for the rest of a list that does not change: twice the usual loop, plus a search."""
        return 30 + 2 * math.ceil(len(self.listing.visible()) / self.per_page)


class FaultyMachine(ReadMachine):
    """Lists that cannot be read reliably: a read may miss sessions, but then it is not verified.

    Only lists with a cap or with outdated pages are also changed during the read. In a list that is out of order or
    filtered, a deletion can hide every trace of the fault. So can one during the first check of an end, if the client
    does not know yet that the server cuts even pages of the documented size.
    """

    faulty: FaultyList  # the same as `listing`

    @initialize(
        fault=st.sampled_from(["cap", "small cap", "outdated", "moved", "sunk", "last", "raised", "doubled", "hidden"]),
        random=st.randoms(use_true_random=False),
        top=st.integers(1, 250),
        oldest=st.sampled_from([1, 1, 40]),
        per_page=st.integers(1, 8) | st.sampled_from([20, 30, 50, 100]),
        read_ahead=read_aheads,
        is_new_client=st.booleans(),
    )
    def begin(
        self, fault: str, random: Random, top: int, oldest: int, per_page: int, read_ahead: int, is_new_client: bool
    ) -> None:
        numbers = range(oldest, oldest + top)
        self.fault = fault
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
        self.listing = self.faulty = FaultyList(
            numbers,
            moved=moved,
            doubled={number for number in chosen if fault == "doubled" and number > 1},
            hidden={
                number - number % 20 + more  # at least 11 rows between two runs
                for number in chosen
                if fault == "hidden"
                for more in range(min(random.randrange(1, 10), per_page - 1))
            },
        )
        self.may_change = fault in {"cap", "outdated"}
        self.cap_changes = 0
        self.sessions: list[Session] = []
        self.lowest_proven = math.inf  # the lowest of all proven ranges
        traits = ServerTraits()
        if not is_new_client:
            traits = experienced()
        if fault == "small cap":  # not even the documented page size is honoured
            self.faulty.cap = random.randrange(1, DOCUMENTED_SIZE)
        self.reader = Reconciler(ReadSpec(), per_page=per_page, traits=traits, read_ahead=read_ahead)

    @precondition(lambda self: self.fault == "cap")
    @rule(cap=st.sampled_from([20, 25, 30, 60, None]))
    def change_cap(self, cap: int | None) -> None:
        self.cap_changes += cap != self.faulty.cap
        self.faulty.cap = cap

    @precondition(lambda self: self.fault == "outdated")
    @rule(age=st.sampled_from([0, 1, 5, 30]))
    def serve_outdated_pages(self, age: int) -> None:
        self.faulty.age = age

    def take(self, result: NewSessions) -> None:
        self.sessions += result.sessions
        if result.proven_range:
            self.lowest_proven = min(self.lowest_proven, result.proven_range[0])

    def teardown(self) -> None:
        if not hasattr(self, "reader"):
            return
        self.finish(max_reads=2000)
        if self.is_unstable or not self.reader.verified:
            return
        if self.fault not in {"cap", "outdated"} and self.faulty.stable_rows():  # no rows prove nothing
            assert self.lowest_proven == 1, "the first end of a client was not checked"
        ids = [session.id for session in self.sessions]
        assert len(ids) == len(set(ids)), f"the read is verified, but a session was repeated: {ids}"
        if self.cap_changes > 1:  # the guide says that a read cannot notice it
            return
        # Sessions below an end that outdated pages have shown may be missed.
        lowest = self.lowest_proven if self.fault == "outdated" else 0
        rows = [session for session in self.faulty.stable_rows() if session.relative_id >= lowest]
        lost = [session.relative_id for session in rows if session.id not in ids]
        assert not lost, f"the read is verified, but these sessions were lost: {lost}"


class NaiveMachine(ReconcilerMachine):
    """The same, with the usual loop. It cannot resume."""

    options: ClassVar[dict[str, Any]] = {}

    def start(self, per_page: int, read_ahead: int) -> None:
        assume(not self.yielded and not self.after)
        self.reader = NaiveReader(per_page=per_page, **self.options)

    def max_reads(self) -> float:
        return math.inf


def test_reconciler_keeps_the_guarantee() -> None:
    run_state_machine_as_test(ReconcilerMachine, settings=settings(stateful_step_count=40))


def test_read_that_may_have_missed_a_session_is_not_verified() -> None:
    run_state_machine_as_test(FaultyMachine, settings=settings(stateful_step_count=40))


@pytest.mark.parametrize("options", [{}, {"deduplicates": True}, {"deduplicates": True, "read_ahead": 4}])
def test_naive_readers_break_the_guarantee(options: dict[str, Any]) -> None:
    machine = type("Machine", (NaiveMachine,), {"options": options})
    with pytest.raises(AssertionError, match=r"lost|repeated|newest first"):
        run_state_machine_as_test(machine, settings=GENERATE_ONLY)
