"""Replace what varies in a message, so that failures with the same cause have the same text."""

from __future__ import annotations

import re

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
