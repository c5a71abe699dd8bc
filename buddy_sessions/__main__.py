"""The entry point of the command line. It reports a missing extra instead of a traceback."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run the command line with the arguments of the process, and return the exit code."""
    try:
        from .cli import run  # noqa: PLC0415 - the extra [cli] may not be installed
    except ModuleNotFoundError as error:
        if error.name not in {"cyclopts", "rich"}:
            raise
        sys.stderr.write(f"error: {error.name} is not installed; run: pip install 'buddy_sessions[cli]'\n")
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    code = run()
    try:
        sys.stdout.flush()
    except OSError:
        # The pipe is closed or the disk is full, which `run` has handled. Python flushes again at exit and would
        # report the error: discard the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Handle SIGTERM as SIGINT is handled, so that the command cleans up. asyncio then cancels the command."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # SIGINT is ignored, as in a job that a shell script runs in the background
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


if __name__ == "__main__":
    sys.exit(main())
