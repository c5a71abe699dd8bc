"""Durations in texts."""

from __future__ import annotations

from buddy_sessions._base.figures import format_duration

DURATIONS = {
    None: "-",
    0: "0s",
    0.0002: "1ms",
    0.0404: "40ms",
    0.9994: "999ms",
    0.9996: "1.0s",
    9.5: "9.5s",
    9.0: "9s",
    59.7: "1m",
    60: "1m",
    61: "1m01s",
    3599: "59m59s",
    3600: "1h",
    7620: "2h07m",
    86_400 * 3 + 3600 * 4: "3d04h",
}


def test_duration_has_at_most_two_units() -> None:
    assert {seconds: format_duration(seconds) for seconds in DURATIONS} == DURATIONS
