"""The exit codes of all commands, and the texts of their errors."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from enum import IntEnum

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from buddy_sessions import (
    AuthenticationError,
    BuddyError,
    ConfigError,
    ForbiddenError,
    NotFoundError,
    NoVerdictError,
    SuiteKey,
    WaitTimeoutError,
)

_ERRNO = re.compile(r"\[[Ee]rrno -?\d+\] ")
_ADVICE = {
    errno.ENOENT: "check the path",
    errno.EACCES: "check its permissions",
    errno.EROFS: "choose another folder",
    errno.ENOSPC: "free some space, and try again",
    errno.EADDRINUSE: "choose another --port, or 0 for a free one",
}
_OTHER_NAMES = {"--token": "set BUDDY_TOKEN", "--max-sessions": "list has --limit"}


class ExitCode(IntEnum):
    """The exit code of a command."""

    DONE = 0
    RED = 1  # only with --exit-code; or doctor has found a problem
    WRONG_USAGE = 2
    SOME_SUITES_FAILED = 3
    NOT_AUTHORISED = 4
    NO_VERDICT = 5
    NOT_FINISHED = 6
    FAILED = 7
    INTERRUPTED = 130


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code of a command that ends with this error."""
    if isinstance(error, CycloptsError | ConfigError):
        return ExitCode.WRONG_USAGE
    if isinstance(error, AuthenticationError | ForbiddenError):
        return ExitCode.NOT_AUTHORISED
    if isinstance(error, WaitTimeoutError) and error.__cause__ is None:  # otherwise, the last request failed
        return ExitCode.NOT_FINISHED
    return ExitCode.NO_VERDICT if isinstance(error, NoVerdictError) else ExitCode.FAILED


def many_suites_code(errors: Iterable[Exception], *, is_any_read: bool, is_red: bool = False) -> ExitCode:
    """Return the exit code of a command that reads many suites: 4, then 3 (or 7, if none was read), then 1."""
    codes = {exit_code_of(error) for error in errors}
    if ExitCode.NOT_AUTHORISED in codes:
        return ExitCode.NOT_AUTHORISED
    if codes:
        return ExitCode.SOME_SUITES_FAILED if is_any_read else ExitCode.FAILED
    return ExitCode.RED if is_red else ExitCode.DONE


def error_text(error: Exception) -> str:
    """Return the cause and what to do, without the URL of the request, which --verbose shows."""
    if isinstance(error, CycloptsError):
        return f"{_usage_text(error).removesuffix('.')} (see --help)"
    if isinstance(error, OSError) and not isinstance(error, BuddyError):
        return describe_os_error(error)
    return error.describe(_name_option) if isinstance(error, BuddyError) else str(error)


def _name_option(argument: str, value: str) -> str:
    """Return the option for an argument of the library. The name of a watch has none: its state is in the database."""
    names = {"name": "--db", "test": "TEST"}
    option = names.get(argument, f"--{argument.replace('_', '-')}")
    return f"{option} {value}".strip()


def _usage_text(error: CycloptsError) -> str:
    if isinstance(error, MissingArgumentError) and error.argument is not None and error.keyword is None:
        metavar = error.argument.parameter.metavar or ""
        return f"{error.argument.name} {metavar}".strip() + " is missing"
    if isinstance(error, UnusedCliTokensError):
        return f"too many arguments: leave out {' '.join(map(repr, error.unused_tokens or ()))}"
    if isinstance(error, CoercionError) and error.target_type is int and error.token is not None and error.msg is None:
        return f"{error.token.keyword or 'the value'} must be a whole number, not {error.token.value!r}"
    if isinstance(error, UnknownOptionError):
        option = (error.token.keyword or error.token.value).partition("=")[0]
        if option in _OTHER_NAMES:
            return f"Unknown option: {option}; {_OTHER_NAMES[option]}"  # without its value
    return str(error)


def describe_error(error: Exception) -> list[str]:
    """Return the text of an error that ends a command, with its suite, and below it what helps."""
    text, notes = error_text(error), [*getattr(error, "__notes__", ())]
    if isinstance(error, BuddyError) and "/unit-tests/suites/" in error.url:  # not the list of a project
        suite = SuiteKey.parse(error.url)
        text = f"{suite}: {text}"
        if isinstance(error, NotFoundError):
            notes.append(f"a suite is named by its ID: buddy-sessions status {suite.workspace} prints those of all")
    return [text, *notes]


def describe_os_error(error: OSError, file: object = None) -> str:
    """Return what failed, for which file, and what to do."""
    reason = _ERRNO.sub("", (error.strerror or str(error)).rpartition(": ")[2]).lower()
    name = error.filename if file is None else file
    if name is None and error.errno == errno.EBADF:
        return "stdout is closed: nothing can be printed"
    advice = _ADVICE.get(error.errno or 0)
    return (f"{str(name)!r}: " if name is not None else "") + reason + (f"; {advice}" if advice else "")
