"""Checks of lists of sessions: the size of pages, their order, whether one continues the other, branch and end."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from itertools import pairwise

from buddy_sessions._base.figures import format_count

from .record import SESSION_LISTS, Finding, Record, problem, unchecked

_LOSES = "a read may miss sessions or repeat them"


def check_page_size(record: Record) -> Iterator[Finding]:
    """Check whether `per_page` is honoured, and up to which size."""
    first, received, more = record.get("page-1"), len(record.rows("page-1")), len(record.rows("page-2"))
    if first is None or not received:
        yield unchecked("no list of sessions")
        return
    for name in ("page-1", "window"):
        exchange, rows = record.get(name), record.rows(name)
        if exchange is not None and len(rows) > int(exchange.query["per_page"]):
            found = f"asked for {exchange.query['per_page']} sessions, received {len(rows)}"
            yield problem(found, "per_page is not honoured")
    asked = int(first.query["per_page"])
    if asked < 100:
        yield Finding("note", f"per_page=100 is refused, {asked} is honoured", "reads take five times the requests")
    found = f"asked for {asked} sessions, received {received}"
    if 0 < more <= received < asked:
        yield Finding("note", found, "reads take more requests")
    yield Finding("ok", found)


def check_order(record: Record) -> Iterator[Finding]:
    """Check whether sessions are listed by `relative_id`, newest first, each once."""
    pages = [numbers for name in SESSION_LISTS if len(numbers := record.numbers(name)) > 1]
    if not pages:
        yield unchecked("no list of sessions")
    for numbers in pages:
        if broken := sum(upper <= lower for upper, lower in pairwise(numbers)):
            yield problem(f"{broken} of {len(numbers)} sessions are not newest first, by relative_id", _LOSES)
    yield Finding("ok", "newest first, by relative_id")


def check_paging(record: Record) -> Iterator[Finding]:
    """Check whether page 2 continues page 1, and whether a page of another size is where it must be."""
    first, again = record.numbers("page-1"), record.numbers("again")
    if record.get("window") is None or not first:
        yield unchecked("no list of several sessions")
        return
    for name in ("page-2", "window"):
        exchange, shift = record.get(name), shift_of(record, name)
        if exchange is None:
            continue
        page = f"page {exchange.query['page']} of {exchange.query['per_page']}"
        if exchange.status not in (HTTPStatus.OK, record.status("beyond")):  # the list may end before this page
            yield problem(f"{page} results in {_describe(exchange.status)}", "only the first page can be read")
        if shift and not -len(_deleted(record)) <= shift <= max(again, default=first[0]) - first[0]:
            yield problem(f"{page} begins {abs(shift)} sessions too {'early' if shift > 0 else 'late'}", _LOSES)
    yield Finding("ok", "pages continue each other")


def check_branch(record: Record) -> Iterator[Finding]:
    """Check whether `branch` selects the sessions of a branch: all of them, and no other."""
    if not record.rows("page-1"):
        yield unchecked("no list of sessions")
        return
    meaning = "this package filters again, but reads the other sessions, too"
    if record.rows("no-branch"):
        yield problem("a branch that does not exist has sessions: the filter is ignored", meaning)
    exchange, rows = record.get("branch"), record.rows("branch")
    if exchange is None:
        yield Finding("ok", "no session is of a branch; one that does not exist has no session")
        return
    name = exchange.query["branch"]
    if exchange.status != HTTPStatus.OK:
        yield problem(f"a branch results in {_describe(exchange.status)}", "branches cannot be read")
        return
    if others := [row for row in rows if row.get("ref_name") != name]:
        yield problem(f"{len(others)} of {len(rows)} sessions of a branch are of another one", meaning)
    if missing := missing_of_branch(record) - _deleted(record):
        found = f"{format_count(len(missing), 'session')} of a branch not listed for it"
        yield problem(found, "a verdict may be outdated")
    yield Finding("ok", f"{len(rows)} sessions of the most frequent branch, and no other")


def check_end(record: Record) -> Iterator[Finding]:
    """Check whether a page after the end is empty."""
    beyond = record.get("beyond")
    if beyond is None:
        yield unchecked("no list of sessions")
    elif beyond.status != HTTPStatus.OK:
        yield problem(f"a page after the end results in {_describe(beyond.status)}", "a read ends with this error")
    elif record.document("beyond").get("sessions") != []:
        yield problem("a page after the end is no empty list", "the end cannot be found, or sessions are repeated")
    yield Finding("ok", "a page after the end is empty")


def shift_of(record: Record, name: str) -> int:
    """Return how many sessions earlier than expected a page begins, as if so many were created; 0 if unknown."""
    exchange, numbers = record.get(name), record.numbers(name)
    known = sorted({*record.numbers("page-1"), *record.numbers("page-2")}, reverse=True)
    if exchange is None or not numbers or numbers[0] not in known:
        return 0
    size = int(exchange.query["per_page"])
    if name == "page-2":  # page 1 may have been cut
        size = min(size, len(record.rows("page-1")))
    return (int(exchange.query["page"]) - 1) * size - known.index(numbers[0])


def missing_of_branch(record: Record) -> set[int]:
    """Return the `relative_id`s of a branch on page 1 that are not listed for it, although an older one is."""
    exchange, rows, listed = record.get("branch"), record.rows("page-1"), record.numbers("branch")
    if exchange is None:
        return set()
    oldest = min(listed, default=0) if len(record.rows("branch")) >= len(rows) else 0  # older ones are on page 2
    reference = "BRANCH", exchange.query["branch"]
    numbers = [row.get("relative_id") for row in rows if (row.get("ref_type"), row.get("ref_name")) == reference]
    return {number for number in numbers if type(number) is int and number > oldest} - {*listed}


def _deleted(record: Record) -> set[int]:
    """Return the `relative_id`s of page 1 that were deleted meanwhile: a second request of page 1 lacks them."""
    again = record.numbers("again")
    return {number for number in record.numbers("page-1") if again and min(again) < number and number not in again}


def _describe(status: int) -> str:
    return f"status {status}" if status else "no response"
