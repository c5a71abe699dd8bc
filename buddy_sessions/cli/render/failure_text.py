"""What a failure says, as text for people: without colours, escaped, and cut in the middle if it is long."""

from __future__ import annotations

import re

from buddy_sessions import Failure
from buddy_sessions.analysis.failure_text import without_library_frames
from buddy_sessions.analysis.judgement import Cause

from .text import escape, one_line

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def message_of(failure: Failure) -> str:
    """Return the message of a failure after its type, unless the message begins with it."""
    message = failure.message or ""
    is_typed = failure.type is not None and message.startswith(failure.type)
    return ": ".join(filter(None, ("" if is_typed else failure.type, message)))


def trace_of(failure: Failure, *, limit: int) -> str:
    """Return the message, unless the stack trace contains it, and the stack trace without the frames of libraries.

    Of more than `limit` characters, both ends remain, and how many were left out.
    """
    message, text = message_of(failure), without_library_frames(failure.text or "")
    parts = [part for part in ("" if (failure.message or message) in text else message, text) if part.strip()]
    lines = [line for part in parts for line in _COLOUR.sub("", part).splitlines()]
    trace = "\n".join(escape(line.expandtabs().rstrip()) for line in lines)
    if len(trace) <= limit:
        return trace
    half = limit // 2
    return f"{trace[:half]}\n… {len(trace) - 2 * half:,} characters left out …\n{trace[-half:]}"


def cause_text(cause: Cause) -> str:
    """Return the type and the message that failures have in common, on one line."""
    is_unknown = all(test.case.failure is None for test in cause.tests)
    text = ": ".join(filter(None, (cause.type, one_line(cause.template))))
    return text or ("messages that were not read" if is_unknown else "no message")
