from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from buddy_sessions import Stats

counts = {
    field.name: st.booleans() if field.name == "verified" else st.integers(0, 10**6) for field in attrs.fields(Stats)
}
stats = st.builds(Stats, **counts)


@given(stats, stats)
def test_every_field_is_added(a: Stats, b: Stats) -> None:
    total = attrs.asdict(a + b)
    verified = total.pop("verified")
    assert verified == (a.verified and b.verified)
    assert total == {name: getattr(a, name) + getattr(b, name) for name in total}
