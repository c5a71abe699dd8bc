from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from buddy_sessions._api import endpoint_url
from buddy_sessions._base.validate import validate_name
from buddy_sessions._client.options import parse_base_url
from buddy_sessions.errors import ConfigError


@given(st.text())
def test_any_name_is_one_segment_or_rejected(name: str) -> None:
    try:
        validate_name("project", name)
    except ConfigError:
        return
    url = endpoint_url(URL("https://api.buddy.works"), "workspaces", name, "sessions", name)
    names = ["", "workspaces", name, "sessions", name]
    assert [unquote(segment) for segment in url.raw_path.split("/")] == names
    assert (url.host, url.query_string, url.fragment) == ("api.buddy.works", "", "")


def test_id_of_dots_is_quoted() -> None:
    assert endpoint_url(URL("https://api.buddy.works"), "suites", "..", ".").raw_path == "/suites/%2E%2E/%2E"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.buddy.works", "https://api.buddy.works/workspaces"),
        ("https://buddy.example.com/api/", "https://buddy.example.com/api/workspaces"),
        ("https://buddy.example.com:8443/a%2Fb", "https://buddy.example.com:8443/a%2Fb/workspaces"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/workspaces"),
        ("http://[::1]:8080", "http://[::1]:8080/workspaces"),
    ],
)
def test_base_url_keeps_its_path(text: str, url: str) -> None:
    base = parse_base_url(text)
    assert str(endpoint_url(base, "workspaces", "w")) == f"{url}/w"
    assert parse_base_url(URL(text)) == base


@pytest.mark.parametrize(
    "text",
    [
        *("", "api.buddy.works", "/api", "//api.buddy.works", "ftp://api.buddy.works", "https://", "https://[::1"),
        *("https://host:99999", "https://host?x=1", "https://host#x", None, 7),
        *("s3cr3t", "https://host?token=s3cr3t", "https://me:s3cr3t@host", "https://me:s3cr3t@host:port"),
        *("https://[s3cr3t", "https://s3cr3t@host"),
    ],
)
def test_invalid_base_url_is_rejected(text: Any) -> None:
    """The error does not show a secret."""
    with pytest.raises(ConfigError, match="the base URL") as caught:
        parse_base_url(text)
    assert "s3cr3t" not in str(caught.value)
