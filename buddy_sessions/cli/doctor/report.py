"""The report of `doctor`: the shape of what was received, as a page that a person can read before sending it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from buddy_sessions import __version__

from .findings import Finding
from .probe import Record

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
