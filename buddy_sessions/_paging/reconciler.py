"""Decides which pages of a changing list to request, and which to accept. No I/O, no clock, no asyncio.

`Frontier` proves that an accepted page misses no session: read that module first. `Pacing` estimates which pages to
request next. The `Reconciler` joins them, and adds what the proof leaves open:

- A page that is not full (`HeldPage`). It is not believed before another one explains it.
- A list that is out of order. It is read with deduplication by id, and the read is not verified.
- A list that changes faster than it can be read, or that never ends: `check_stability`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from attrs import evolve

from ..errors import UnstableListingError
from ..models import Session
from .frontier import Frontier, HeldPage, Problem
from .pacing import DOCUMENTED_SIZE, Pacing, ServerTraits, Window
from .selection import NewSessions, ReadSpec, Selection

MAX_STALLED_PAGES = 100
"""The number of pages in a row that may contain nothing new."""

MAX_ROWS_BY_ID = 1_000_000
"""A read gives up after so many rows of a list in no order, whose rows can only be recognised by their ids."""

_MAX_GAP_SEARCH = 50
"""The number of pages in a row without anything new, after which a gap is left open, and the read is not verified."""

_MAX_SAME_ENDS = 20
"""The number of pages in a row that may end with the lowest row, and contain nothing new."""


class Reconciler:
    """Plans the requests of one read: `windows` returns the pages to request, `accept_page` takes the first of them.

    `per_page` and `read_ahead` replace those of the spec.

    `doubt` says why sessions may have been missed or repeated; it is empty if the read is verified. `is_complete`: the
    list was read to its end, or down to `after` or `since`.
    """

    def __init__(self, spec: ReadSpec, *, per_page: int, traits: ServerTraits, read_ahead: int = 1) -> None:
        self.doubt = ""
        self.is_ordered = True
        self.is_complete = spec.cursor is not None and spec.cursor.lowest_id <= spec.after + 1
        self.highest_id = 0  # of the rows that began a page
        self._selection = Selection(spec, traits)
        self._frontier = Frontier(spec.cursor)
        self._pacing = Pacing(
            per_page, traits, offset=spec.cursor.offset if spec.cursor else None, max_read_ahead=read_ahead
        )
        self._planned: list[Window] = []
        self._in_advance: set[Window] = set()  # those that were planned when the last page was accepted or held
        self._page_below_gap: tuple[Window, Sequence[Session]] | None = None  # until another page closes it
        self._held_page: HeldPage | None = None  # the last page, if it is not full
        self._stalled_pages = self._same_ends = 0
        self._seen_ids: set[str] = set()  # used once the list is out of order

    @property
    def verified(self) -> bool:
        return not self.doubt

    @property
    def is_done(self) -> bool:
        """Whether no more pages are needed."""
        return self.is_complete or self._selection.remaining == 0

    def windows(self, max_pages: float = math.inf) -> Sequence[Window]:
        """Return the pages to request now: at most `max_pages`, and those that were returned before."""
        pacing, lowest_id = self._pacing, self._frontier.lowest_id
        if not self._planned:
            self._planned.append(pacing.window_at(pacing.offset) if self.is_ordered else pacing.unordered_window())
        if self.is_ordered and lowest_id is not None and self._held_page is None:
            end = pacing.expected_end(lowest_id - 1 - self._selection.after, self._selection.remaining)
            max_pages = min(max_pages, pacing.read_ahead)
            while len(self._planned) < max_pages and (offset := pacing.page_size.end_of(self._planned[-1])) < end:
                self._planned.append(pacing.window_at(offset))
        return tuple(self._planned)

    def on_bad_request(self) -> bool:
        """Handle a 400 for the first window; return whether a smaller page is worth a request."""
        if not self._pacing.page_size.refuse(self._planned[0]):
            return False
        self._drop_plan()
        return True

    def leave_out(self, session_ids: Iterable[str]) -> None:
        """Do not select sessions whose branch cannot be read: they are of no branch."""
        self._selection.left_out.update(session_ids)

    def accept_page(self, sessions: Sequence[Session]) -> NewSessions:
        """Take the sessions of the first window, and return the new ones. Raises what `check_stability` does."""
        window = self._planned.pop(0)
        in_advance = window in self._in_advance
        self._in_advance.discard(window)
        self.highest_id = max(self.highest_id, sessions[0].relative_id if sessions else 0)
        before = self._frontier.lowest_id, len(self._seen_ids)
        if self._held_page is None:
            result = self._take_page(window, sessions, in_advance=in_advance)
        elif window == self._held_page.window:
            result = self._take_again(self._held_page, sessions)
        else:
            result = self._take_following(self._held_page, sessions, in_advance=in_advance)
        has_new = before != (self._frontier.lowest_id, len(self._seen_ids))
        self._stalled_pages = 0 if has_new else self._stalled_pages + 1
        check_stability("sessions", stalled_pages=self._stalled_pages, rows_by_id=len(self._seen_ids))
        if has_new and self._page_below_gap and not self.is_done:
            page_below_gap, self._page_below_gap = self._page_below_gap, None
            result = result.joined(self._take_page(*page_below_gap, in_advance=True))
        self._notice_repeated_end(sessions, has_new=has_new)
        if self._selection.is_exceeded:
            self.is_complete = False  # `max_sessions` was reached before the end
        return result if self.verified else result._replace(proven_range=None)

    def _take_page(self, window: Window, sessions: Sequence[Session], *, in_advance: bool) -> NewSessions:
        """Take a page; `in_advance`: it may have been requested before the last page was accepted."""
        is_full = self._pacing.page_size.note_page(window, len(sessions))
        if not self.is_ordered or len(sessions) > window.per_page:  # then no page can be placed to overlap
            return self._take_unordered(window, sessions)
        problem = self._frontier.find_problem(window, sessions)
        if self.doubt and problem in {None, Problem.GAP}:
            return self._take_with_hidden_rows(window, sessions)
        match problem:
            case None:
                return self._take_or_hold(window, sessions, is_full=is_full)
            case Problem.GAP:
                return self._take_gap(window, sessions)
            case Problem.UNORDERED if not in_advance:
                return self._take_unordered(window, sessions)
        self._drop_plan()
        if problem is Problem.SKIPPED:
            self._frontier.has_reread_above = True
            self._planned.append(Window.around(window.start, DOCUMENTED_SIZE))
        return NewSessions()

    def _take_or_hold(self, window: Window, sessions: Sequence[Session], *, is_full: bool) -> NewSessions:
        """Take an accepted page if it is full, or has all that is still wanted. Otherwise hold it."""
        if is_full:
            return self._take_accepted(window, sessions, is_full=True)
        has_hole = self._frontier.has_hole(sessions, above=self._selection.after)
        is_enough = self._selection.is_enough(sessions, self._frontier.count_read(sessions))
        if is_enough and (self._selection.is_filtered or not has_hole):
            return self._take_accepted(window, sessions, is_full=False)
        held = HeldPage(window=window, sessions=sessions, rows=len(sessions), has_hole=has_hole)
        # If it is enough, only this response may lack a row: what follows does not matter.
        self._hold(held, next_window=window if is_enough else held.next_window)
        return NewSessions()

    def _take_gap(self, window: Window, sessions: Sequence[Session]) -> NewSessions:
        """Request rows farther up. The last such page is kept: it may be accepted after another has closed the gap."""
        if not sessions and self._frontier.lowest_id == 1:  # nothing follows number 1
            self.is_complete = True
            return NewSessions()
        if self._stalled_pages > _MAX_GAP_SEARCH:
            self._doubt_pages("no page closes a gap in the list")
            return self._take_with_hidden_rows(window, sessions)
        if sessions:
            self._page_below_gap = window, sessions
        self._planned.insert(0, self._pacing.step_back(window))
        return NewSessions()

    def _take_accepted(self, window: Window, sessions: Sequence[Session], *, is_full: bool) -> NewSessions:
        """Move on over an accepted page, or complete the read."""
        pacing, relative_ids = self._pacing, [session.relative_id for session in sessions]
        already_read = self._frontier.count_read(sessions)
        start = pacing.page_size.start_of(window)
        is_first = self._frontier.lowest_id is None
        has_new = already_read < len(sessions)
        proven_range = self._frontier.move(sessions, already_read)
        lowest_id = self._frontier.lowest_id
        pacing.on_accepted(window, relative_ids, is_full=is_full)
        self._in_advance = set(self._planned)
        if lowest_id == 1 and is_full and not self._selection.after and (is_first or self._frontier.has_holes):
            pacing.overlap = 1  # one more page: a list that is out of order may go on with the missing ones
        elif self._selection.selects_nothing_below(lowest_id, sessions):
            self.is_complete = True
        elif not has_new and is_full and lowest_id is not None:
            pacing.skip_ahead(relative_ids[-1] - lowest_id)  # the list has grown
        return self._selection.select(sessions[already_read:], start + already_read, proven_range)

    def _hold(self, held: HeldPage, next_window: Window) -> None:
        """Hold a page until what is requested next explains it."""
        self._held_page = held
        self._in_advance = set(self._planned)
        self._planned = [next_window]

    def _take_following(self, held: HeldPage, following: Sequence[Session], *, in_advance: bool) -> NewSessions:
        """Take the page after the held one. Request one of them again if its response may lack rows."""
        is_early = in_advance and not held.is_above(following)  # rows may have moved there since
        # Where the server may cut pages, one empty page proves as little as a page that is not full.
        is_empty_once = not following and held.following is None and self._pacing.page_size.may_be_cut(held.rows)
        if is_early or is_empty_once:
            self._held_page = held if is_early else evolve(held, following=following)
            self._planned = [held.next_window]
            return NewSessions()
        held = evolve(held, following=following)
        if self._needs_second_response(held, following):
            self._held_page = held
            self._planned.insert(0, held.window)
            return NewSessions()
        return self._settle(held)

    def _needs_second_response(self, held: HeldPage, following: Sequence[Session]) -> bool:
        """Return whether the response for the held page may lack rows."""
        if held.rows_follow:
            # Before the first page was taken, its first row may be missing, and leaves no hole.
            may_lack_first_row = self._frontier.lowest_id is None and len(following) != held.rows
            return held.has_hole or not held.is_followed_closely or may_lack_first_row
        # It is the last page, unless the response lacks a row or the server caps pages, and rows have moved up into it.
        page_size = self._pacing.page_size
        is_doubtful = held.has_hole and not self._selection.is_filtered
        is_one_short = held.rows + 1 == page_size.served(held.window.per_page)
        return is_doubtful or is_one_short or page_size.may_be_cut(held.rows)

    def _take_again(self, held: HeldPage, sessions: Sequence[Session]) -> NewSessions:
        """Take a second response for the held page. A row that both lack does not exist."""
        page_size = self._pacing.page_size
        if not held.sessions and not sessions:  # page 1 is empty again
            return self._settle(evolve(held, following=sessions))
        is_accepted = self._frontier.find_problem(held.window, sessions) is None
        is_full = page_size.note_page(held.window, len(sessions))
        has_same_length = len(sessions) == held.rows
        is_next_longer = len(held.following or ()) > held.rows
        if is_accepted and held.rows_follow and has_same_length and not is_next_longer:
            page_size.learn_cap(held.rows)
        again = held.merge(sessions) if is_accepted and held.sessions and not is_full else None
        if again is None:
            self._held_page = None
            return self._take_page(held.window, sessions, in_advance=False)
        again = evolve(again, has_hole=self._frontier.has_hole(again.sessions, above=self._selection.after))
        if held.is_above(again.sessions):  # rows have moved up, so what followed the first response does not tell
            self._hold(evolve(again, following=None), again.next_window)
            return NewSessions()
        return self._settle(again)

    def _settle(self, held: HeldPage) -> NewSessions:
        """Take the held page, and the one that follows it."""
        page_size, following = self._pacing.page_size, held.following
        self._held_page = None
        is_at_cap = page_size.cap == held.rows
        is_row_missing = held.has_hole or not held.is_followed_closely
        if held.rows_follow and not is_at_cap:
            if is_row_missing:
                self._doubt_pages("rows follow a page that is not full")
            else:
                page_size.learn_cap(held.rows)
        result = self._take_accepted(held.window, held.sessions, is_full=held.rows_follow)
        if self.is_done or following is None:
            return result
        if following:
            return result.joined(self._take_page(held.next_window, following, in_advance=True))
        self.is_complete = True
        below = (1, (self._frontier.lowest_id or 1) - 1)
        return result.joined(self._selection.select((), result.offset, below))

    def _doubt_pages(self, reason: str) -> None:
        """Take each page as it is from now on: the server hides rows."""
        self.doubt = reason
        self._pacing.page_size.cap = None

    def _take_with_hidden_rows(self, window: Window, sessions: Sequence[Session]) -> NewSessions:
        """Take any page of a list whose server hides rows: only an empty page is its end."""
        if not sessions:
            self.is_complete = True
            return NewSessions()
        result = self._take_accepted(window, sessions, is_full=True)
        self._pacing.overlap = 0
        return result

    def _take_unordered(self, window: Window, sessions: Sequence[Session]) -> NewSessions:
        """Take a page of a list that is out of order: all sessions not seen before. An empty page ends the list.

        A session that was read before the recent rows is repeated if it is listed again: its id is not remembered.
        """
        if self.is_ordered:
            self.is_ordered = False
            self.doubt = "the list is not newest first, or its pages are not as long as asked for"
            self._seen_ids.update(self._frontier.recent_ids)
            self._drop_plan()
        new = {session.id: session for session in sessions if session.id not in self._seen_ids}
        self._seen_ids.update(new)
        start = self._pacing.page_size.start_of(window)
        self._pacing.go_on_after(window)
        self.is_complete = not sessions
        return self._selection.select(tuple(new.values()), start, None)

    def _notice_repeated_end(self, sessions: Sequence[Session], *, has_new: bool) -> None:
        """Complete the read if page after page ends with the lowest row: the server repeats its last page."""
        is_same = bool(sessions) and not has_new and sessions[-1].relative_id == self._frontier.lowest_id
        self._same_ends = self._same_ends + 1 if is_same else 0
        if self._same_ends > _MAX_SAME_ENDS and self.is_ordered:
            self.is_complete, self.doubt = True, "the last page comes again and again, so the end is not certain"

    def _drop_plan(self) -> None:
        """Drop the planned windows, and the pages that were kept or held."""
        self._planned.clear()
        self._page_below_gap = self._held_page = None
        self._pacing.restart()


def check_stability(rows: str, *, stalled_pages: int, rows_by_id: int) -> None:
    """Raise `UnstableListingError` for too many pages without a new row, or rows in no order, which `rows` names."""
    if stalled_pages > MAX_STALLED_PAGES:
        raise UnstableListingError(
            f"{MAX_STALLED_PAGES} pages of {rows} in a row contained nothing new: the list changes faster than it can "
            "be read, or the server returns the same page again and again; try later, or use a larger per_page"
        )
    if rows_by_id > MAX_ROWS_BY_ID:
        raise UnstableListingError(f"the list has more than {MAX_ROWS_BY_ID:,} {rows}, in no order: it may never end")
