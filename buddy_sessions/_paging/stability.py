"""When a list is reported as unstable, instead of being read for ever."""

from __future__ import annotations

from ..errors import UnstableListingError

MAX_STALLED_PAGES = 100
"""The number of pages in a row that may contain nothing new."""

MAX_ROWS_BY_ID = 1_000_000
"""The number of rows of a list without an order, whose rows can only be recognised by their ids: it may never end."""


def check_stability(rows: str, *, stalled_pages: int, rows_by_id: int) -> None:
    """Raise `UnstableListingError` if a limit is exceeded. `rows` names the rows of the list for the message."""
    if stalled_pages > MAX_STALLED_PAGES:
        raise UnstableListingError(
            f"{MAX_STALLED_PAGES} pages of {rows} in a row contained nothing new: the list changes faster than it can "
            "be read, or the server returns the same page again and again; try later, or use a larger per_page"
        )
    if rows_by_id > MAX_ROWS_BY_ID:
        raise UnstableListingError(f"the list has more than {MAX_ROWS_BY_ID:,} {rows}, in no order: it may never end")
