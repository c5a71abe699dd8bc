"""How many pages to request at once: of one list, and of all lists that a harvest reads at the same time."""

from __future__ import annotations

from attrs import define


@define(eq=False)
class RequestSlots:
    """The requests that several reads may send at once, shared between them.

    Each read has a slot for the page that it needs next, whether it uses it or not. A page is requested in advance only
    if a slot is idle, so it delays no other read; the second request of an end check does not wait for one.
    """

    total: int  # the maximum number of requests at once
    reads: int = 0
    pages_ahead: int = 0  # that the reads have requested in advance, and not used yet

    @property
    def idle(self) -> int:
        """The number of slots for more pages in advance. Negative if more reads were started than there are slots."""
        return self.total - self.reads - self.pages_ahead


class ReadAhead:
    """The number of pages to request at once: it grows by one after a useful page, and is halved after any other."""

    def __init__(self, maximum: int, *, start: int) -> None:
        self.size = start
        self._maximum = maximum

    def grow(self) -> None:
        """Request one page more: the last page contained mostly new rows."""
        self.size = min(self.size + 1, self._maximum)

    def shrink(self) -> None:
        """Request half as many pages: the last page was rejected, or contained mostly known rows."""
        self.size = max(self.size // 2, 1)

    def reset(self) -> None:
        """Request one page at a time: the pages that were planned are outdated."""
        self.size = 1
