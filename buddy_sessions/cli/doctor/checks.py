"""The checks of `doctor`: what is checked, what is fine, what it means if it is not, what to do; and the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from buddy_sessions import __version__

from . import findings as find
from .findings import REPORT_IT, Finding
from .probe import Record

_NEEDS: dict[str, Callable[[Record], object]] = {
    "no response": lambda record: record.answered,
    "no SUITE, PROJECT or WORKSPACE is given, or it cannot be read": lambda record: record.asked.document,
    "no list of sessions": lambda record: record["page-1"].rows,
    "no session": lambda record: record.sessions,
    "no finished session with tests": lambda record: record["cases"].document,
    "no test with data was read": lambda record: record["case"].document.get("data"),
}
"""What a check needs, by the reason why there is nothing to look at."""


@frozen
class Check:
    """A row of the table: `find` yields what is wrong, and without `needs`, there is nothing to look at."""

    find: Callable[[Record], Iterator[Finding]]
    needs: str
    fine: str
    meaning: str
    advice: str = REPORT_IT


_RESPONSE, _TARGET, _LIST, _SESSION, _CASES, _CASE = _NEEDS
_NOTHING = "nothing can be read"
_LOSES = "a read may miss sessions or repeat them"
_NETWORK = "the network, a proxy or the base URL is wrong"
_URL = "check the base URL, HTTPS_PROXY and NO_PROXY"
_SCOPES = "create a token with the scopes UNIT_TEST_READ (or UNIT_TEST_INFO) and WORKSPACE, for this workspace"
_NAMES = "check the names, and that the owner of the token can see them"

CHECKS = {
    "connection": Check(find.connection, _RESPONSE, "all responses are JSON", _NETWORK, _URL),
    "token": Check(find.token, _RESPONSE, "accepted", _NOTHING, _SCOPES),
    "api": Check(find.api, _TARGET, "enabled", _NOTHING, "try again later; if it stays, " + REPORT_IT),
    "clock": Check(find.clock, _RESPONSE, "the clocks agree", "ages and --since are wrong", "set the clock"),
    "suites": Check(find.suites, _TARGET, "visible", _NOTHING, _NAMES),
    "page-size": Check(find.page_size, _LIST, "as requested", "reads take more requests, or miss sessions"),
    "order": Check(find.order, _LIST, "newest first, by relative_id", _LOSES),
    "paging": Check(find.paging, _LIST, "pages continue each other", _LOSES),
    "branch": Check(find.branch, _LIST, "a branch has its own sessions only", "all sessions are read for a branch"),
    "end": Check(find.end, _LIST, "a page after the end is empty", "the end cannot be found, or sessions are repeated"),
    "rate-limit": Check(find.rate_limit, _RESPONSE, "", "the quota is not respected until a 429"),
    "fields": Check(find.fields, _SESSION, "as documented", "this package ignores them, or cannot read the response"),
    "values": Check(find.values, _SESSION, "as documented", "statuses, pass rates and gates are wrong"),
    "dates": Check(find.dates, _SESSION, "times in UTC, durations in seconds", "ages, --since and durations are wrong"),
    "case-ids": Check(find.case_ids, _CASES, "each test case has an id, and is listed once", "failures cannot be read"),
    "data": Check(find.data, _CASE, "in a known format", "messages and causes of failures are missing"),
    "latency": Check(find.latency, _RESPONSE, "", "a read of many suites takes long", "is a proxy slow?"),
}


def examine(record: Record) -> dict[str, Finding]:
    """Return what each check has found: its worst finding, or the first of equally bad ones."""
    return {name: _examine(check, record) for name, check in CHECKS.items()}


def _examine(check: Check, record: Record) -> Finding:
    fine = Finding("ok", check.fine) if _NEEDS[check.needs](record) else Finding("unchecked", check.needs)
    worst = max([*check.find(record), fine], key=lambda each: ("unchecked", "ok", "note", "problem").index(each.level))
    if worst.level in ("ok", "unchecked"):
        return worst
    return evolve(worst, meaning=worst.meaning or check.meaning, advice=worst.advice or check.advice)


_ABOUT = (
    "The shape of what buddy-sessions doctor has received. Only the words in unknown_fields and unknown_values are "
    "from outside: read them before you send this file. All others are words of this package."
)


def make_report(record: Record, findings: Mapping[str, Finding]) -> dict[str, Any]:
    """Return the report as JSON values. The words from outside are at its top."""
    return {
        "about": f"{_ABOUT} Version {__version__}, region {record.region or 'unknown'}.",
        "unknown_fields": record.shape.unknown_fields,
        "unknown_values": record.shape.unknown_values,
        "checks": {name: {each.level: each.public + " …" * bool(each.private)} for name, each in findings.items()},
        "requests": {
            each.purpose: {"status": each.status, "per_page": each.size, "rows": len(each.rows)}
            for each in record.values()
        },
        "responses": record.shape.fields,
    }


def to_json(value: Mapping[str, Any]) -> str:
    """Return the report as JSON."""
    return f"{json.dumps(value, ensure_ascii=False, indent=1)}\n"


def to_markdown(value: Mapping[str, Any], level: str = "#") -> str:
    """Return the report as Markdown: a heading for each object, and a line for each innermost one."""
    text = ""
    for name, each in value.items():
        if not isinstance(each, dict):
            text += f"{each}\n"
        elif any(isinstance(inner, dict) for inner in each.values()):
            text += f"\n{level} {name}\n\n{to_markdown(each, level + '#')}"
        else:
            text += f"- `{name}`: {', '.join(f'{form} {count}' for form, count in each.items()) or 'none'}\n"
    return text
