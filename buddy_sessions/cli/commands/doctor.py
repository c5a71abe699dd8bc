"""The command `doctor`: check whether Buddy's API is as this package expects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.text import Text

from buddy_sessions import BuddyClient, ConfigError, Region, SuiteKey
from buddy_sessions._base.figures import format_count
from buddy_sessions._base.regions import API_HOSTS
from buddy_sessions._base.validate import validate_names
from buddy_sessions._export.session_files import replace_file

from ..doctor.checks import examine
from ..doctor.probe import MAX_REQUESTS, Probe, send
from ..doctor.record import Exchange, Finding, Record
from ..doctor.report import make_report, read_report
from ..errors import ExitCode, describe_os_error
from ..input.paths import explain_errors
from ..options import Access, Flag
from ..render.console import Output
from ..render.result import Column, Item, Result, Section
from ..render.rows import choose_format
from ..render.show import show
from ..render.text import one_line

_COLUMNS = Column("", is_number=False), Column("CHECK", is_number=False), Column("FOUND", is_number=False, wraps=True)
_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red", "unchecked": "dim"}
_FIELDS = "check", "level", "found", "meaning", "advice"


async def doctor(
    target: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    report: Path | None = None,
    replay: Path | None = None,
    try_regions: Flag = False,
    format: Literal["table", "jsonl"] | None = None,  # noqa: A002 - the name of the option
    access: Access = Access(),
) -> ExitCode:
    """Check whether Buddy's API is as this package expects. Run this first; it only reads, with at most 15 requests.

    Each check says what was found, what that means for this package, and what to do. The exit code is 1 if there is a
    problem.

    For example:

    - buddy-sessions doctor
    - buddy-sessions doctor acme/storefront --report doctor.json.gz
    - buddy-sessions doctor --replay doctor.json.gz

    Args:
        target: WORKSPACE/PROJECT/SUITE_ID or a URL, or WORKSPACE/PROJECT, or WORKSPACE. Without it, only the
            connection and the token are checked.
        report: File to write what was received, to attach it to an issue. It has no name, id, URL or text of your
            account: only their form.
        replay: Check the responses in a report, without a request.
        try_regions: If the token is rejected, try it in the other regions. The token is sent to each of them.
        format: Output format (default: table on a terminal, otherwise jsonl).
    """
    output_format, messages = choose_format(format, json=False), access.verbosity.open()
    if replay is not None:
        if target or report is not None:
            raise ConfigError("--replay reads a report: leave out the suite and --report")
        exchanges = _read(replay)
    else:
        names = access.defaults.parse_group(target) if target or access.defaults.workspace else ()
        validate_names(SuiteKey(*names, *["any"] * (3 - len(names))))
        if report is not None:
            with explain_errors(report, replace_file(report)):
                pass  # it can be written, which is checked before the first request
        exchanges = await _probe(names, access, messages, try_regions=try_regions)
    findings = examine(Record(exchanges))
    show(_result(findings, exchanges), output_format, messages)
    if report is not None:
        content = make_report(exchanges)
        with explain_errors(report, replace_file(report)) as new:
            new.write_bytes(content)
        messages.print_written(report, f"{len(content) / 1000:,.0f} kB", "look into it before you send it: zless")
    return ExitCode.RED if any(each.level == "problem" for each in findings.values()) else ExitCode.DONE


async def _probe(names: Sequence[str], access: Access, messages: Output, *, try_regions: bool) -> list[Exchange]:
    """Send the requests, and return them with their responses."""
    async with access.connection.open_client(messages, max_wait=10.0) as buddy:
        region = next((str(region) for region, host in API_HOSTS.items() if host == buddy.api.host), "")
        probe = Probe(buddy.api)
        await probe.run(names)
    if try_regions and region and probe.record.status("token") == 401:
        for other in Region:
            if other != region and len(probe.record.exchanges) < MAX_REQUESTS:
                async with BuddyClient.from_env(region=other, trust_env=True) as buddy:
                    probe.record.add(await send(buddy.api, f"region-{other}", ("user", "token"), {}))
    return probe.record.exchanges


def _read(path: Path) -> list[Exchange]:
    """Return the exchanges in a report. Raises ConfigError if it is none."""
    try:
        return read_report(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {describe_os_error(error, path)}") from error
    except ValueError:
        raise ConfigError(f"{str(path)!r} is no report of doctor: create one with --report FILE") from None


def _result(findings: dict[str, Finding], exchanges: Sequence[Exchange]) -> Result:
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
        title=f"{verdict}, {format_count(len(exchanges), 'request')}",
        is_red=bool(problems),
    )


def _cells(name: str, finding: Finding) -> tuple[Text | str, ...]:
    """Return the level and the name of a check, what it has found, and what this means unless all is well."""
    mark = "-" if finding.level == "unchecked" else finding.level
    found = Text(one_line(finding.found))
    if finding.level in ("note", "problem"):
        found.append("\n" + one_line("; ".join(filter(None, [finding.meaning, finding.advice]))), "dim")
    return Text(mark, _STYLES[finding.level]), name, found
