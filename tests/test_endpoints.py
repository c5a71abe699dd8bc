from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from buddy_sessions import ConfigError, Region, SuiteKey
from buddy_sessions.endpoints import check_branch, parse_base_url, sessions_url, suites_url

BASE = URL("https://api.buddy.works")


def test_the_url_is_the_documented_one() -> None:
    url = sessions_url(BASE, SuiteKey("my-company", "my-project", "MNbyVedg"))
    path = "/workspaces/my-company/projects/my-project/unit-tests/suites/MNbyVedg/sessions"
    assert str(url) == f"https://api.buddy.works{path}"
    assert str(suites_url(BASE, "my-company", "my-project")) == f"https://api.buddy.works{path}".rsplit("/", 2)[0]


@given(st.text())
def test_a_name_is_one_segment_of_the_path_or_refused(name: str) -> None:
    try:
        url = sessions_url(BASE, SuiteKey("w", name, "s"))
    except ConfigError:
        return
    before, encoded, after = url.raw_path.partition("/projects/")[2].partition("/unit-tests/")
    assert unquote(before) == name
    assert (encoded, after) == ("/unit-tests/", "suites/s/sessions")
    assert url.host == "api.buddy.works"
    assert not url.query_string
    assert not url.fragment


@pytest.mark.parametrize("name", ["a b", "ż", "a?b", "a#b", "a%41", "100%", "a+b", "a;b=c", "...", "~", "a\\b", "日本"])
def test_unusual_names_work(name: str) -> None:
    assert suites_url(BASE, name, "p").parts[2] == unquote(name) or "%" in name
    assert unquote(suites_url(BASE, name, "p").raw_parts[2]) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "%2e%2e", "%2E.", "a%2fb", "\ud800", "a\nb", "a\x00", "a%0d", "\x7f", None, 7, b"a"]
)
@pytest.mark.parametrize("place", range(3))
def test_a_name_that_would_lead_elsewhere_is_refused(name: Any, place: int) -> None:
    names: list[Any] = ["w", "p", "s"]
    names[place] = name
    with pytest.raises(ConfigError):
        sessions_url(BASE, SuiteKey(*names))


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
def test_a_base_url_keeps_its_path(text: str, url: str) -> None:
    base = parse_base_url(text)
    assert str(suites_url(base, "w", "p")).startswith(url + "/w/")
    assert parse_base_url(URL(text)) == base


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api.buddy.works",
        "/api",
        "//api.buddy.works",
        "ftp://api.buddy.works",
        "https://",
        "https://[::1",
        "https://host:99999",
        "https://host?x=1",
        "https://host#x",
        None,
        7,
    ],
)
def test_what_is_no_base_url_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError):
        parse_base_url(text)


@pytest.mark.parametrize("text", ["http://api.buddy.works", "http://10.0.0.1", "http://localhost.example.com"])
def test_a_token_never_travels_in_the_clear(text: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        parse_base_url(text)


@pytest.mark.parametrize("text", ["https://user@host", "https://user:hunter2@host", "https://:hunter2@[::1"])
def test_a_password_in_the_base_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_base_url(text)
    assert "hunter2" not in repr(caught.value)


def test_each_region_has_its_own_host() -> None:
    assert [str(region.base_url) for region in Region] == [
        "https://api.buddy.works",
        "https://api.eu.buddy.works",
        "https://api.asia.buddy.works",
    ]


@pytest.mark.parametrize("text", ["eu", "EU", " Eu ", Region.EU])
def test_a_region_is_known_in_any_case(text: str) -> None:
    assert Region.parse(text) is Region.EU


@pytest.mark.parametrize("text", ["", "MARS", None, 7])
def test_an_unknown_region_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="US, EU, AS"):
        Region.parse(text)


@pytest.mark.parametrize("branch", [None, "main", "feature/a b&c=d#e", "ż"])
def test_any_branch_name_can_be_asked_for(branch: str | None) -> None:
    check_branch(branch)


@pytest.mark.parametrize("branch", ["", "\ud800", 7, b"main"])
def test_what_is_no_branch_name_is_refused(branch: Any) -> None:
    with pytest.raises(ConfigError, match="branch"):
        check_branch(branch)
