from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from buddy_sessions import Region, SuiteKey
from buddy_sessions._http.urls import parse_base_url, region_url, suites_url
from buddy_sessions._validate import validate_name
from buddy_sessions.errors import ConfigError

BASE = URL("https://api.buddy.works")


def test_urls_are_the_documented_ones() -> None:
    path = "/workspaces/my-company/projects/my-project/unit-tests/suites"
    assert str(suites_url(BASE, "my-company", "my-project")) == f"https://api.buddy.works{path}"
    key = SuiteKey("my-company", "my-project", "MNbyVedg")
    assert str(suites_url(BASE, *key, "sessions")) == f"https://api.buddy.works{path}/MNbyVedg/sessions"
    assert (
        str(suites_url(BASE, *key, "sessions", "YDnagwGk"))
        == f"https://api.buddy.works{path}/MNbyVedg/sessions/YDnagwGk"
    )


@given(st.text())
def test_any_name_is_one_segment_or_rejected(name: str) -> None:
    try:
        validate_name("project", name)
    except ConfigError:
        return
    url = suites_url(BASE, "w", name, "s", "sessions")
    before, encoded, after = url.raw_path.partition("/projects/")[2].partition("/unit-tests/")
    assert unquote(before) == name
    assert (encoded, after) == ("/unit-tests/", "suites/s/sessions")
    session = suites_url(BASE, "w", "p", "s", "sessions", name)
    prefix, _, segment = session.raw_path.rpartition("/")
    assert prefix == "/workspaces/w/projects/p/unit-tests/suites/s/sessions"
    assert unquote(segment) == name
    for each in (url, session):
        assert each.host == "api.buddy.works"
        assert not each.query_string
        assert not each.fragment


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.buddy.works", "https://api.buddy.works/workspaces"),
        ("https://api.buddy.works/", "https://api.buddy.works/workspaces"),
        ("https://buddy.example.com/api", "https://buddy.example.com/api/workspaces"),
        ("https://buddy.example.com/api/", "https://buddy.example.com/api/workspaces"),
        ("https://buddy.example.com:8443/a%2Fb", "https://buddy.example.com:8443/a%2Fb/workspaces"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/workspaces"),
        ("http://localhost/api", "http://localhost/api/workspaces"),
        ("http://[::1]:8080", "http://[::1]:8080/workspaces"),
    ],
)
def test_base_url_keeps_its_path(text: str, url: str) -> None:
    base = parse_base_url(text)
    assert str(suites_url(base, "w", "p")) == f"{url}/w/projects/p/unit-tests/suites"
    assert parse_base_url(URL(text)) == base


@pytest.mark.parametrize(
    "text",
    [
        *("", "api.buddy.works", "/api", "//api.buddy.works", "ftp://api.buddy.works", "https://", "https://[::1"),
        *("https://host:99999", "https://host?x=1", "https://host#x", None, 7),
    ],
)
def test_invalid_base_url_is_rejected(text: Any) -> None:
    with pytest.raises(ConfigError, match="the base URL"):
        parse_base_url(text)


@pytest.mark.parametrize("text", ["s3cr3t", "https://host?token=s3cr3t", "https://me:s3cr3t@host", "https://[s3cr3t"])
def test_error_does_not_show_a_secret_in_the_base_url(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_base_url(text)
    assert "s3cr3t" not in str(caught.value)


def test_each_region_has_its_own_host() -> None:
    assert [str(region_url(region)) for region in Region] == [
        "https://api.buddy.works",
        "https://api.eu.buddy.works",
        "https://api.asia.buddy.works",
    ]
