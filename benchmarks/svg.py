"""Bar charts for a README: readable on a light page and on a dark one, since they bring their own paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

_WIDTH, _LEFT, _THICK, _GAP = 820, 210, 13, 26


class Bar(NamedTuple):
    """One bar.

    Attributes:
        colour: Its colour.
        said: The text beside it.
        share: Its length, as a share of the room there is.
        more: What is added to it in a paler colour, and cut where the room ends.
    """

    colour: str
    said: str
    share: float
    more: float = 0.0


def chart(
    title: str, groups: Mapping[str, Sequence[Bar]], *, legend: Mapping[str, str] | None = None, beside: int = 150
) -> str:
    """Return a picture of groups of bars.

    Args:
        title: What stands above.
        groups: The bars of each group, under its name.
        legend: What each colour means, if the texts beside the bars do not say it.
        beside: Pixels kept free for those texts.
    """
    room, tall = _WIDTH - _LEFT - beside, 'height="10"'
    parts = []
    y = 64 if legend else 40
    for name, bars in groups.items():
        middle = y + _THICK * (len(bars) + 0.8) / 2
        parts.append(f'<text x="{_LEFT - 12}" y="{middle:.1f}" text-anchor="end">{name}</text>')
        for colour, said, share, also in bars:
            length = share * room
            more = min(also * room, room - length)
            parts += [
                f'<rect x="{_LEFT}" y="{y}" width="{max(length, 1.5):.1f}" {tall} fill="{colour}"/>',
                f'<rect x="{_LEFT + length:.1f}" y="{y}" width="{more:.1f}" {tall} fill="{colour}" class="r"/>',
                f'<text x="{_LEFT + length + more + 8:.1f}" y="{y + _THICK - 4}" class="s">{said}</text>',
            ]
            y += _THICK
        y += _GAP
    key, x = "", _LEFT
    for name, colour in (legend or {}).items():
        key += f'<rect x="{x}" y="34" width="10" {tall} fill="{colour}"/>'
        key += f'<text x="{x + 15}" y="43" class="s">{name}</text>'
        x += 40 + 7 * len(name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y - 10}" role="img" aria-label="{title}">\n'
        "<style>text{font:13px system-ui,sans-serif;fill:#57606a}.s{font-size:11px}.r{fill-opacity:.35}</style>\n"
        f'<path d="M0 0h9999v9999H0z" fill="#fff"/>\n<text x="12" y="22">{title}</text>\n{key}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
