"""Hypothesis strategies for sessions, whose fields follow from the annotations of the models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_type_hints

from hypothesis import strategies as st

from buddy_sessions import CIProvider, Member, RefType, Session, SessionStatus

text = st.text(st.characters(codec="utf-8"))
_whole_numbers = st.integers(0, 2**60)
_moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - UTC is added
_STRATEGIES: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    int: _whole_numbers,
    int | float: _whole_numbers | st.floats(0, 1e6),
    bool: st.booleans(),
    datetime: _moments.map(lambda moment: moment.replace(microsecond=0)) | _moments,
    **{enum: (st.sampled_from(list(enum)) | text).map(enum) for enum in (SessionStatus, CIProvider, RefType)},
}


def _build(model: type, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for a model, in which some fields have strategies of their own."""
    optional = {kind | None: st.none() | values for kind, values in _STRATEGIES.items()}
    fields = {name: {**_STRATEGIES, **optional}[hint] for name, hint in get_type_hints(model).items()}
    return st.builds(model, **{**fields, **given})


_STRATEGIES[Member] = _build(Member)
sessions: st.SearchStrategy[Session] = _build(Session, relative_id=st.integers(1, 2**60))
