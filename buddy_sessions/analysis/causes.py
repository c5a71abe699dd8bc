"""Group failing tests by cause: by what their messages have in common, without what varies in them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from ..models import TestCase, sort_key
from .failure_text import place_of, read_message

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
    """

    type: str | None
    template: str
    cases: list[TestCase]


def group_failures(cases: Iterable[TestCase]) -> list[FailureGroup]:
    """Return the failing tests grouped by cause, largest group first.

    Failures have the same cause if their types are equal, and their messages differ only in numbers, IDs, times,
    addresses, folders and the like. Where a message is generic, as in `assert 1 == 2`, they must also happen in the
    same line: the innermost one that is not a library's. All cases without a message are one group: `failure` is None
    unless the details were read, see `BuddyClient.failures`.

    Args:
        cases: Test cases of one or more sessions, in any order. Those that do not fail are ignored.

    Example:
        >>> from buddy_sessions import Failure, TestStatus
        >>> def failed(name: str, message: str) -> TestCase:
        ...     failure = Failure(kind="failure", message=message)
        ...     return TestCase(id=name, name=name, status=TestStatus.FAILED, failure=failure)
        >>> cases = [failed("a", "KeyError: 'id'"), failed("b", "order 8 is lost"), failed("c", "order 17 is lost")]
        >>> for group in group_failures(cases):
        ...     print(group.type, "|", group.template, "|", [case.name for case in group.cases])
        None | order <number> is lost | ['b', 'c']
        KeyError | 'id' | ['a']
    """
    groups: dict[tuple[str | None, str], list[TestCase]] = {}
    for case in cases:
        if case.is_failing:
            groups.setdefault(_cause(case), []).append(case)
    found = [
        FailureGroup(
            type=kind, template=template, cases=sorted(group, key=lambda case: (sort_key(case.key), repr(case)))
        )
        for (kind, template), group in groups.items()
    ]
    return sorted(found, key=lambda group: (-len(group.cases), group.type or "", group.template))


def _cause(case: TestCase) -> tuple[str | None, str]:
    """Return the type and the template of a failure."""
    if case.failure is None:
        return None, ""
    kind, message = read_message(case.failure)
    template = normalise(message[:_MAX_MESSAGE])[:_MAX_TEMPLATE]
    if template.startswith("assert "):  # pytest leaves out the type
        kind = "AssertionError"
    elif _is_specific(kind, template):
        return kind, template
    place = place_of(case.failure)
    if place is None and (kind or template):
        place = case.test_group_name or case.classname
    return kind, f"at {place}" if place else template


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
