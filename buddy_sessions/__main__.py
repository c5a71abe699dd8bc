"""The entry point of the command line. It reports a missing extra instead of a traceback."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line with the arguments of the process, and return the exit code."""
    try:
        from .cli import run  # noqa: PLC0415 - the extra [cli] may not be installed
    except ModuleNotFoundError as error:
        if error.name not in {"cyclopts", "rich"}:
            raise
        sys.stderr.write(f"error: {error.name} is not installed; run: pip install 'buddy_sessions[cli]'\n")
        return 2
    code = run()
    try:
        sys.stdout.flush()
    except OSError:
        # The pipe is closed or the disk is full, which `run` has handled. Python flushes again at exit and would
        # report the error: discard the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
