"""Reads what a failure says: the type of the exception, its message, and the place in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .._decoding.failures import split_type
from ..models import Failure

_MAX_LENGTH = 4000  # characters that are read at each end of a message or text
_MAX_CAUSES = 100_000  # characters at the end of a text that are searched for the causes of Java's exceptions
_COLOUR = re.compile(r"\x1b\[[0-9;?]*+[A-Za-z]|\[(?:[0-9]{1,2};)*+[0-9]{1,2}m")  # some reporters remove the ESC

_GENERIC_TYPES = {"Error", "Exception", "FAILURE", "Failed", "Failure", "RuntimeError", "RuntimeException"}

_PREFIX = re.compile(r"failed on (?:setup|teardown) with \"|[\w./-]+\.go:\d++: ?|panic: |thrown: \"?")
"""What tools write before a message."""

_NOISE = re.compile(
    r"""(?x)
      \W*$|===|---                                               # separators
    | (?:Error\ Trace|Test|Call\ log|Hint):                      # headings
    | (?:Failed|panic|collection\ failure|Test\ failed)$
    | (?:ImportError\ while\ importing\ test\ module|Failed\ to\ load\ ApplicationContext|Traceback)\b
    | [\w./-]+\.\w+:\d+:\d+\ \S|[\w\\]+::\w+(?:\ with\ data\ set\ .*)?$   # titles: Playwright, PHPUnit
    | thread\ '[^']*'\ (?:\(\d+\)\ )?panicked\ at\ \S+:\d+:\d+:?$
    """
)
"""Lines that do not say what is wrong."""

_VALUES = re.compile(
    r"""(?x)
      (?i:expected|received|actual|but\ was|left|right|got|want)[\w ]{0,20}:    # the values of an assertion
    | [-+?@"'\[{(<]                                                             # a diff
    """
)
"""Lines that do not say it either, unless the type of an exception precedes them."""

_STACK = re.compile(r"at \S|Caused by: ")
"""The first line of a stack trace."""

_CAUSE = re.compile(r"^Caused by: (.+)$", re.MULTILINE)
_SUBJECT = re.compile(r"^ *(?:Locator: +|- waiting for )(.+)$", re.MULTILINE)  # of Playwright
_FRAME = re.compile(
    r"(?<![\w.@+-])((?:[\w.@+-]++[/\\])?[\w.@+-]+\.(?:py|[cm]?[jt]sx?|java|kt|go|rs|cs|fs|php|rb|scala))"
    r'(?:", line |:line |:)(\d{1,9})'
)
_FRAME_START = re.compile(r'\s+(at) \S|\s+File "|\S+\.py:\d+: in ')
"""The first line of a frame: of JavaScript and Java, of Python, of pytest."""
_LIBRARY = re.compile(
    r"site-packages|dist-packages|/lib/python|/usr/lib|node_modules|[( ]node:|\(<anonymous>\)$"
    r"|/usr/local/go/|/pkg/mod/|/rustc/|\.cargo/|/vendor/"
    r"|at (?:\S+//?)?(?:java|jdk|sun|kotlin|scala|junit"
    r"|org\.(?:junit|opentest4j|assertj|hamcrest|mockito|springframework))\."
)


def read_message(failure: Failure) -> tuple[str | None, str]:
    """Return the type of the exception, without its package, and its message on one line."""
    kind, parts = _short_type(failure.type), []
    for found, line in _lines(failure):
        kind = found or kind
        if line:
            parts.append(line)
            if not line.endswith(":"):  # "Received unexpected error:" announces the next line
                break
    subject = _SUBJECT.search(_clean(failure.text))
    return kind, " ".join([*parts, subject[1]] if subject else parts)


def place_of(failure: Failure) -> str | None:
    """Return the innermost line of code that is not a library's, such as `tests/test_cart.py:42`; None if unknown."""
    frame = _own_frame(failure)
    return None if frame is None else f"{frame[1]}:{frame[2]}".replace("\\", "/")


def find_place(failure: Failure) -> tuple[str, str] | None:
    """Return the whole path of that line, as the trace has it, and its number; None if unknown."""
    frame = _own_frame(failure)
    return None if frame is None else (_whole_path(frame), frame[2])


def _own_frame(failure: Failure) -> re.Match[str] | None:
    lines = [line for line in _clean(failure.text).splitlines() if not _LIBRARY.search(line)]
    found = [frame for frame in map(_FRAME.search, lines) if frame]
    # Playwright also writes "at a.ts:1".
    frames = [frame for frame in found if {"/", "\\"}.intersection(_whole_path(frame))] or found
    if not frames:
        return None
    return frames[-1] if frames[0][1].endswith(".py") else frames[0]  # Python alone writes the innermost frame last


def _whole_path(frame: re.Match[str]) -> str:
    start = 1 + max(frame.string.rfind(character, 0, frame.start(1)) for character in " \t(\"'")
    return frame.string[start : frame.end(1)]


def without_library_frames(text: str) -> str:
    """Return a stack trace without the frames of libraries, of Node.js and of Python itself."""
    kept: list[str] = []
    is_python = is_library = False
    for line in text.splitlines():
        if frame := _FRAME_START.match(line):
            is_python, is_library = frame[1] is None, _LIBRARY.search(line) is not None
        elif not (is_python and line.startswith("    ")):  # a line of code follows a frame of Python
            is_library = False
        if not is_library:
            kept.append(line)
    return "\n".join(kept)


def _lines(failure: Failure) -> list[tuple[str | None, str]]:
    """Return the types and lines that may say what is wrong: of the message, else of the text or the root cause."""
    found: list[tuple[str | None, str]] = []
    for lines in (_clean(failure.message).splitlines(), _without_stack(failure), _root_cause(failure)):
        found = list(filter(any, map(_split_type, lines))) or found
        if any(line for _, line in found):
            break
    return found


def _without_stack(failure: Failure) -> Iterator[str]:
    """Yield the lines before the stack trace, or those after it: Python and pytest write the error there."""
    lines = _clean(failure.text).splitlines()
    if errors := [line[1:] for line in lines if line.startswith("E  ")]:
        yield from errors
        return
    ends = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    for line in lines[ends[-1] + 1 :] if ends else lines:
        if _STACK.match(line.strip()):
            return
        if not (ends and line.startswith(" ")):
            yield line


def _root_cause(failure: Failure) -> Iterator[str]:
    """Yield the last cause of Java's exception."""
    yield from _CAUSE.findall(_COLOUR.sub("", (failure.text or "")[-_MAX_CAUSES:]))[-1:]


def _split_type(line: str) -> tuple[str | None, str]:
    """Return the type that a line begins with, and the rest of the line if it may say what is wrong."""
    kind, line = None, line.strip()
    while True:
        if prefix := _PREFIX.match(line):
            line = line[prefix.end() :].removesuffix('"' if prefix[0].endswith('"') else "")
            continue
        found, line = split_type(line)
        if found is None:
            break
        kind = _short_type(found) or kind
    is_noise = _NOISE.match(line) or (kind is None and _VALUES.match(line))
    return kind, "" if is_noise else line


def _short_type(name: str | None) -> str | None:
    """Return the name of a type without its package; None if it says nothing, such as Playwright's "FAILURE"."""
    short = re.split(r"[.\\$]", name or "")[-1]
    return short if short[:1].isupper() and short.isidentifier() and short not in _GENERIC_TYPES else None


def _clean(text: str | None) -> str:
    """Return both ends of a text, without colours."""
    text = text or ""
    if len(text) > 2 * _MAX_LENGTH:
        text = f"{text[:_MAX_LENGTH]}\n{text[-_MAX_LENGTH:]}"
    return _COLOUR.sub("", text)
