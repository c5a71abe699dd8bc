"""The exit codes of all commands."""

from enum import IntEnum

from cyclopts import CycloptsError

from buddy_sessions import AuthenticationError, ConfigError, ForbiddenError


class ExitCode(IntEnum):
    """The exit code of a command."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    SOME_SUITES_FAILED = 3
    NOT_AUTHORISED = 4
    INTERRUPTED = 130


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code of a command that ends with this error."""
    if isinstance(error, CycloptsError | ConfigError):
        return ExitCode.WRONG_USAGE
    if isinstance(error, AuthenticationError | ForbiddenError):
        return ExitCode.NOT_AUTHORISED
    return ExitCode.FAILED
