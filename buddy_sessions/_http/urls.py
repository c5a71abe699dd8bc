"""The URLs of the API. The names in them must be valid (see `validate_name`)."""

from __future__ import annotations

import ipaddress
from urllib.parse import quote

from yarl import URL

from ..errors import ConfigError


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


def projects_url(base_url: URL, workspace: str) -> URL:
    """Return the URL of the projects of a workspace."""
    return endpoint_url(base_url, "workspaces", workspace, "projects")


def suites_url(base_url: URL, workspace: str, project: str, *below: str) -> URL:
    """Return the URL of a project's suites, or of what these names lead to below it: a suite, its sessions, and so on.

    Each name becomes one segment of the path. The base URL may have a path of its own.
    """
    return endpoint_url(base_url, "workspaces", workspace, "projects", project, "unit-tests", "suites", *below)


def endpoint_url(base_url: URL, *names: str) -> URL:
    """Return the URL of an endpoint. Each name becomes one segment of the path."""
    return base_url.with_path(
        base_url.raw_path.rstrip("/") + "".join(f"/{_quote(name)}" for name in names), encoded=True
    )


def _quote(name: str) -> str:
    segment = quote(name, safe="")
    return segment.replace(".", "%2E") if segment in {".", ".."} else segment  # an ID of a test case can be any text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
