"""The command `suites`: print the suites of one project."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from buddy_sessions import SuiteKey
from buddy_sessions._export.session_rows import suite_names

from ..options import Access, Printing
from ..render.result import Column, Item, Result, Section
from ..render.show import show
from ..render.styled import link, plain

_COLUMNS = (
    Column("SUITE", is_number=False),
    Column("NAME", is_number=False),
    Column("IDENTIFIER", is_number=False),
)
_VALUES = ("url", "html_url", "id", "identifier", "name")


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
    items = [
        Item(
            None,
            (plain(str(suite.key)), link(plain(suite.name), suite.html_url), plain(suite.identifier)),
            row={**suite_names(suite.key), **{name: getattr(suite, name) for name in _VALUES}},
        )
        for suite in suites
    ]
    fields = (*SuiteKey._fields, *_VALUES)
    show(
        Result(command="suites", columns=_COLUMNS, sections=[Section("", items)], fields=fields),
        output_format,
        messages,
    )
