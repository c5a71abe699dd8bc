"""All checks of `doctor`, by their names. Each is a pure function of what was received."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import account_checks, list_checks, row_checks
from .record import Finding, Record

_CHECKS: dict[str, Callable[[Record], Iterator[Finding]]] = {
    "connection": account_checks.check_connection,
    "token": account_checks.check_token,
    "region": account_checks.check_region,
    "api": account_checks.check_api,
    "clock": account_checks.check_clock,
    "suites": account_checks.check_suites,
    "page-size": list_checks.check_page_size,
    "order": list_checks.check_order,
    "paging": list_checks.check_paging,
    "branch": list_checks.check_branch,
    "end": list_checks.check_end,
    "rate-limit": account_checks.check_rate_limit,
    "fields": row_checks.check_fields,
    "values": row_checks.check_values,
    "dates": row_checks.check_dates,
    "case-ids": row_checks.check_case_ids,
    "data": row_checks.check_data,
    "latency": account_checks.check_latency,
}
_SEVERITY = {"problem": 2, "note": 1}


def examine(record: Record) -> dict[str, Finding]:
    """Return what each check has found: its worst finding, or the first of equally bad ones."""
    return {name: max(check(record), key=lambda each: _SEVERITY.get(each.level, 0)) for name, check in _CHECKS.items()}
