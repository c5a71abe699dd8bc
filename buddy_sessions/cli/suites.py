"""The command `suites`: print the suites of one project."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from buddy_sessions import to_dict

from .options import Connection, KeyDefaults
from .output import Output
from .tables import suite_table
from .writers import SUITE_COLUMNS, Format, choose_format, make_writer


async def list_suites(
    project: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    format: Format | None = None,  # noqa: A002 - the name of the option
    defaults: KeyDefaults = KeyDefaults(),
    connection: Connection = Connection(),
) -> None:
    """Print the suites of a project.

    Args:
        project: WORKSPACE/PROJECT, or a part of it that -w and -p complete.
        format: Output format (default: table on a terminal, otherwise jsonl). In csv, a text that a spreadsheet would
            take for a formula is preceded by '.
        defaults: Completes the project.
        connection: How to reach Buddy.
    """
    workspace, name = defaults.parse_project(project)
    async with connection.open_client(Output(stderr=True)) as buddy:
        suites = await buddy.suites(workspace, name)
    output_format = choose_format(format)
    if output_format == "table":
        Output().print(suite_table(suites))
    else:
        rows = ({name: row[name] for name in SUITE_COLUMNS} for row in map(to_dict, suites))
        make_writer(output_format, sys.stdout, SUITE_COLUMNS).write(rows)
