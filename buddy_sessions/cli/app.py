"""The command line: reads the arguments, lets a command do the work, and turns what happens into an exit code.

Data goes to stdout, everything else to stderr. Only what the package exports is used here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from buddy_sessions import AuthenticationError, BuddyError, ConfigError, ForbiddenError, __version__

from . import demo, harvesting, listing, reporting, watching
from .options import DONE, FAILED, INTERRUPTED, NOT_AUTHORISED, USAGE
from .output import Output, one_line, resume

app = App(
    name="buddy-sessions",
    version=f"buddy-sessions {__version__}",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
    help="""Read the unit-test sessions of your Buddy.works suites.

The token comes from BUDDY_TOKEN, never from an argument: a personal access token with the \
scope UNIT_TEST_INFO. No account yet? Try "buddy-sessions demo".

Exit codes: 0 done (also when a closed pipe ends it), 1 failed, 2 wrong usage, \
3 some suites failed, 4 not authorised, 130 interrupted.""",
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code.

    Args:
        arguments: The arguments; those of the process if left out.
    """
    tokens = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(tokens, console=Output(), exit_on_error=False, print_error=False, result_action="return_value")
    except BrokenPipeError:  # nobody reads any more, as with `| head`
        return DONE
    except (CycloptsError, BuddyError, OSError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code if isinstance(code, int) else DONE


def _fail(error: Exception) -> int:
    """Say on stderr what went wrong, and return the exit code for it."""
    code, hint = FAILED, ""
    if isinstance(error, CycloptsError):
        code, hint = USAGE, " (see --help)"
    elif isinstance(error, ConfigError):
        code = USAGE
    elif isinstance(error, AuthenticationError | ForbiddenError):
        code = NOT_AUTHORISED
    messages = Output(stderr=True)
    messages.say(("error", "bold red"), f": {one_line(str(error))}{hint}")
    cursor = getattr(error, "cursor", None)
    if cursor:
        messages.say(*resume(cursor))
    return code


app.command(listing.list_sessions, name="list")
app.command(listing.list_suites, name="suites")
app.command(harvesting.harvest_suites, name="harvest")
app.command(watching.watch_suites, name="watch")
app.command(reporting.report)
app.command(demo.serve)
app.command(demo.demo)
