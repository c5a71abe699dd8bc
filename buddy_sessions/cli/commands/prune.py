"""The command `prune`: delete the old sessions of a database."""

from __future__ import annotations

from buddy_sessions import SessionStore
from buddy_sessions._base.figures import format_count

from ..options import Quiet, SavedFile, Wait
from ..render.console import Output
from ..values import Age, find_database


async def command(*, db: SavedFile, keep: Age, wait: Wait = 0.0, quiet: Quiet = False) -> None:
    """Delete the old sessions of a database with their test cases, and make the file smaller.

    No later sync reads them again. To do this with each sync, use sync --keep. Readers are not blocked, but no sync
    can run meanwhile.

    For example:

    - buddy-sessions prune --db sessions.db --keep 90d

    Args:
        keep: Delete sessions that were created longer ago than this, such as 24h, 90d or 12w.
    """
    async with SessionStore(find_database(db)) as store:
        count = await store.prune(older_than=keep, wait=wait)
    size = f"{db.stat().st_size / 1e6:,.1f} MB"
    messages = Output(stderr=True, quiet=quiet)
    messages.print_note(f"Deleted {format_count(count, 'old session')} from {db}, which has {size} now")
