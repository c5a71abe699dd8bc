"""The command `doctor`: check whether Buddy's API is as this package expects."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.text import Text

from buddy_sessions import ConfigError, __version__
from buddy_sessions._base.figures import format_count
from buddy_sessions._export.session_files import replace_file

from ..doctor.checks import Finding, examine
from ..doctor.probe import Probe, Record
from ..errors import ExitCode
from ..input.paths import FILE, explain_errors
from ..options import FORMAT, Access
from ..render.result import Column, Item, Result, Section
from ..render.show import show
from ..render.text import one_line

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
    format: Annotated[Literal["table", "jsonl"] | None, FORMAT] = None,  # noqa: A002 - the name of the option
    access: Access = Access(),
) -> ExitCode:
    """Check whether your account behaves as this package expects. Run this first: it sends at most 15 GET requests.

    Each check says what was found, what that means for this package, and what to do. The exit code is 1 if there is a
    problem. It waits at most 10 seconds for the rate limit, unless you pass --max-wait.

    For example:

    - buddy-sessions doctor
    - buddy-sessions doctor acme/storefront --report doctor.md

    Args:
        target: WORKSPACE/PROJECT/SUITE_ID or a URL, or WORKSPACE/PROJECT, or WORKSPACE. Without it, only the
            connection and the token are checked.
        report: File for a report to attach to an issue, .json or .md. It describes the shape of the responses. Of your
            account, it quotes only field names and constants that this package does not know, at its top.
        format: Output format (default: table on a terminal, otherwise jsonl).
    """
    messages = access.messages()
    names = access.defaults.parse_group(target) if target or access.defaults.workspace else ()
    if report is not None:
        if report.suffix not in _WRITERS:
            raise ConfigError(f"--report {report.name} is no file of a known format: end its name in .json or .md")
        with explain_errors(report, replace_file(report)):
            pass  # it can be written, which is checked before the first request
    async with access.connection.open_client(messages, max_wait=10.0) as buddy:
        probe = Probe(buddy.api)
        await probe.run(names)
    findings = examine(probe.record)
    show(_result(findings, probe.count), format, messages)
    if report is not None:
        with explain_errors(report, replace_file(report)) as new:
            new.write_text(_WRITERS[report.suffix](make_report(probe.record, findings)), encoding="utf-8")
        look = f"Before you send it, look at it with: less {shlex.quote(str(report))}"
        messages.print_note(f"Wrote {report}, in which only the words at its top are from outside. {look}")
    return ExitCode.RED if any(each.level == "problem" for each in findings.values()) else ExitCode.DONE


def _result(findings: Mapping[str, Finding], requests: int) -> Result:
    items: list[Item] = []
    for name, each in findings.items():
        mark, found = "-" if each.level == "unchecked" else each.level, Text(one_line(each.found))
        if each.level in ("note", "problem"):
            found.append(f"\n{one_line(each.meaning)}; {one_line(each.advice)}", "dim")
        row = {"check": name, **{field: getattr(each, field) for field in _FIELDS[1:]}}
        items.append(Item(None, (Text(mark, _STYLES[each.level]), name, found), row=row))
    problems = [name for name, each in findings.items() if each.level == "problem"]
    verdict = f"{format_count(len(problems), 'problem')}: {', '.join(problems)}" if problems else "no problem"
    return Result(
        columns=_COLUMNS,
        sections=[Section("", items)],
        fields=_FIELDS,
        title=f"{verdict}, {format_count(requests, 'request')}",
        is_red=bool(problems),
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


_WRITERS = {".json": to_json, ".md": to_markdown}
