"""The URLs of the API. The names in them must be valid (see `validate_name`)."""

from __future__ import annotations

import ipaddress
from urllib.parse import quote

from yarl import URL

from .._regions import API_HOSTS, Region
from ..errors import ConfigError
from ..models import SuiteKey


def region_url(region: Region) -> URL:
    """Return the base URL of the API in a region."""
    return URL(f"https://{API_HOSTS[region]}")


def parse_base_url(base_url: str | URL) -> URL:
    """Return a base URL of the API to which a token may be sent.

    Raises:
        ConfigError: It is not an absolute http(s) URL; it is plain http to another machine, so that the token would be
            sent unencrypted; or it contains user info, a query or a fragment.
    """
    try:
        url = URL(base_url)
    except (ValueError, TypeError):
        # The messages do not show the URL: it may contain a password, or be the token, in the wrong argument.
        raise ConfigError("the base URL is invalid: use https://HOST, or https://HOST/api on premises") from None
    if url.user is not None or url.password is not None:
        raise ConfigError("the base URL contains a user or a password: remove it, the token authenticates")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("the base URL is not absolute: use one like https://api.buddy.works")
    if url.query_string or url.fragment:
        raise ConfigError("the base URL contains a query or a fragment: it must end with its path")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigError(f"the token would be sent unencrypted: use https instead of {base_url}")
    return url.with_path(url.raw_path.rstrip("/"), encoded=True)


def sessions_url(base_url: URL, key: SuiteKey) -> URL:
    """Return the URL of a suite's sessions, without its query."""
    return _with_path(base_url, f"{_suite_path(key)}/sessions")


def session_url(base_url: URL, key: SuiteKey, session_id: str) -> URL:
    """Return the URL of one session of a suite."""
    return _with_path(base_url, _session_path(key, session_id))


def suite_url(base_url: URL, key: SuiteKey) -> URL:
    """Return the URL of one suite."""
    return _with_path(base_url, _suite_path(key))


def cases_url(base_url: URL, key: SuiteKey, session_id: str) -> URL:
    """Return the URL of the test cases of a session, without its query."""
    return _with_path(base_url, f"{_session_path(key, session_id)}/cases")


def case_url(base_url: URL, key: SuiteKey, session_id: str, group_id: str, case_id: str) -> URL:
    """Return the URL of one test case of a session. Its ID and that of its group can be any text."""
    group, case = (_quote(text).replace(".", "%2E") for text in (group_id, case_id))
    return _with_path(base_url, f"{_session_path(key, session_id)}/test-groups/{group}/cases/{case}")


def suites_url(base_url: URL, workspace: str, project: str) -> URL:
    """Return the URL of a project's suites."""
    return _with_path(base_url, _suites_path(workspace, project))


def _suites_path(workspace: str, project: str) -> str:
    return f"/workspaces/{_quote(workspace)}/projects/{_quote(project)}/unit-tests/suites"


def _suite_path(key: SuiteKey) -> str:
    return f"{_suites_path(key.workspace, key.project)}/{_quote(key.suite_id)}"


def _session_path(key: SuiteKey, session_id: str) -> str:
    return f"{_suite_path(key)}/sessions/{_quote(session_id)}"


def _with_path(base_url: URL, path: str) -> URL:
    """Return the URL of a path below the base URL, whose own path may be a lone slash."""
    return base_url.with_path(base_url.raw_path.rstrip("/") + path, encoded=True)


def _quote(name: str) -> str:
    return quote(name, safe="")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
