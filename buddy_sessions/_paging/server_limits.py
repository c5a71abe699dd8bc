"""What the reads of a client have learned about its server: page sizes, retention, and what a short page means."""

from __future__ import annotations

from enum import Enum, auto

from .window import DOCUMENTED_SIZE, Window

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
