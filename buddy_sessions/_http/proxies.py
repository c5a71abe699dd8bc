"""The proxy that the environment names."""

from __future__ import annotations

import contextlib
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from ..errors import ConfigError
from .credentials import Secret


def environment_proxy(base_url: URL) -> URL | None:
    """Return the proxy that the environment names for a base URL, or None. aiohttp would also use `~/.netrc`."""
    proxy = Secret(getproxies().get(base_url.scheme, ""))
    host = base_url.host or ""
    # An entry of NO_PROXY may contain a port.
    if not proxy or proxy_bypass(host) or proxy_bypass(f"{host}:{base_url.port}"):
        return None
    if not _is_proxy(proxy):  # the message does not show it: it may contain a password
        variable = f"{base_url.scheme}_proxy".upper()
        raise ConfigError(
            f"the proxy in {variable} is invalid: use http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT"
        )
    return URL(proxy)


def _is_proxy(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return URL(text).scheme in ("http", "https") and bool(URL(text).host)
    return False
