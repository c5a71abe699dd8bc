"""All checks of `doctor`, by their names. Each is a pure function of what was received."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .account_checks import (
    check_api,
    check_clock,
    check_connection,
    check_latency,
    check_rate_limit,
    check_region,
    check_suites,
    check_token,
)
from .list_checks import check_branch, check_end, check_order, check_page_size, check_paging
from .record import Finding, Record
from .row_checks import check_case_ids, check_data, check_dates, check_fields, check_values

_CHECKS: dict[str, Callable[[Record], Iterator[Finding]]] = {
    "connection": check_connection,
    "token": check_token,
    "region": check_region,
    "api": check_api,
    "clock": check_clock,
    "suites": check_suites,
    "page-size": check_page_size,
    "order": check_order,
    "paging": check_paging,
    "branch": check_branch,
    "end": check_end,
    "rate-limit": check_rate_limit,
    "fields": check_fields,
    "values": check_values,
    "dates": check_dates,
    "case-ids": check_case_ids,
    "data": check_data,
    "latency": check_latency,
}
_SEVERITY = {"problem": 2, "note": 1}


def examine(record: Record) -> dict[str, Finding]:
    """Return what each check has found: its worst finding, or the first of equally bad ones."""
    return {name: max(check(record), key=lambda each: _SEVERITY.get(each.level, 0)) for name, check in _CHECKS.items()}
