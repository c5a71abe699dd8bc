"""Checks of lists of sessions: the size of pages, their order, whether one continues the other, branch and end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from http import HTTPStatus
from itertools import pairwise

from .record import SESSION_LISTS, Exchange, Finding, Record, Row, problem, unchecked

_DOCUMENTED_SIZE = 20
SMALL = 5
"""A list with so many sessions can become another one meanwhile."""
_MAX_DELETED = 2  # newer sessions, between two requests
_LOSES = "a read may miss sessions or repeat them"


def check_page_size(record: Record) -> Iterator[Finding]:
    """Check whether `per_page` is honoured, and up to which size."""
    first, rows, more = record.get("page-1"), record.rows("page-1"), record.rows("page-2")
    if first is None or not rows:
        yield unchecked("no list of sessions")
        return
    asked = int(first.query["per_page"])
    if len(rows) > asked:
        yield problem(f"asked for {asked} sessions, received {len(rows)}", "per_page is not honoured")
    window = record.get("window")
    size = int(window.query["per_page"]) if window is not None else 0
    received = len(record.rows("window"))
    if received > size:
        yield problem(f"asked for {size} sessions, received {received}", "per_page is not honoured")
    if more and len(rows) < _DOCUMENTED_SIZE:
        yield problem(f"page 1 has {len(rows)} sessions, and more follow", "even the documented size is cut")
    if more and _is_short(record, "window"):
        yield problem(f"a page of {size} has {received} sessions, and more follow", "the size of pages differs")
    if asked < 100:
        yield Finding("note", f"per_page=100 is refused, {asked} is honoured", "reads take five times the requests")
    if more and len(rows) < asked and len(more) <= len(rows):
        yield Finding("note", f"asked for {asked} sessions, received {len(rows)}", "reads take more requests")
    yield Finding("ok", f"asked for {asked} sessions, received {len(rows)}")


def check_order(record: Record) -> Iterator[Finding]:
    """Check whether sessions are listed by `relative_id`, newest first, each once."""
    pages = [numbers for name in (*SESSION_LISTS, "branch") if len(numbers := record.numbers(name)) > 1]
    if not pages:
        yield unchecked("no list of sessions")
        return
    for numbers in pages:
        if len(set(numbers)) < len(numbers):
            yield problem("a page lists the same relative_id twice", _LOSES)
        if numbers == sorted(numbers):
            yield problem("sessions are listed oldest first", "the newest sessions are read last, or not at all")
        broken = sum(upper < lower for upper, lower in pairwise(numbers))
        if broken:
            yield problem(f"{broken} of {len(numbers)} sessions are not in the order of relative_id", _LOSES)
    if len({str(row.get("id")) for row in record.sessions}) < len(record.sessions):
        yield problem("two sessions have the same id", _LOSES)
    yield Finding("ok", "newest first, by relative_id")


def check_paging(record: Record) -> Iterator[Finding]:
    """Check whether page 2 continues page 1, and whether a page of another size is where it must be."""
    first = record.numbers("page-1")
    if record.rows("default"):
        yield problem("page=1 is empty, but without page there are sessions", "the first page has another number")
    exchanges = [exchange for name in ("page-2", "window") if (exchange := record.get(name)) is not None]
    if not first:
        yield unchecked("no list of sessions")
        return
    status_of_end = record.status("beyond")
    for exchange in exchanges:
        name = exchange.purpose
        page, numbers = f"page {exchange.query['page']} of {exchange.query['per_page']}", record.numbers(name)
        if exchange.status != HTTPStatus.OK and exchange.status == status_of_end:
            continue  # the list may end before this page
        if exchange.status != HTTPStatus.OK:
            yield problem(f"{page} results in {describe(exchange)}", "only the first page can be read")
            continue
        if numbers and numbers[0] == first[0] and len(first) > 1:
            yield problem(f"{page} repeats page 1", "only the first page can be read")
        shift, growth = shift_of(record, name), max(record.numbers("again"), default=sys.maxsize) - first[0]
        if shift is None and name == "window" and len(first) > SMALL:
            yield problem(f"{page} shows none of the sessions that are there", _LOSES)
        if shift is not None and not -_MAX_DELETED <= shift <= growth:
            yield problem(f"{page} begins {abs(shift)} sessions too {'early' if shift > 0 else 'late'}", _LOSES)
    if skipped := _left_out(record, earlier=True):
        yield problem(f"a page leaves out {len(skipped)} sessions that another page shows", _LOSES)
    if (missing := vanished(record)) and record.status("vanished") == HTTPStatus.OK:
        yield problem(f"a page leaves out {len(missing)} sessions that exist", _LOSES)
    if missing:
        yield Finding("ok", f"pages continue each other; {len(missing)} sessions were deleted meanwhile")
    if record.get("window") is None:
        yield unchecked("one session has no second page")
    yield Finding("ok", "pages continue each other")


def check_branch(record: Record) -> Iterator[Finding]:
    """Check whether `branch` selects the sessions of a branch: all of them, and no other."""
    if not record.rows("page-1"):
        yield unchecked("no list of sessions")
        return
    meaning = "this package filters again, but reads the other sessions, too"
    unknown, exchange = record.get("no-branch"), record.get("branch")
    if unknown is not None and unknown.status != HTTPStatus.OK:
        yield problem(f"a branch without sessions results in {describe(unknown)}", "it cannot be told from a mistake")
    if record.rows("no-branch"):
        yield problem("a branch that does not exist has sessions: the filter is ignored", meaning)
    if exchange is None:
        yield Finding("ok", "no session is of a branch; one that does not exist has no session")
        return
    name, rows = exchange.query["branch"], record.rows("branch")
    if exchange.status != HTTPStatus.OK:
        yield problem(f"a branch results in {describe(exchange)}", "branches cannot be read")
        return
    if others := [row for row in rows if row.get("ref_name") != name]:
        yield problem(f"{len(others)} of {len(rows)} sessions of a branch are of another one", meaning)
    expected = [row for row in record.rows("page-1") if (row.get("ref_type"), row.get("ref_name")) == ("BRANCH", name)]
    listed = set(record.numbers("branch"))
    numbers = [row["relative_id"] for row in expected if type(row.get("relative_id")) is int]
    left_out = [number for number in numbers if number not in listed]
    older = [number for number in left_out if number < min(listed, default=0)]  # on a later page, or deleted meanwhile
    is_full = len(listed) >= len(record.rows("page-1"))
    if len(left_out) - len(older) > len(_deleted(record)) or (len(left_out) > SMALL and not is_full):
        yield problem(f"{len(left_out)} sessions of a branch are not listed for it", "a verdict may be outdated")
    if any(row.get("ref_type") != "BRANCH" for row in rows):
        yield Finding("note", "a branch also lists tags or pull requests of its name", "this package leaves them out")
    yield Finding("ok", f"{len(rows)} sessions of the most frequent branch, and no other")


def check_end(record: Record) -> Iterator[Finding]:
    """Check how a list ends: with a short page, then with empty ones."""
    beyond, rows, more = record.get("beyond"), record.rows("page-1"), record.rows("page-2")
    if beyond is None or not rows:
        yield unchecked("no list of sessions")
        return
    if beyond.status != HTTPStatus.OK:
        yield problem(f"a page after the end results in {describe(beyond)}", "a read ends with this error")
    elif not isinstance(record.document("beyond").get("sessions"), list):
        yield problem("a page after the end has no list of sessions", "a read ends with an error")
    if record.rows("beyond"):
        yield problem("a page after the end has sessions", "the end cannot be found, or sessions are repeated")
    first = record.get("page-1")
    is_short = first is not None and len(rows) < int(first.query["per_page"])
    if more and is_short and (len(more) > len(rows) or _is_short(record, "window")):
        yield problem("a short page is not the end", "rows are hidden after pages are cut: each end must be checked")
    lowest = min((number for name in SESSION_LISTS for number in record.numbers(name)), default=1)
    if len(more) == len(rows) and not record.rows("last"):
        yield Finding("ok", "a page after the end is empty")
    retention = "" if lowest == 1 else ": older ones were deleted"
    yield Finding("ok", f"the list ends at #{lowest}{retention}, and the next page is empty")


def shift_of(record: Record, name: str) -> int | None:
    """Return how many sessions earlier than expected a page begins, as if so many were created; None if unknown."""
    exchange, numbers = record.get(name), record.numbers(name)
    known = sorted({*record.numbers("page-1"), *record.numbers("page-2")}, reverse=True)
    if exchange is None or not numbers or numbers[0] not in known:
        return None
    return (int(exchange.query["page"]) - 1) * _size(record, name, exchange) - known.index(numbers[0])


def vanished(record: Record) -> list[Row]:
    """Return sessions of page 1 that a later page leaves out: they were deleted meanwhile, or it is wrong."""
    missing = _left_out(record, earlier=False)
    return [row for row in record.rows("page-1") if row.get("relative_id") in missing]


def describe(exchange: Exchange) -> str:
    """Return the status of a response, or that there is none."""
    return f"status {exchange.status}" if exchange.status else "no response"


def _size(record: Record, name: str, exchange: Exchange) -> int:
    """Return the size of a page: what was asked for, unless page 1 was cut."""
    size = int(exchange.query["per_page"])
    return min(size, len(record.rows("page-1"))) if name == "page-2" else size


def _left_out(record: Record, *, earlier: bool) -> set[int]:
    """Return sessions that a page leaves out between its first and last one: shown by a later page, or an earlier."""
    pages = [set(record.numbers(name)) for name in ("page-1", "page-2", "window")]
    found: set[int] = set()
    for index, page in enumerate(pages):
        others = pages[index + 1 :] if earlier else pages[:index]
        found |= {number for other in others for number in other - page if page and min(page) < number < max(page)}
    if earlier and all(pages):  # the window spans the border of the first two
        found |= {number for number in pages[2] if max(pages[1]) < number < min(pages[0])}
    return found


def _deleted(record: Record) -> list[Row]:
    return vanished(record) if record.status("vanished") == HTTPStatus.NOT_FOUND else []


def _is_short(record: Record, name: str) -> bool:
    """Return whether a page has fewer sessions than asked for, and is not the last one."""
    exchange, numbers = record.get(name), record.numbers(name)
    lower = [number for number in record.numbers("page-2") if number < min(numbers, default=0)]
    if exchange is None or len(lower) <= _MAX_DELETED:
        return False
    return len(numbers) < int(exchange.query["per_page"])
