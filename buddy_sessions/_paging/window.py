"""`Window`: one page request; and what the reads of a client have learned about the pages of its server."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

DOCUMENTED_SIZE = 20
"""The default page size in the API's documentation: every server honours it."""


class Window(NamedTuple):
    """One page request."""

    page: int
    per_page: int

    @property
    def start(self) -> int:
        """The offset of its first row."""
        return (self.page - 1) * self.per_page

    @property
    def end(self) -> int:
        """The offset after its last row."""
        return self.page * self.per_page

    @classmethod
    def covering(cls, offset: int, max_size: int) -> Window:
        """Return the window that contains `offset` and ends as far down as possible, with at most `max_size` rows.

        A window starts at a multiple of its size, so a smaller one may end farther down.
        """
        if offset % max_size == 0:
            return cls(offset // max_size + 1, max_size)
        best, size = cls(offset + 1, 1), max_size
        while offset + size > best.end:  # this size, or a smaller one, may still end farther down
            best = max(best, cls(offset // size + 1, size), key=lambda window: window.end)
            size -= 1
        return best

    @classmethod
    def around(cls, offset: int, max_size: int) -> Window:
        """Return the window that contains the rows before and at `offset`, as far as possible from its borders."""
        windows = [cls(max(offset - 1, 0) // size + 1, size) for size in range(1, max_size + 1)]
        return max(windows, key=lambda window: (min(offset - window.start, window.end - offset), window.per_page))


_ENDS_PER_CHECK = 50
"""Of the lists that end above `relative_id` 1, the client checks the end of the first one, and then of one in so many.
A check costs two requests, so all checks together cost at most 4 %."""


class PageLength(Enum):
    """What the number of rows on a page says about the end of the list."""

    FULL = auto()
    """As many rows as requested: more may follow."""
    END = auto()
    """Fewer rows than requested, and fewer than the server is known to honour: usually the end."""
    UNKNOWN = auto()
    """Fewer rows than requested: either the end, or the server has cut the page to a size that is not known yet."""


class ServerLimits:
    """What a client has learned about its server. Shared by all reads of the client.

    `retained_rows` is the length of the last list that ended above `relative_id` 1, because the server deletes old
    sessions; None if the last list reached 1. It bounds the read-ahead: the next list may have the same length.
    """

    def __init__(self) -> None:
        self.known_size = DOCUMENTED_SIZE  # the largest page size that the server is known to honour
        self.cap: int | None = None  # the size to which the server cuts larger pages
        self.retained_rows: int | None = None
        self.trusts_short_pages = True  # one with fewer rows than requested has always been the last one so far
        self._short_ends = 0

    def classify(self, window: Window, rows: int) -> PageLength:
        """Return what the number of rows on a page means, and remember that the server honours this size."""
        is_short, is_below_known_size = rows < window.per_page, rows < self.known_size
        self.known_size = max(self.known_size, rows)
        if not is_short:
            return PageLength.FULL
        return PageLength.END if is_below_known_size else PageLength.UNKNOWN

    def count_short_end(self) -> bool:
        """Count an end that only a short page shows; return whether it is the turn of this one to be checked."""
        is_due = self._short_ends % _ENDS_PER_CHECK == 0
        self._short_ends += 1
        return is_due


class PageSize:
    """The page size of one read. It is lowered if the server seems to have a cap."""

    def __init__(self, per_page: int, limits: ServerLimits) -> None:
        self.requested = per_page  # unless a lower cap is known
        self.is_cap_unconfirmed = False  # `requested` was lowered, and is not yet known to be the server's cap
        self._limits = limits

    @property
    def value(self) -> int:
        """The page size to request."""
        return self.requested if self._limits.cap is None else min(self.requested, self._limits.cap)

    def lower(self, rows: int) -> None:
        """Request at most as many rows as a page had, which the server may have cut."""
        self.requested = rows
        self.is_cap_unconfirmed = True

    def limit(self, rows: int) -> None:
        """Request at most as many rows, in this read only."""
        self.is_cap_unconfirmed = False
        self.requested = min(self.requested, rows)

    def refuse(self, window: Window) -> bool:
        """Handle a 400 for a window; return whether a smaller page is worth a request."""
        if window.per_page <= DOCUMENTED_SIZE:
            return False
        self.lower(DOCUMENTED_SIZE)
        return True

    def confirm(self) -> None:
        """Learn the cap: the list goes on after the page that was shorter than requested."""
        if self.is_cap_unconfirmed:
            self.is_cap_unconfirmed = False
            self._limits.cap = self.requested
