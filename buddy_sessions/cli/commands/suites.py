"""The command `suites`: print the suites of one project."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from buddy_sessions import Suite

from ..options import Access, Printing
from ..render.result import Column, Item, Result, Section
from ..render.rows import SUITE_COLUMNS, suite_row
from ..render.show import show
from ..render.styled import link, plain

_COLUMNS = (
    Column("SUITE", is_number=False),
    Column("NAME", is_number=False),
    Column("IDENTIFIER", is_number=False),
)


async def list_suites(
    project: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    printing: Printing = Printing(),
    access: Access = Access(),
) -> None:
    """Print the suites of a project. For which of them are red, use status.

    For example:

    - buddy-sessions suites acme/storefront
    - buddy-sessions suites https://app.buddy.works/acme/storefront --json

    Args:
        project: WORKSPACE/PROJECT, or the URL of a project. With -w and -p, leave it out.
    """
    output_format, messages = printing.choose(), access.verbosity.open()
    workspace, name, *_ = access.defaults.parse_target(project)
    async with access.connection.open_client(messages) as buddy:
        suites = await buddy.suites(workspace, name)
    items = [Item(None, _cells(suite), row=suite_row(suite)) for suite in suites]
    result = Result(command="suites", columns=_COLUMNS, sections=[Section("", items)], fields=SUITE_COLUMNS)
    show(result, output_format, messages)


def _cells(suite: Suite) -> tuple[Text, ...]:
    """Return the key, the name and the identifier."""
    return plain(str(suite.key)), link(plain(suite.name), suite.html_url), plain(suite.identifier)
