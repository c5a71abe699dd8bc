"""Hypothesis strategies for sessions, whose fields follow from the annotations of the models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import attrs
from hypothesis import strategies as st

from buddy_sessions import CIProvider, Member, RefType, Session, SessionStatus

text = st.text(st.characters(codec="utf-8"))
_whole_numbers = st.integers(0, 2**60)
_moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - UTC is added
_STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "str": text,
    "int": _whole_numbers,
    "int | float": _whole_numbers | st.floats(0, 1e6),
    "bool": st.booleans(),
    "datetime": _moments.map(lambda moment: moment.replace(microsecond=0)) | _moments,
    **{enum.__name__: (st.sampled_from(list(enum)) | text).map(enum) for enum in (SessionStatus, CIProvider, RefType)},
}


def _build(model: type[attrs.AttrsInstance], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for a model, in which some fields have strategies of their own."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in attrs.fields(model):
        values = _STRATEGIES[str(field.type).removesuffix(" | None")]
        fields[field.name] = values if field.default is attrs.NOTHING else st.none() | values
    return st.builds(model, **{**fields, **given})


_STRATEGIES["Member"] = _build(Member)
sessions: st.SearchStrategy[Session] = _build(Session, relative_id=st.integers(1, 2**60))
