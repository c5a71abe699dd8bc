"""What a reader sees of a page in Markdown, once it is rendered to HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import NamedTuple

HOSTILE = (
    "a`b``c </details></code> | @everyone [x](javascript:alert(1)) \x1b[31mred\x1b[0m \x00 \u202e \ud800 #1 :smile:"
    " &lt; <script>alert(1)</script> www.evil.example https://evil.example a@evil.example *b* _i_ $x$ \\`"
    " ![i](http://x/y.png)\n```\n````\n\n</details>\n\n# heading\n\n- item\n\n    code\n\n| a | b |\n| - | - |\n<!-- "
)
"""A name or a message that tries to be everything but text."""


class Rendered(NamedTuple):
    """The tags with their attributes, in their order, and the text between them."""

    tags: list[tuple[str, ...]]
    text: str


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(f"{name}={value}" for name, value in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}",))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read_html(html: str) -> Rendered:
    """Return what a page of HTML contains. Comments are ignored, and zero-width spaces removed."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return Rendered(reader.tags, "".join(reader.texts).replace("\u200b", ""))
