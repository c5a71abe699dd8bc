"""`ListEnd`: whether a list ends after a page that is not full (README.md, The end of a list). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from ..models import Session
from .pacing import PageLength, ServerLimits, Window

_SEARCHED = 100
"""How many offsets must list nothing, if short pages are not trusted; at least a page."""


class EndCheck(Enum):
    """What to do after a page that may be the last one."""

    READ_ON = auto()
    """Rows may follow."""
    REQUEST = auto()
    """`ListEnd.next_page` decides."""
    TRUSTED = auto()
    """The list ends here, because the client trusts short pages."""
    PROVED = auto()
    """The list ends here: later requests have listed no row below."""
    MOVED = auto()
    """The list seems to end here, but rows have moved meanwhile."""


class ListEnd:
    """Where the list of one read ends.

    Takes every accepted page, and what was requested after it. If the end `is_possible` and no requested page is left,
    `check` decides.
    """

    def __init__(self, limits: ServerLimits, *, is_filtered: bool, is_always_checked: bool) -> None:
        self.is_possible = False  # after the last accepted page, because it is not full
        self.next_page = Window(1, 1)
        self._limits = limits
        self._is_filtered = is_filtered
        self._is_always_checked = is_always_checked
        # The last accepted page:
        self._has_rows = False
        self._has_last = False  # it ends with the lowest row of the read
        self._is_short = False
        self._is_followed = False  # by an empty page
        self._short_id = 0  # the lowest row of the last short page
        self._search = _EndSearch()

    def compare_with_short_page(self, sessions: Sequence[Session]) -> None:
        """Take any page that was requested after the last accepted one: no row may follow a short page."""
        if sessions and sessions[-1].relative_id < self._short_id:
            self._limits.distrust_short_pages()

    def on_accepted(
        self,
        window: Window,
        sessions: Sequence[Session],
        length: PageLength,
        end: int,
        *,
        has_new: bool,
        has_last: bool,
    ) -> None:
        """Take an accepted page, and the offset after it. `has_last`: it ends with the lowest row of the read."""
        self._has_rows, self._has_last = bool(sessions), has_last
        self._is_short = length is PageLength.SHORT
        self._is_followed = False
        self.is_possible = self._is_short or (has_new and length is PageLength.CUT)
        self.next_page = Window(window.page + 1, window.per_page)
        if self.is_possible and not self._is_short:  # with the last row, and no longer than the server allows
            self.next_page = Window.covering(window.start + len(sessions) - 1, len(sessions))
        if self._is_short and sessions:
            self._short_id = sessions[-1].relative_id
        self._search.take(window, [session.id for session in sessions], end, has_new=has_new)

    def on_empty(self, window: Window, end: int) -> bool:
        """Take an empty page that was requested after the last accepted one, and the offset after it.

        Return False if it is a gap like any other: rows may have moved up into a page that is full, or was cut.
        """
        if not self.is_possible or not (self._is_short or self._limits.rows_follow_short_pages):
            return False
        self._is_followed = True
        self._search.take(window, [], end, has_new=False)
        return True

    def on_gap(self) -> None:
        """Take a page that shows that the list may go on."""
        self.is_possible = False
        self._search.is_same = None

    def is_searched(self, size: int) -> bool:
        """Return whether enough offsets have listed nothing. `size` is that of a page."""
        return self._search.offsets >= max(size, _SEARCHED)

    def check(self, size: int) -> EndCheck:
        """Return what to do now, if the end is possible."""
        limits, search = self._limits, self._search
        if limits.rows_follow_short_pages:
            if not self.is_searched(size):
                return EndCheck.READ_ON
            if search.is_same is not None:
                return EndCheck.PROVED if search.is_same else EndCheck.MOVED
            self.next_page = search.begin_comparison()
        elif self._is_followed:
            if self._has_rows:
                limits.trusted_short_pages.add(self._is_filtered)
            return EndCheck.PROVED
        elif self._is_trusted() and not self._is_always_checked:
            return EndCheck.TRUSTED
        return EndCheck.REQUEST

    def _is_trusted(self) -> bool:
        """Return whether the last accepted page is the end, as far as this client knows."""
        if not self._has_rows:
            return True
        return self._is_filtered in self._limits.trusted_short_pages and self._is_short and self._has_last


class _EndSearch:
    """The offsets that have listed nothing, and whether rows have moved meanwhile.

    To find out, the last page with new rows is requested again.
    """

    def __init__(self) -> None:
        self.is_same: bool | None = None  # that page has the same rows again
        self._last_page: tuple[Window, list[str]] = Window(1, 1), []
        self._last_end = self._end = 0  # the offsets after the last row that was listed, and after the last page
        self._is_comparing = False

    @property
    def offsets(self) -> int:
        return self._end - self._last_end

    def begin_comparison(self) -> Window:
        """Return the page to request again."""
        self._is_comparing = True
        return self._last_page[0]

    def take(self, window: Window, ids: list[str], end: int, *, has_new: bool) -> None:
        """Take a page, and the offset after it."""
        if has_new or not self._last_page[1]:
            self._last_page, self.is_same = (window, ids), None
        elif self._is_comparing:
            self.is_same = (window, ids) == self._last_page
        if self.is_same is None:
            self._end = end
            if ids:
                self._last_end = end
        self._is_comparing = False
