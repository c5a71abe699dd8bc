"""The command `suites`: print the suites of one project."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from ..formats.tables import suite_table
from ..formats.writers import SUITE_COLUMNS, make_writer, suite_row
from ..options import Access, Printing
from ..output import Output


async def list_suites(
    project: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    printing: Printing = Printing(),
    access: Access = Access(),
) -> None:
    """Print the suites of a project.

    For example:

    - buddy-sessions suites acme/storefront
    - buddy-sessions suites https://app.buddy.works/acme/storefront --json

    Args:
        project: WORKSPACE/PROJECT, or the URL of a project. With -w and -p, leave it out.
    """
    output_format = printing.choose()
    workspace, name, *_ = access.defaults.parse_target(project)
    async with access.connection.open_client(access.verbosity.open(), keys=[project]) as buddy:
        suites = await buddy.suites(workspace, name)
    if output_format == "table":
        Output().print(suite_table(suites))
    else:
        make_writer(output_format, sys.stdout, SUITE_COLUMNS).write(map(suite_row, suites))
