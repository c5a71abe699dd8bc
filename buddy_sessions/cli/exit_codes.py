"""The exit codes of all commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of a command."""

    DONE = 0
    FAILED = 1
    WRONG_USAGE = 2
    SOME_SUITES_FAILED = 3
    NOT_AUTHORISED = 4
    INTERRUPTED = 130
