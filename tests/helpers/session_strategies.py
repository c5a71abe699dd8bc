"""Hypothesis strategies for sessions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from buddy_sessions import CIProvider, Member, RefType, Session, SessionStatus

text = st.text(st.characters(codec="utf-8"))
_whole_numbers = st.integers(0, 2**60)
_moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - UTC is added
_times = _moments.map(lambda moment: moment.replace(microsecond=0)) | _moments


def _optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def _enums(enum: Any) -> st.SearchStrategy[Any]:
    return (st.sampled_from(list(enum)) | text).map(enum)


members = st.builds(
    Member,
    **{name: _optional(text) for name in ("url", "html_url", "name", "avatar_url", "email")},
    id=_optional(_whole_numbers),
    admin=_optional(st.booleans()),
    workspace_owner=_optional(st.booleans()),
)

_TEXT_FIELDS = ("url", "html_url", "ci_run_url", "revision", "ref_name", "execution_id", "error_message")

sessions = st.builds(
    Session,
    id=text,
    relative_id=st.integers(1, 2**60),
    status=_enums(SessionStatus),
    **{name: _optional(text) for name in _TEXT_FIELDS},
    action_execution_id=_optional(text),
    **{name: _optional(_times) for name in ("create_date", "start_date", "finish_date")},
    created_by=_optional(members),
    ci_provider=_optional(_enums(CIProvider)),
    ref_type=_optional(_enums(RefType)),
    duration=_optional(_whole_numbers | st.floats(0, 1e6)),
    **{name: _optional(_whole_numbers) for name in ("tests_count", "failed_count", "skipped_count", "error_count")},
)
