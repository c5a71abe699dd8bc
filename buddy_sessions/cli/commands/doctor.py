"""The command `doctor`: check whether Buddy's API is as this package expects."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from buddy_sessions import ConfigError, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._base.validate import validate_names
from buddy_sessions._export.session_files import replace_file

from ..doctor.checks import examine
from ..doctor.findings import Finding
from ..doctor.probe import Probe
from ..doctor.report import make_report, to_json, to_markdown
from ..errors import ExitCode
from ..input.paths import FILE, explain_errors
from ..options import FORMAT, Access
from ..render.result import Column, Item, Result, Section
from ..render.rows import choose_format
from ..render.show import show
from ..render.text import one_line

_COLUMNS = Column("", is_number=False), Column("CHECK", is_number=False), Column("FOUND", is_number=False, wraps=True)
_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red", "unchecked": "dim"}
_FIELDS = "check", "level", "found", "meaning", "advice"
_WRITERS = {".json": to_json, ".md": to_markdown}


async def doctor(
    target: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    report: Annotated[Path | None, FILE] = None,
    format: Annotated[Literal["table", "jsonl"] | None, FORMAT] = None,  # noqa: A002 - the name of the option
    access: Access = Access(),
) -> ExitCode:
    """Check whether your account behaves as this package expects. Run this first: it sends at most 15 GET requests.

    Each check says what was found, what that means for this package, and what to do. The exit code is 1 if there is a
    problem.

    For example:

    - buddy-sessions doctor
    - buddy-sessions doctor acme/storefront --report doctor.md

    Args:
        target: WORKSPACE/PROJECT/SUITE_ID or a URL, or WORKSPACE/PROJECT, or WORKSPACE. Without it, only the
            connection and the token are checked.
        report: File to write the shape of the responses to, .json or .md, to attach it to an issue. Of your account,
            it quotes only names of fields and constants that this package does not know, at its top.
        format: Output format (default: table on a terminal, otherwise jsonl).
    """
    output_format, messages = choose_format(format, json=False), access.verbosity.open()
    names = access.defaults.parse_group(target) if target or access.defaults.workspace else ()
    validate_names(SuiteKey(*names, *["any"] * (3 - len(names))))
    if report is not None:
        if report.suffix not in _WRITERS:
            raise ConfigError(f"--report {report.name} is no file of a known format: end its name in .json or .md")
        with explain_errors(report, replace_file(report)):
            pass  # it can be written, which is checked before the first request
    async with access.connection.open_client(messages, max_wait=10.0) as buddy:
        probe = Probe(buddy.api)
        await probe.run(names)
    findings = examine(probe.record)
    show(_result(findings, probe.count), output_format, messages)
    if report is not None:
        with explain_errors(report, replace_file(report)) as new:
            new.write_text(_WRITERS[report.suffix](make_report(probe.record, findings)), encoding="utf-8")
        look = f"Before you send it, look at it with: less {shlex.quote(str(report))}"
        messages.print_note(f"Wrote {report}, in which only the words at its top are from outside. {look}")
    return ExitCode.RED if any(each.level == "problem" for each in findings.values()) else ExitCode.DONE


def _result(findings: Mapping[str, Finding], requests: int) -> Result:
    """Return the checks as a table, and a row for each."""
    items = [
        Item(None, _cells(name, each), row={"check": name, **{field: getattr(each, field) for field in _FIELDS[1:]}})
        for name, each in findings.items()
    ]
    problems = [name for name, each in findings.items() if each.level == "problem"]
    verdict = f"{format_count(len(problems), 'problem')}: {', '.join(problems)}" if problems else "no problem"
    return Result(
        command="doctor",
        columns=_COLUMNS,
        sections=[Section("", items)],
        fields=_FIELDS,
        title=f"{verdict}, {format_count(requests, 'request')}",
        is_red=bool(problems),
    )


def _cells(name: str, finding: Finding) -> tuple[Text | str, ...]:
    """Return the level and the name of a check, what it has found, and what this means unless all is well."""
    mark = "-" if finding.level == "unchecked" else finding.level
    found = Text(one_line(finding.found))
    if finding.level in ("note", "problem"):
        found.append(f"\n{one_line(finding.meaning)}; {one_line(finding.advice)}", "dim")
    return Text(mark, _STYLES[finding.level]), name, found
