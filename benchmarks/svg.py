"""Bar charts for the README. They have a white background, so that they are readable in light and dark mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

_WIDTH, _LEFT, _BAR_HEIGHT, _GAP = 820, 210, 13, 26


class Bar(NamedTuple):
    """One bar.

    Attributes:
        colour: Its colour.
        label: The text on its right.
        length: Its length, as a share of the available width.
        extra: The length of a second part in a paler colour; cut off at the available width.
    """

    colour: str
    label: str
    length: float
    extra: float = 0.0


def chart(
    title: str, groups: Mapping[str, Sequence[Bar]], *, legend: Mapping[str, str] | None = None, label_width: int = 150
) -> str:
    """Return an SVG chart.

    Args:
        title: The title.
        groups: The bars of each group, by the group's name.
        legend: The colour of each entry of a legend; None if the labels are enough.
        label_width: Pixels that are reserved for the labels.
    """
    available = _WIDTH - _LEFT - label_width
    parts = []
    y = 64 if legend else 40
    for name, bars in groups.items():
        middle = y + _BAR_HEIGHT * (len(bars) + 0.8) / 2
        parts.append(f'<text x="{_LEFT - 12}" y="{middle:.1f}" text-anchor="end">{name}</text>')
        for colour, label, share, extra_share in bars:
            length = share * available
            extra = min(extra_share * available, available - length)
            parts += [
                _rectangle(_LEFT, y, max(length, 1.5), colour),
                _rectangle(_LEFT + length, y, extra, colour, ' class="pale"') if extra else "",
                f'<text x="{_LEFT + length + extra + 8:.1f}" y="{y + _BAR_HEIGHT - 4}" class="small">{label}</text>',
            ]
            y += _BAR_HEIGHT
        y += _GAP
    x = _LEFT
    for name, colour in (legend or {}).items():
        parts += [_rectangle(x, 34, 10, colour), f'<text x="{x + 15}" y="43" class="small">{name}</text>']
        x += 40 + 7 * len(name)
    style = "text{font:13px system-ui,sans-serif;fill:#57606a}.small{font-size:11px}.pale{fill-opacity:.35}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y - 10}" role="img" aria-label="{title}">\n'
        f'<style>{style}</style>\n<path d="M0 0h9999v9999H0z" fill="#fff"/>\n<text x="12" y="22">{title}</text>\n'
        + "\n".join(filter(None, parts))
        + "\n</svg>\n"
    )


def _rectangle(x: float, y: int, width: float, colour: str, attributes: str = "") -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="10" fill="{colour}"{attributes}/>'
