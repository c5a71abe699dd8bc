"""Pages decoded by msgspec (extra `[speed]`): from bytes directly into the frozen models.

The result is the same as by the rules in hooks.py, with two exceptions. If a time has more than six digits of fraction,
msgspec rounds to microseconds, and cattrs drops the rest. In fields that the models do not have, msgspec ignores
numbers with thousands of digits, and cattrs rejects the page.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC
from functools import cache

from attrs import frozen

from ..models import Session
from .hooks import MAX_INTEGER, MIN_INTEGER

_log = logging.getLogger("buddy_sessions")


@frozen
class DecodedPage:
    """The content of one page of sessions."""

    sessions: tuple[Session, ...]
    url: str | None = None
    html_url: str | None = None


@cache
def fast_decoder() -> Callable[[bytes], DecodedPage | None] | None:
    """Return the function that decodes a page by msgspec; None if msgspec is not installed.

    The function returns None for a page that msgspec rejects or decodes differently than the rules. Then decode it by
    cattrs, which accepts it or reports what is wrong.
    """
    try:
        import msgspec  # noqa: PLC0415 - optional, and too slow to import before the first page arrives
    except ImportError:
        _log.debug("decoding pages with cattrs: msgspec (extra [speed]) is not installed")
        return None
    _log.debug("decoding pages with msgspec")
    decoder = msgspec.json.Decoder(DecodedPage)

    def decode(body: bytes) -> DecodedPage | None:
        try:
            if not body.isascii():
                body.decode()  # msgspec ignores invalid UTF-8 in fields that the models do not have
            page = decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return page if _follow_rules(page.sessions) else None

    return decode


def _follow_rules(sessions: Iterable[Session]) -> bool:
    """Return whether sessions follow the rules that msgspec does not check: the limits of numbers, times in UTC."""
    for session in sessions:
        created, started, finished = session.create_date, session.start_date, session.finish_date
        member = session.created_by
        if (
            not 1 <= session.relative_id <= MAX_INTEGER
            or not MIN_INTEGER <= (session.duration or 0) <= MAX_INTEGER
            or not MIN_INTEGER <= (session.tests_count or 0) <= MAX_INTEGER
            or not MIN_INTEGER <= (session.failed_count or 0) <= MAX_INTEGER
            or not MIN_INTEGER <= (session.skipped_count or 0) <= MAX_INTEGER
            or not MIN_INTEGER <= (session.error_count or 0) <= MAX_INTEGER
            or (member is not None and not MIN_INTEGER <= (member.id or 0) <= MAX_INTEGER)
            or (created is not None and created.tzinfo is not UTC)
            or (started is not None and started.tzinfo is not UTC)
            or (finished is not None and finished.tzinfo is not UTC)
        ):
            return False
    return True
