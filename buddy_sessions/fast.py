"""Pages decoded by msgspec, the extra `[speed]`: bytes straight into models, where all of a page is as expected.

A session's member is one of few, told by the same bytes each time: it is made once, and shared.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import cache
from typing import Any, NamedTuple

from .models import Member, Session
from .structuring import thawed

_MOST_MEMBERS = 1024  # remembered


class DecodedPage(NamedTuple):
    """What one page of sessions holds."""

    sessions: tuple[Session, ...]
    url: str | None
    html_url: str | None

    @classmethod
    def of(cls, sessions: tuple[Session, ...], url: Any, html_url: Any) -> DecodedPage:
        """Return a page; links that are no text are dropped."""
        return cls(sessions, url if type(url) is str else None, html_url if type(html_url) is str else None)


@cache
def fast_decoder() -> Callable[[bytes], DecodedPage | None] | None:
    """Return what decodes a page by msgspec; None where that is not installed.

    It gives None for whatever it does not take, or takes otherwise than the converter's rules have it: cattrs then says
    what is wrong with it, or that nothing is.
    """
    try:
        import msgspec  # noqa: PLC0415 - an extra, and paid for only when the first page comes
    except ImportError:
        return None
    raw: Any = thawed(Session, __annotations__={"created_by": msgspec.Raw}, __attrs_pre_init__=_set_absent)
    fields: list[Any] = [("sessions", tuple[raw, ...]), ("url", Any, None), ("html_url", Any, None)]
    decode_page = msgspec.json.Decoder(msgspec.defstruct("Page", fields)).decode
    decode_member = msgspec.json.Decoder(Member).decode
    members: dict[bytes, Member] = {}

    def member_of(raw: bytes) -> Member | None:
        if raw == b"null":
            return None
        if len(members) >= _MOST_MEMBERS:
            members.clear()
        return members.setdefault(raw, decode_member(raw))

    def decode(body: bytes) -> DecodedPage | None:
        try:
            page: Any = decode_page(body)
            for session in page.sessions:
                # Written out: a loop over the three would cost half as much again.
                created, started, finished = session.create_date, session.start_date, session.finish_date
                if (
                    session.relative_id < 1
                    or (created and created.tzinfo is not UTC)
                    or (started and started.tzinfo is not UTC)
                    or (finished and finished.tzinfo is not UTC)
                ):
                    return None
                if session.created_by is not None:
                    raw = bytes(session.created_by)
                    # In one step: another thread may forget them meanwhile.
                    session.created_by = members.get(raw) or member_of(raw)
                session.__class__ = Session
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return DecodedPage.of(page.sessions, page.url, page.html_url)

    return decode


def _set_absent(session: Any) -> None:
    """Set what most sessions come without; msgspec calls this before it fills one.

    It then asks for each field, and one that is not there answers by an AttributeError, which takes several times as
    long as setting it.
    """
    session.ci_run_url = session.error_message = None
