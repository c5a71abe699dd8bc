"""The command `doctor`: check whether Buddy's API is as this package expects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from buddy_sessions import __version__
from buddy_sessions._base.figures import format_count
from buddy_sessions._export import replace_file

from ..doctor.checks import Finding, examine
from ..doctor.probe import Probe, Record
from ..errors import ExitCode
from ..options import Access, TableFormat
from ..render.result import Column, CommandResult, Item, Section
from ..render.show import show
from ..render.text import one_line
from ..values import FILE, explain_errors

_COLUMNS = Column("", is_number=False), Column("CHECK", is_number=False), Column("FOUND", is_number=False, wraps=True)
_ABOUT = (
    "The shape of what buddy-sessions doctor has received. Only the words in unknown_fields and unknown_values are "
    "from outside: read them before you send this file. All others are words of this package."
)
_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red", "unchecked": "dim"}
_FIELDS = "check", "level", "found", "meaning", "advice"


async def command(
    target: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    report: Annotated[Path | None, FILE] = None,
    output_format: TableFormat = None,
    access: Access = Access(),
) -> ExitCode:
    """Check whether your account behaves as this package expects. Run this first: it sends at most 15 GET requests.

    Each check says what was found, what that means for this package, and what to do. The exit code is 1 if there is a
    problem. It waits at most 10 seconds for the rate limit, unless you pass --max-wait.

    For example:

    - buddy-sessions doctor
    - buddy-sessions doctor acme/storefront --report doctor.json

    Args:
        target: WORKSPACE/PROJECT/SUITE_ID or a URL, or WORKSPACE/PROJECT, or WORKSPACE. Without it, only the
            connection and the token are checked.
        report: JSON file for a report to attach to an issue. It describes the shape of the responses. Of your account,
            it quotes only field names and constants that this package does not know, at its top.
    """
    messages = access.messages()
    names = access.defaults.parse_target(target) if target or access.defaults.workspace else ()
    async with access.connection.open_client(messages, max_wait=10.0) as buddy:
        probe = Probe(buddy.api)
        await probe.run(names)
    findings = examine(probe.record)
    show(_result(findings, probe.count), output_format, messages)
    if report is not None:
        with explain_errors(report, replace_file(report)) as new:
            new.write_text(f"{to_json(make_report(probe.record, findings))}\n", encoding="utf-8")
        messages.print_note(f"Wrote {report}: before you send it, read its top, where words from outside are")
    return ExitCode.RED if any(each.level == "problem" for each in findings.values()) else ExitCode.DONE


def _result(findings: Mapping[str, Finding], requests: int) -> CommandResult:
    items: list[Item] = []
    for name, each in findings.items():
        mark, text = "-" if each.level == "unchecked" else each.level, Text(one_line(each.found))
        if each.level in ("note", "problem"):
            text.append(f"\n{one_line(each.meaning)}; {one_line(each.advice)}", "dim")
        row = {"check": name, **{field: getattr(each, field) for field in _FIELDS[1:]}}
        items.append(Item(None, (Text(mark, _STYLES[each.level]), name, text), row=row))
    problems = [name for name, each in findings.items() if each.level == "problem"]
    verdict = f"{format_count(len(problems), 'problem')}: {', '.join(problems)}" if problems else "no problem"
    return CommandResult(
        columns=_COLUMNS,
        sections=[Section("", items)],
        csv_columns=_FIELDS,
        title=f"{verdict}, {format_count(requests, 'request')}",
    )


def make_report(record: Record, findings: Mapping[str, Finding]) -> dict[str, Any]:
    """Return the report as JSON values. The words from outside are at its top."""
    return {
        "about": f"{_ABOUT} Version {__version__}, region {record.region or 'unknown'}.",
        "unknown_fields": record.shape.unknown_fields,
        "unknown_values": record.shape.unknown_values,
        "checks": {name: {each.level: each.public + " …" * bool(each.private)} for name, each in findings.items()},
        "requests": {
            each.purpose: {"status": each.status, "per_page": each.size, "rows": len(each.models)}
            for each in record.values()
        },
        "responses": record.shape.fields,
    }


def to_json(value: Any, indent: str = "") -> str:
    """Return the report as JSON, with one line for each innermost object."""
    if not isinstance(value, dict) or not any(isinstance(each, dict) for each in value.values()):
        return json.dumps(value, ensure_ascii=False)
    lines = [f"{indent} {json.dumps(name)}: {to_json(each, f'{indent} ')}" for name, each in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
