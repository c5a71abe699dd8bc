"""A parser of HTML pages, also of rendered Markdown, that reports mistakes."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID_TAGS = frozenset({"br", "hr", "img", "input", "meta"})
"""Tags without an end tag."""

_INLINE_TAGS = frozenset({"a", "b", "code", "span", "time", "wbr"})
"""Tags that do not separate words."""

HOSTILE = (
    "a`b``c </details></code> | @everyone [x](javascript:alert(1)) \x1b[31mred\x1b[0m \x00 \u202e \ud800 #1 :smile:"
    " &lt; <script>alert(1)</script> www.evil.example https://evil.example a@evil.example *b* _i_ $x$ \\`"
    " ![i](http://x/y.png)\n```\n````\n\n</details>\n\n# heading\n\n- item\n\n    code\n\n| a | b |\n| - | - |\n<!-- "
)
"""A name or a message that tries to be everything but text."""


class HtmlPage(HTMLParser):
    """A parsed page.

    Attributes:
        tags: All start tags with their attributes.
        mistakes: Tags that were closed in the wrong order, and tags that were not closed.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.mistakes: list[str] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(html)
        self.close()
        self.mistakes += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._separate(tag)
        if tag not in _VOID_TAGS:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._separate(tag)
        if tag not in _VOID_TAGS and self._open.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["style"], ["script"]):
            self._texts.append(data)

    @property
    def text(self) -> str:
        """The visible text, with single spaces."""
        return " ".join(self.raw_text.split())

    @property
    def raw_text(self) -> str:
        """The visible text, with its lines, and without zero-width spaces."""
        return "".join(self._texts).replace("\u200b", "")

    def count(self, tag: str) -> int:
        """Return the number of tags with this name."""
        return [name for name, _ in self.tags].count(tag)

    def values(self, name: str, tag: str | None = None) -> list[str]:
        """Return the values of an attribute, of these tags only."""
        return [attrs[name] or "" for it, attrs in self.tags if name in attrs and tag in {None, it}]

    def _separate(self, tag: str) -> None:
        if tag not in _INLINE_TAGS:
            self._texts.append(" ")
