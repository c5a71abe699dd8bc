"""What every other part uses. Imported first: Ctrl-C while the modules of the command are imported ends it quietly."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath
from types import TracebackType


def _exit_quietly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        os._exit(130)
    sys.__excepthook__(kind, error, trace)


_NAMES = [PurePath(name).stem for name in sys.argv[:1]]  # empty in a program that embeds Python
if _NAMES == ["buddy-sessions"] or sys.orig_argv[1:3] == ["-m", "buddy_sessions"]:
    sys.excepthook = _exit_quietly
