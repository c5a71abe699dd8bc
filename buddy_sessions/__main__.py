"""The entry point of the command line. It reports a missing extra instead of a traceback."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any


def main() -> int:
    """Run the command line with the arguments of the process, and return the exit code."""
    _replace_closed_streams()
    if sys.argv[1:2] == ["serve"] and not {"--help", "-h"} & {*sys.argv}:
        sys.stderr.write("Starting a fake Buddy ...\n")  # what follows takes a second, or more in a new environment
        sys.stderr.flush()
    try:
        from .cli import run  # noqa: PLC0415 - the extra [cli] may not be installed
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"error: {error.name} is not installed: run pip install '.[cli]' in the clone of buddy_sessions\n"
        )
        return 2
    _handle_sigterm()
    code = run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # The pipe is closed or the disk is full, which `run` has handled. Python flushes again at exit, and would
            # exit with another code: discard the rest.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _replace_closed_streams() -> None:
    """Let writing to a closed stdout fail, and discard what is written to a closed stderr.

    Otherwise the next file that is opened, such as a database, would get the descriptor of the closed stream.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115 - for the whole process
    if sys.stderr is None:
        sys.stderr = open(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")  # noqa: SIM115 - for the whole process


def _handle_sigterm() -> None:
    """Handle SIGTERM like SIGINT: asyncio cancels the command, so that it cleans up."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell script runs this as a job in the background. asyncio has a handler for SIGINT only if it is not
        # ignored: block it instead, which has the same effect.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_: int, frame: FrameType | None) -> None:
    handler: Any = signal.getsignal(signal.SIGINT)
    handler(signal.SIGINT, frame)


if __name__ == "__main__":
    sys.exit(main())
