"""The command `suites`: print the suites of one project."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from ..formats.tables import suite_table
from ..formats.writers import SUITE_COLUMNS, make_writer
from ..keys import KeyDefaults
from ..options import Connection, Printing, Verbosity
from ..output import Output


async def list_suites(
    project: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    printing: Printing = Printing(),
    verbosity: Verbosity = Verbosity(),
    defaults: KeyDefaults = KeyDefaults(),
    connection: Connection = Connection(),
) -> None:
    """Print the suites of a project.

    For example:

    - buddy-sessions suites acme/storefront
    - buddy-sessions suites https://app.buddy.works/acme/storefront --json

    Args:
        project: WORKSPACE/PROJECT, or the URL of a project. With -w, PROJECT is enough; with -w and -p, leave it out.
        printing: How data is printed.
        verbosity: What is printed to stderr.
        defaults: Completes the project.
        connection: How to reach Buddy.
    """
    output_format = printing.choose()
    workspace, name = defaults.parse_project(project)
    async with connection.open_client(verbosity.open(), keys=[project]) as buddy:
        suites = await buddy.suites(workspace, name)
    if output_format == "table":
        Output().print(suite_table(suites))
    else:
        rows = ({"key": str(suite.key), **{name: getattr(suite, name) for name in SUITE_COLUMNS}} for suite in suites)
        make_writer(output_format, sys.stdout, SUITE_COLUMNS).write(rows)
