"""Durations and counts in texts for people: `4m08s`, `1,300 requests`, in errors, tables and reports alike."""

from __future__ import annotations

_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))


def format_duration(seconds: float | None) -> str:
    """Return a duration in its two largest units: `40ms`, `1.5s`, `42s`, `3m05s`, `2h`, `3d04h`; `-` for None."""
    if seconds is None:
        return "-"
    if 0 < seconds < 0.9995:
        return f"{max(1, round(1000 * seconds))}ms"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller_unit in _UNITS:
        if whole >= size:
            smaller = whole % size // smaller_size
            return f"{whole // size}{unit}" + (f"{smaller:02}{smaller_unit}" if smaller else "")
    return f"{whole}s"


def format_count(number: int, noun: str) -> str:
    """Return a number and its noun in singular or plural: `1 request`, `1,300 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
