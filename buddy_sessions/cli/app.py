"""The app with all commands: run one, print its error, and return its exit code.

Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise

from cyclopts import App, CycloptsError, Group, Parameter

from buddy_sessions import BuddyError, ConfigError, __version__

from .errors import ExitCode, describe_error, exit_code_of
from .render.console import DEFAULT_WIDTH, Output
from .render.text import one_line

_GROUPS = {
    "A new account": ("doctor",),
    "Questions": ("status", "list", "failures", "cases", "history", "compare", "flaky", "slowest"),
    "A CI job": ("gate", "wait"),
    "A database": ("database.sync", "database.export", "database.prune", "database.info", "report"),
    "Files, bots, agents": ("harvest", "watch", "mcp"),
    "Without an account": ("fake_buddy.serve", "fake_buddy.demo"),
}
"""The commands in the order of --help: a function of a module, or `command` of the module with its name."""

_USAGE = {
    "doctor": "[OPTIONS] [TARGET]",
    "compare": "[OPTIONS] SUITE [[OLD] NEW]",
    **dict.fromkeys(("gate", "failures", "cases"), "[OPTIONS] SUITE [SESSION]"),
    **dict.fromkeys(("status", "harvest", "watch"), "[OPTIONS] [SUITE...]"),
    **dict.fromkeys(("sync", "export", "report"), "--db FILE [OPTIONS] [SUITE...]"),
}
"""The usage of commands with optional arguments: cyclopts would not name these."""

app = App(
    name="buddy-sessions",
    version=f"buddy-sessions {__version__}",
    version_flags=("--version", "-V"),
    help_format="markdown",
    default_parameter=Parameter(negative=()),
    group_commands=Group("Options", sort_key=len(_GROUPS)),
    suppress_keyboard_interrupt=False,
    help="""Read the unit-test sessions of your Buddy suites.

Set BUDDY_TOKEN to a personal access token with the scope UNIT_TEST_READ. No account yet? Try "buddy-sessions demo".

For example:

- buddy-sessions status acme/storefront
- buddy-sessions list https://app.buddy.works/acme/storefront/unit-tests/MNbyVedg
- buddy-sessions sync acme/storefront --db sessions.db

Exit codes: 0 passes or done, 1 fails, 2 wrong usage, 3 some suites could not be read, 4 not authorised, 5 no verdict, 6
not finished in time, 7 any other error, 130 interrupted. Without --exit-code, only gate and doctor exit with 1.""",
)
for _order, (_title, _names) in enumerate(_GROUPS.items()):
    _group = Group(_title, sort_key=_order)
    for _position, _place in enumerate(_names):
        _module, _, _name = _place.rpartition(".")
        app.command(
            getattr(import_module(f".commands.{_module or _name}", __package__), _name if _module else "command"),
            name=_name,
            group=_group,
            sort_key=_position,
            usage=f"Usage: buddy-sessions {_name} {_USAGE[_name]}" if _name in _USAGE else None,
        )


app.register_install_completion_command(
    add_to_startup=False, help="Write a script with which your shell completes commands and options."
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with `arguments` (default: those of the process), and return its exit code."""
    tokens = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _check_values(tokens)
        # Help in a pipe, such as to a pager, is as wide as the terminal of stderr.
        console = Output(file_width=Output(stderr=True, file_width=DEFAULT_WIDTH).width)
        exit_code = app(tokens, console=console, exit_on_error=False, print_error=False, result_action="return_value")
    except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
        return ExitCode.DONE
    except (CycloptsError, BuddyError, OSError) as error:
        messages, (text, *notes) = Output(stderr=True), describe_error(error)
        messages.print_problem("error", text)
        for note in notes:
            messages.print_message(one_line(note))
        return exit_code_of(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return exit_code if isinstance(exit_code, ExitCode) else ExitCode.DONE


def _check_values(tokens: Sequence[str]) -> None:
    """Raise ConfigError for an empty argument or value: an empty path would be this folder, and no URL another run."""
    for before, token in pairwise(["", *tokens]):
        if not token or re.fullmatch("--[^=]+=", token):
            name = (token or before).partition("=")[0]
            what = name if name.startswith("-") else "an argument"
            raise ConfigError(f"{what} is empty: is a variable not set, or its name misspelt?")
