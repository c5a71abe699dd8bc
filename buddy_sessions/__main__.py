"""The entry of the command line, which must also tell what to do where its extra is not installed."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line on the process's arguments, and return its exit code."""
    try:
        from .cli import run  # noqa: PLC0415 - what it needs may be missing
    except ModuleNotFoundError as error:
        if error.name not in ("cyclopts", "rich"):
            raise
        sys.stderr.write(f"{error.name} is not installed; run: pip install 'buddy_sessions[cli]'\n")
        return 2
    code = run()
    try:
        sys.stdout.flush()
    except OSError:
        # A closed pipe or a full disk, which `run` has dealt with. Python flushes once more on its way out, and would
        # complain: what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


if __name__ == "__main__":
    sys.exit(main())
