"""Where things are: regions, base URLs and the API's paths, as URLs that cannot lead elsewhere. Pure."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from functools import lru_cache
from urllib.parse import quote, unquote

from yarl import URL

from .errors import ConfigError
from .models import SuiteKey


class Region(StrEnum):
    """Where a Buddy account lives. A token of one region is not valid in another (Buddy's documentation)."""

    US = "US"
    EU = "EU"
    AS = "AS"

    @classmethod
    def parse(cls, text: str) -> Region:
        """Return the region of that name, in any case.

        Raises:
            ConfigError: There is no such region.
        """
        try:
            return cls(text.strip().upper())
        except (ValueError, AttributeError):
            pass
        raise ConfigError(f"no region {text!r}: use {', '.join(cls)}, or base_url for a server of your own")

    @property
    def base_url(self) -> URL:
        """The API's base URL in this region (Buddy's documentation, SDKs and Terraform provider)."""
        return URL(f"https://{_HOSTS[self]}")


_HOSTS = {Region.US: "api.buddy.works", Region.EU: "api.eu.buddy.works", Region.AS: "api.asia.buddy.works"}


def parse_base_url(base_url: str | URL) -> URL:
    """Return an API base URL that a token may be sent to.

    Raises:
        ConfigError: It is not an absolute http(s) URL; it is plain http to a host that is not this machine, so that
            the token would travel in the clear; or it holds user info, a query or a fragment.
    """
    try:
        url = URL(base_url)
    except (ValueError, TypeError):
        # Not shown: what cannot be read may hold a password all the same.
        raise ConfigError("the base URL is no URL: use https://HOST, or https://HOST/api on premises") from None
    if url.user is not None or url.password is not None:
        raise ConfigError("a base URL holds no user or password: the token is what authenticates")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"{base_url} must be absolute, such as https://api.buddy.works")
    if url.query_string or url.fragment:
        raise ConfigError(f"{base_url} must end with its path: no query and no fragment")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigError(f"{base_url} would send the token in the clear: use https")
    return url.with_path(url.raw_path.rstrip("/"), encoded=True)


def sessions_url(base_url: URL, key: SuiteKey) -> URL:
    """Return the URL of a suite's sessions, without its query.

    Raises:
        ConfigError: A name in `key` cannot be one segment of a path.
    """
    return _join(suites_url(base_url, key.workspace, key.project), _segment("suite_id", key.suite_id), "sessions")


def suites_url(base_url: URL, workspace: str, project: str) -> URL:
    """Return the URL of a project's suites.

    Raises:
        ConfigError: A name cannot be one segment of a path.
    """
    names = _segment("workspace", workspace), _segment("project", project)
    return _join(base_url, "workspaces", names[0], "projects", names[1], "unit-tests", "suites")


def check_branch(branch: str | None) -> None:
    """Check that a branch can be asked for.

    Raises:
        ConfigError: It is no text, empty, or not to be written in UTF-8.
    """
    if branch is None:
        return
    if not isinstance(branch, str) or not branch:
        raise ConfigError("branch must be a branch's name, or None for all branches")
    _utf8("branch", branch)


def _join(base_url: URL, *segments: str) -> URL:
    return base_url.with_path("/".join((base_url.raw_path.rstrip("/"), *segments)), encoded=True)


def _segment(what: str, name: str) -> str:
    """Return `name` as one percent-encoded path segment."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{what} must be a name, not {name!r}")
    return _quoted(what, name)


@lru_cache(maxsize=512)  # a harvest asks for thousands of suites, of few projects
def _quoted(what: str, name: str) -> str:
    _utf8(what, name)
    # A server, or a proxy before it, may decode once more than it should: what would then move is refused as well.
    for text in (name, unquote(name)):
        if text in {".", ".."} or "/" in text or not text.isprintable():
            raise ConfigError(f"{what} {name!r} cannot be one segment of a path")
    return quote(name, safe="")


def _utf8(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} {text!r} holds half a character") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
