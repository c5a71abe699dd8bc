"""Groups failing tests by cause: reads the type, the message and the place of a failure, without what varies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import frozen

from .._decoding.failures import split_type
from ..models import Failure, TestCase, sort_key

_MAX_MESSAGE = 2000  # characters to look at
_MAX_TEMPLATE = 300
_SILENT_TYPE = re.compile(r"Assert|Null|Index")
_VALUE = re.compile(
    r"""<\w+>|"[^"]*+"|'[^']*+'|`[^`]*+`|\[[^\[\]]*+\]|\{[^{}]*+\}"""
    r"|\b(?:expect\((?:[\w.]|\(\))*+\)|(?:Assert\.|Is\.|to(?=[A-Z]))\w+)"  # the names of assertions
)
_WORD = re.compile(r"[^\W\d_]+")
_FILLERS = """
    a actual actually address an and are array arrays assert asserting assertion at be bounds but called collection
    contain contains count deep deeply defined dereference differ differing differs empty equal equality equals
    error exactly exist expect expected expecting fail failed failure false falsy first for found got greater has
    have identical in index instance invalid is item items key len length less list lists match matches memory nil
    no none not null object of on option or out pointer pos range received recovered reference rejects result runtime
    same sequence sequences set single size status strict strictly string strings than that the to true truthy two
    undefined unwrap value values want wanted was were with
"""
"""The words of messages that say no more than that two values differ, or that one is missing."""
_FILLER = frozenset(_FILLERS.split())


@frozen(kw_only=True)
class FailureGroup:
    """Failing tests that probably have the same cause.

    Attributes:
        type: The type of the exception without its package, such as `AssertionError`; None if it is not known.
        template: The message without what varies, such as `order <number> is 'confirmed', expected 'pending'`; the
            place of the failure, such as `at tests/test_cart.py:42`, if the message is generic; empty if there is
            none. Any version may write templates in another way.
        cases: The failing test cases, sorted by their keys.
        is_place: Whether `template` is the place of the failure.
    """

    type: str | None
    template: str
    cases: list[TestCase]
    is_place: bool = False


def group_failures(cases: Iterable[TestCase]) -> list[FailureGroup]:
    """Return the failing tests by cause: that of most tests first.

    Failures have the same cause if their types are equal, and their messages differ only in numbers, IDs, times,
    addresses, folders and the like. Where a message is generic, as in `assert 1 == 2`, they must also happen in the
    same line: the innermost one that is not a library's. Cases without a message are put together: `failure` is None
    unless the details were read, see `BuddyClient.failures`.

    Args:
        cases: Test cases of one or more sessions, in any order. Those that do not fail are ignored.

    Example:
        >>> from buddy_sessions import Failure, TestStatus
        >>> def failed(name: str, message: str) -> TestCase:
        ...     failure = Failure(kind="failure", message=message)
        ...     return TestCase(id=name, name=name, status=TestStatus.FAILED, failure=failure)
        >>> cases = [failed("a", "KeyError: 'id'"), failed("b", "order 8 is lost"), failed("c", "order 17 is lost")]
        >>> for cause in group_failures(cases):
        ...     print(cause.type, "|", cause.template, "|", [case.name for case in cause.cases])
        None | order <number> is lost | ['b', 'c']
        KeyError | 'id' | ['a']
    """
    groups: dict[tuple[str | None, str, bool], list[TestCase]] = {}
    for case in cases:
        if case.is_failing:
            groups.setdefault(_cause(case), []).append(case)
    merged = [
        FailureGroup(  # sorted without the texts of a case, which may be long
            type=kind,
            template=template,
            cases=sorted(group, key=lambda case: (sort_key(case.key), case.test_group_id or "", case.id)),
            is_place=is_place,
        )
        for (kind, template, is_place), group in groups.items()
    ]
    return sorted(merged, key=lambda group: (-len(group.cases), group.type or "", group.template))


def _cause(case: TestCase) -> tuple[str | None, str, bool]:
    """Return the type of a failure, and its template, and whether this is a place."""
    if case.failure is None:
        return None, "", False
    kind, message = read_message(case.failure)
    template = normalise(message[:_MAX_MESSAGE])[:_MAX_TEMPLATE]
    if template.startswith("assert "):  # pytest leaves out the type
        kind = "AssertionError"
    elif _is_specific(kind, template):
        return kind, template, False
    if (frame := _own_frame(case.failure)) is not None:
        return kind, f"at {frame[1]}:{frame[2]}".replace("\\", "/"), True
    place = case.test_group_name or case.classname
    return (kind, f"at {place}", True) if place and (kind or template) else (kind, template, False)


def _is_specific(kind: str | None, template: str) -> bool:
    """Return whether a message says more than that two values differ, or that one is missing."""
    if kind is not None and not _SILENT_TYPE.search(kind):
        return bool(template)
    return not _FILLER.issuperset(word.lower() for word in _WORD.findall(_VALUE.sub(" ", template)))


_START, _END = r"(?<![\w>])", r"(?![\w<])"
_TABLE = [
    (r"(?<!\w)(?:status|exit|HTTP|code|errno|signal)(?: code)?[ :=]{1,2}\d{1,3}(?!\d)", ""),  # kept: it tells the cause
    (r"""(?:(?<= = )|(?<=got )|(?<=want )|(?<=but was )|(?<= from ))(?:"[^"]*+"|'[^']*+')""", "'<value>'"),
    (r"""(?<![\w>+])[a-z][a-z+]*+://(?:[^\s'"`<>()\[\]{},\w]*+\w++)+/?""", "<url>"),
    (r"(?<![\w.+>-])[\w.+-]++@\w++(?:[.-]++\w++)++", "<email>"),
    (rf"{_START}(?:\d{{4}}-\d\d-\d\d[T ])?\d\d?:\d\d:\d\d(?:[.,]\d++)?(?:Z|[+-]\d\d:?\d\d)?{_END}", "<time>"),
    (rf"{_START}\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d++)?{_END}", "<address>"),
    (rf"(?<![\w:>])(?:\[[0-9a-fA-F:]++\]:\d++|(?=[a-fA-F:]*\d)(?:[0-9a-fA-F]{{0,4}}:){{2,7}}\w++){_END}", "<address>"),
    (r"(?<![\w.~>/\\])(?:[A-Za-z]:|~)?(?:[\\/]++[\w.@+~-]++)+[\\/]", "<folder>/"),  # the name of a file is kept
    (rf"{_START}[0-9a-fA-F]{{8}}(?:-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}{_END}", "<id>"),
    (rf"{_START}(?:0x[0-9a-fA-F]++|(?=\d*[a-fA-F])(?=[a-fA-F]*\d)[0-9a-fA-F]{{7,}}+){_END}", "<id>"),
    (rf"(?<=\w@)[0-9a-f]{{5,8}}{_END}", "<id>"),  # Object@1f0a8fe
    (rf"{_START}(?:[A-Za-z_]*+\d++){{3,}}+[A-Za-z_]*+{_END}", "<id>"),  # ord_9f8a7b6c5d
    (r"(?:(?<![\w>)])[-+])?\d++(?:[.,]\d++)*+(?:[eE][-+]?\d++)?", "<number>"),
]
"""What varies, and what it is replaced by. The first row that matches at a place wins.

The time is linear in the length of the text: no row can begin again within what another start of it has read. A
normalised text does not change again: rows match no `<` or `>`, and do not begin or end at one.
"""
_PATTERN = re.compile("|".join(f"({pattern})" for pattern, _ in _TABLE))


def normalise(text: str) -> str:
    """Return the text in one line, without what varies: `order 17 at 10:00:00` is `order <number> at <time>`."""
    return _PATTERN.sub(lambda match: _TABLE[(match.lastindex or 0) - 1][1] or match[0], " ".join(text.split()))


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

_COMPARED = re.compile(
    r"""(?x)
      (?i:expected|received|actual|but\ was|left|right|got|want)[\w ]{0,20}:    # the values of an assertion
    | [-+?@"'\[{(<]                                                             # a diff
    """
)
"""Lines that do not say it either, unless the type of an exception precedes them."""

_STACK = re.compile(r"at \S|Caused by: ")
"""The first line of a stack trace."""

_CAUSED_BY = re.compile(r"^Caused by: (.+)$", re.MULTILINE)
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
    for name, line in _lines(failure):
        kind = name or kind
        if line:
            parts.append(line)
            if not line.endswith(":"):  # "Received unexpected error:" announces the next line
                break
    subject = _SUBJECT.search(_clean(failure.text))
    return kind, " ".join([*parts, subject[1]] if subject else parts)


def says_nothing(message: str) -> bool:
    """Return whether a message does not say what is wrong, such as pytest's "collection failure"."""
    return all(_NOISE.match(line.strip()) for line in _clean(message).splitlines())


def find_place(failure: Failure) -> tuple[str, str] | None:
    """Return the innermost line that is not a library's: its whole path, and its number; None if unknown."""
    frame = _own_frame(failure)
    return None if frame is None else (_whole_path(frame), frame[2])


def _own_frame(failure: Failure) -> re.Match[str] | None:
    lines = [line for line in _clean(failure.text).splitlines() if not _LIBRARY.search(line)]
    places = [frame for frame in map(_FRAME.search, lines) if frame]
    # Playwright also writes "at a.ts:1".
    frames = [frame for frame in places if {"/", "\\"}.intersection(_whole_path(frame))] or places
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
    pairs: list[tuple[str | None, str]] = []
    for lines in (_clean(failure.message).splitlines(), _without_stack(failure), _innermost_cause(failure)):
        pairs = list(filter(any, map(_split_type, lines))) or pairs
        if any(line for _, line in pairs):
            break
    return pairs


def _without_stack(failure: Failure) -> Iterator[str]:
    """Yield the lines before the stack trace, or those after it: Python and pytest write the error there."""
    lines = _clean(failure.text).splitlines()
    if errors := [line[1:] for line in lines if line.startswith("E  ")]:
        is_place = errors[0].lstrip().startswith('File "')  # of a SyntaxError, whose message is the last line
        yield from errors[-1:] if is_place else errors
        return
    ends = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    for line in lines[ends[-1] + 1 :] if ends else lines:
        if _STACK.match(line.strip()):
            return
        if not (ends and line.startswith(" ")):
            yield line


def _innermost_cause(failure: Failure) -> Iterator[str]:
    """Yield the last cause of Java's exception."""
    yield from _CAUSED_BY.findall(_COLOUR.sub("", (failure.text or "")[-_MAX_CAUSES:]))[-1:]


def _split_type(line: str) -> tuple[str | None, str]:
    """Return the type that a line begins with, and the rest of the line if it may say what is wrong."""
    kind, line = None, line.strip()
    while True:
        if prefix := _PREFIX.match(line):
            line = line[prefix.end() :].removesuffix('"' if prefix[0].endswith('"') else "")
            continue
        name, line = split_type(line)
        if name is None:
            break
        kind = _short_type(name) or kind
    is_noise = _NOISE.match(line) or (kind is None and _COMPARED.match(line))
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
