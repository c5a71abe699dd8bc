"""`ServerTraits`: what the reads of a client have learned about its server."""

from __future__ import annotations

from .window import DOCUMENTED_SIZE

_ENDS_PER_CHECK = 50
"""Of the lists that end above number 1, the client checks the end of the first one, and then of one in so many. A check
costs two requests, so all checks together cost at most 4 %."""


class ServerTraits:
    """What a client has learned about its server. Shared by all reads of the client.

    Attributes:
        known_size: The largest page size that the server is known to honour.
        cap: The size to which the server cuts larger pages; None if none is known.
        retained_rows: The length of the last list that ended above number 1, because the server deletes old sessions;
            None if the last list reached number 1. It bounds the read-ahead: the next list may have the same length.
        trusts_short_pages: Whether a page with fewer rows than requested has always been the last one so far.
    """

    def __init__(self) -> None:
        self.known_size = DOCUMENTED_SIZE
        self.cap: int | None = None
        self.retained_rows: int | None = None
        self.trusts_short_pages = True
        self._short_ends = 0

    def count_short_end(self) -> bool:
        """Count an end that only a short page shows; return whether it is the turn of this one to be checked."""
        is_due = self._short_ends % _ENDS_PER_CHECK == 0
        self._short_ends += 1
        return is_due
