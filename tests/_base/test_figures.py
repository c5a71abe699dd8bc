"""Durations in texts."""

from __future__ import annotations

from buddy_sessions._base.figures import format_duration

DURATIONS = {
    None: "-",
    0: "0s",
    0.0404: "40ms",
    0.9996: "1.0s",
    9.5: "9.5s",
    59.7: "1m",
    61: "1m01s",
    7620: "2h07m",
    86_400 * 3 + 3600 * 4: "3d04h",
}


def test_duration_has_at_most_two_units() -> None:
    assert {seconds: format_duration(seconds) for seconds in DURATIONS} == DURATIONS
