"""The app with all commands: run one, print its error, and return its exit code.

Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from buddy_sessions import BuddyError, __version__

from .compare import compare_sessions
from .demo import demo
from .exit_codes import ExitCode, exit_code_of
from .failures import list_failures
from .flaky import list_flaky_tests
from .harvest import harvest_suites
from .list import list_sessions
from .output import Output
from .report import report
from .serve import serve
from .slowest import list_slowest_tests
from .suites import list_suites
from .sync import sync_suites
from .watch import watch_suites

app = App(
    name="buddy-sessions",
    version=f"buddy-sessions {__version__}",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    help="""Read the unit-test sessions of your Buddy suites.

Set BUDDY_TOKEN to a personal access token with the scope UNIT_TEST_INFO. No account yet? Try "buddy-sessions demo".

Exit codes: 0 done (also if a pipe was closed), 1 failed, 2 wrong usage, 3 some suites failed, 4 not authorised, \
130 interrupted.""",
)
app.command(list_sessions, name="list")
app.command(list_suites, name="suites")
app.command(list_failures, name="failures")
app.command(list_flaky_tests, name="flaky")
app.command(list_slowest_tests, name="slowest")
app.command(compare_sessions, name="compare")
app.command(harvest_suites, name="harvest")
app.command(sync_suites, name="sync")
app.command(watch_suites, name="watch")
app.command(report)
app.command(serve)
app.command(demo)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line with `arguments` (default: those of the process), and return its exit code."""
    tokens = sys.argv[1:] if arguments is None else list(arguments)
    try:
        exit_code = app(tokens, console=Output(), exit_on_error=False, print_error=False, result_action="return_value")
    except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
        return ExitCode.DONE
    except (CycloptsError, BuddyError, OSError) as error:
        _print_error(error)
        return exit_code_of(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return exit_code if isinstance(exit_code, ExitCode) else ExitCode.DONE


def _print_error(error: Exception) -> None:
    messages = Output(stderr=True)
    hint = " (see --help)" if isinstance(error, CycloptsError) else ""
    messages.print_problem("error", f"{error}{hint}")
    if isinstance(error, BuddyError) and error.cursor:
        messages.print_resume_hint(error.cursor)
