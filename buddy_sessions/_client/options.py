"""The keyword arguments of `BuddyClient`, their values in the environment, and what is made of them."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Awaitable, Callable
from enum import StrEnum
from ssl import SSLContext
from typing import TypedDict
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from .._api import Api
from .._base.validate import validate_int, validate_seconds
from .._http.credentials import Credentials, Secret
from .._http.rate_limit import RateLimiter, RequestLimiter
from .._http.transport import Transport, check_proxy
from ..errors import ConfigError

_BASE_URL_VARIABLES = "BUDDY_API_ENDPOINT", "BUDDY_API_URL", "BUDDY_BASE_URL"


class Region(StrEnum):
    """The region of a Buddy account. A token of one region is not valid in another (Buddy's documentation)."""

    US = "US"
    EU = "EU"
    AS = "AS"

    @classmethod
    def parse(cls, text: str) -> Region:
        """Return the region with this name, in upper or lower case. Raises ConfigError if there is none."""
        try:
            return cls(text.strip().upper())
        except (ValueError, AttributeError):
            advice = f"use {', '.join(cls)}, or {{base_url}} for your own server"
            raise ConfigError(f"unknown region {text!r}", advice=advice) from None

    @property
    def host(self) -> str:
        """The host of its API (Buddy's documentation, SDKs and Terraform provider)."""
        return {Region.US: "api.buddy.works", Region.EU: "api.eu.buddy.works", Region.AS: "api.asia.buddy.works"}[self]


class ClientOptions(TypedDict, total=False):
    """The keyword arguments of `BuddyClient`, which describes them. All are optional."""

    region: Region | str | None
    base_url: str | URL | None
    http_session: aiohttp.ClientSession | None
    ssl: SSLContext | None
    trust_env: bool
    per_page: int
    read_ahead: int
    max_concurrency: int
    timeout: float
    max_attempts: int
    max_wait: float
    backoff: float
    limiter: RequestLimiter | None


def token_from_environment() -> str:
    """Return `BUDDY_TOKEN`. Raises `ConfigError` if it is not set."""
    token = os.environ.get("BUDDY_TOKEN", "")
    if not token:
        raise ConfigError(
            "no token: set BUDDY_TOKEN to a personal access token with the scope UNIT_TEST_READ "
            "(the BUDDY_UT_TOKEN of a suite can only write)"
        )
    return token


def options_from_environment(options: ClientOptions) -> ClientOptions:
    """Return the options, with the base URL and the region of the environment if the options have neither."""
    region, base_url = options.get("region"), options.get("base_url")
    if region is None and base_url is None:
        base_url = next(filter(None, map(os.environ.get, _BASE_URL_VARIABLES)), None)
    if region is None and base_url is None:
        region = os.environ.get("BUDDY_REGION") or None
    return {**options, "region": region, "base_url": base_url}


def new_api(token: Secret | Callable[[], Awaitable[str]], options: ClientOptions) -> Api:
    """Return Buddy's API as a client reads it. Raises TypeError for an unknown option, as Python does for arguments."""
    if unknown := sorted(options.keys() - ClientOptions.__annotations__.keys()):
        raise TypeError(f"BuddyClient got an unexpected keyword argument {unknown[0]!r}")
    region, base_url = options.get("region"), options.get("base_url")
    if region is not None and base_url is not None:
        raise ConfigError("a region and a base URL exclude each other", advice="leave out {region} or {base_url}")
    region = Region.US if region is None else Region.parse(region)
    url = parse_base_url(f"https://{region.host}" if base_url is None else base_url)
    max_concurrency = _max_concurrency(options)
    timeout = validate_seconds("timeout", options.get("timeout", 30.0))
    max_wait = validate_seconds("max_wait", options.get("max_wait", 300.0), zero_allowed=True)
    http_session = options.get("http_session")
    if http_session is not None:
        check_proxy(http_session, url)
    uses_environment = options.get("trust_env", False) and http_session is None
    transport = Transport(
        Credentials(token, timeout),
        RateLimiter(max_concurrency=max_concurrency, max_wait=max_wait, limiter=options.get("limiter")),
        http_session=http_session,
        ssl_context=options.get("ssl"),
        max_concurrency=max_concurrency,
        timeout=timeout,
        max_attempts=validate_int("max_attempts", options.get("max_attempts", 4)),
        max_wait=max_wait,
        backoff=validate_seconds("backoff", options.get("backoff", 0.5), zero_allowed=True),
        proxy=_environment_proxy(url) if uses_environment else None,
    )
    return Api(
        transport,
        url,
        per_page=validate_int("per_page", options.get("per_page", 100)),
        read_ahead=validate_int("read_ahead", options.get("read_ahead", 4)),
        max_concurrency=max_concurrency,
    )


def _max_concurrency(options: ClientOptions) -> int:
    """Return `max_concurrency`, reduced to the connections of the `http_session`: a request must not wait for one.

    aiohttp counts such a wait in the timeout of the request.
    """
    connector = getattr(options.get("http_session"), "connector", None)
    connections = (connector.limit, connector.limit_per_host) if isinstance(connector, aiohttp.BaseConnector) else ()
    return min([validate_int("max_concurrency", options.get("max_concurrency", 8)), *filter(None, connections)])


def parse_base_url(base_url: str | URL) -> URL:
    """Return a base URL of the API to which a token may be sent.

    Raises:
        ConfigError: It is not an absolute http(s) URL; it is Buddy's website; it is plain http to another machine, so
            that the token would be sent unencrypted; or it contains user info, a query or a fragment.
    """
    try:
        url = URL(base_url)
    except (ValueError, TypeError):
        # The messages do not show the URL: it may contain a password, or be the token, in the wrong argument.
        raise ConfigError("the base URL is invalid: use https://HOST, or https://HOST/api on premises") from None
    if url.user is not None or url.password is not None:
        raise ConfigError("the base URL contains a user or a password: remove it, the token authenticates")
    if not url.host:
        raise ConfigError("the base URL is not absolute: use one like https://api.buddy.works")
    if url.scheme not in ("http", "https"):
        raise ConfigError("the base URL does not begin with https://: the API has no other protocol")
    if url.host.startswith("app.") and url.host.endswith(".buddy.works"):
        api = f"api.{url.host.removeprefix('app.')}"
        raise ConfigError(f"the base URL is that of Buddy's website: the API is at https://{api}")
    if url.query_string or url.fragment:
        raise ConfigError("the base URL contains a query or a fragment: it must end with its path")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigError(f"the token would be sent unencrypted: use https instead of {base_url}")
    return url.with_path(url.raw_path.rstrip("/"), encoded=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _environment_proxy(base_url: URL) -> URL | None:
    """Return the proxy that the environment names for a base URL, or None. aiohttp would also use `~/.netrc`.

    This machine is reached directly: over http, a proxy on another one would get the token unencrypted.
    """
    proxy = Secret(getproxies().get("https", ""))
    host = base_url.host or ""
    # An entry of NO_PROXY may contain a port.
    if not proxy or _is_loopback(host) or proxy_bypass(host) or proxy_bypass(f"{host}:{base_url.port}"):
        return None
    # It may contain a password, so neither the message nor a local variable shows it.
    with contextlib.suppress(ValueError):
        if URL(proxy.reveal()).scheme in ("http", "https") and URL(proxy.reveal()).host:
            return URL(proxy.reveal())
    raise ConfigError("the proxy in HTTPS_PROXY is invalid: use http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT")
