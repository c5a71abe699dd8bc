"""`RequestSlots`: how many pages several reads request at once."""

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
