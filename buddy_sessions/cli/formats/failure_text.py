"""What a failure says, as text for people: without colours, escaped, and cut in the middle if it is long."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buddy_sessions import Failure

from ..judgement import Cause
from .formatting import escape, one_line

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def message_of(failure: Failure) -> str:
    """Return the message of a failure after its type, unless the message begins with it."""
    message = failure.message or ""
    is_typed = failure.type is not None and message.startswith(failure.type)
    return ": ".join(filter(None, ("" if is_typed else failure.type, message)))


def printable_lines(text: str) -> Iterator[str]:
    """Yield the lines of a message or a stack trace, escaped."""
    for line in _COLOUR.sub("", text).splitlines():
        yield escape(line.expandtabs().rstrip())


def trace_of(failure: Failure, *, limit: int) -> str:
    """Return the message, unless the stack trace contains it, and the stack trace: at most about `limit` characters."""
    message, text = message_of(failure), failure.text or ""
    parts = [part for part in ("" if (failure.message or message) in text else message, text) if part.strip()]
    return cut_middle("\n".join(line for part in parts for line in printable_lines(part)), limit)


def cut_middle(text: str, limit: int) -> str:
    """Return both ends of a text that has more than `limit` characters, and how many are left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def cause_text(cause: Cause) -> str:
    """Return the type and the message that failures have in common, on one line."""
    is_unknown = all(test.case.failure is None for test in cause.tests)
    text = ": ".join(filter(None, (cause.type, one_line(cause.template))))
    return text or ("messages that were not read" if is_unknown else "no message")
