"""Fixtures for the tests of decoding."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from buddy_sessions._decoding.converter import fast_decoder


@pytest.fixture
def fresh_decoder() -> Iterator[None]:
    """The decoder is chosen anew in this test, and again afterwards."""
    fast_decoder.cache_clear()
    yield
    fast_decoder.cache_clear()


@pytest.fixture
def without_msgspec(fresh_decoder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra `[speed]` is not installed."""
    monkeypatch.setitem(sys.modules, "msgspec", None)


@pytest.fixture(params=["msgspec", "cattrs"])
def each_decoder(request: pytest.FixtureRequest) -> None:
    """The test runs with the extra `[speed]`, and without it."""
    if request.param == "cattrs":
        request.getfixturevalue("without_msgspec")
