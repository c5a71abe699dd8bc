"""Remarks: each kind has a text, made from its figures and its sessions."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest

from buddy_sessions import ConfigError, Session, SessionStatus
from buddy_sessions.analysis import Reason, Remark

RED = Session(id="s7", relative_id=7, status=SessionStatus.ERROR, error_message="disk full")
LATER = Session(id="s8", relative_id=8, status=SessionStatus.SUCCESSFUL)


@pytest.mark.parametrize("kind", sorted(set(get_args(get_type_hints(Remark)["kind"]))))
def test_each_kind_has_a_text(kind: Any) -> None:
    about = Remark(kind, [LATER, RED], [1, 3, 2], "main")
    assert str(about)
    assert " <" not in str(about)


def test_text_is_made_from_the_values() -> None:
    assert str(Remark("few tests", [LATER], [10, 100], "each of the 10 commits")) == (
        "#8: 10 tests ran, at least 100 in each of the 10 commits before"
    )
    assert str(Reason("no failing test", [RED])) == "#7 failed without a failing test: disk full"
    assert str(Remark("rerun", [LATER, RED])) == "#8 replaced #7: it was run again"
    assert str(Remark("rerun", [LATER, RED], detail="x")) == "the red #7 does not count: x"


def test_error_is_described_for_each_program() -> None:
    error = ConfigError("not saved", advice='sync with {cases="failed"}, in {wait}')
    reason = Reason("incomplete cases", [RED], detail="to compare with", error=error)
    assert str(reason) == 'to compare with: not saved: sync with cases="failed", in wait'
    as_options = reason.describe(lambda each: each.describe(lambda name, value: f"--{name} {value}".strip()))
    assert as_options == "to compare with: not saved: sync with --cases failed, in --wait"
