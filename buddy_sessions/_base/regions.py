"""The regions of Buddy, each with an API of its own."""

from __future__ import annotations

from enum import StrEnum

from ..errors import ConfigError


class Region(StrEnum):
    """The region of a Buddy account. A token of one region is not valid in another (Buddy's documentation)."""

    US = "US"
    EU = "EU"
    AS = "AS"

    @classmethod
    def parse(cls, text: str) -> Region:
        """Return the region with this name, in upper or lower case.

        Raises:
            ConfigError: There is no such region.
        """
        try:
            return cls(text.strip().upper())
        except (ValueError, AttributeError):
            raise ConfigError(
                f"unknown region {text!r}: use {', '.join(cls)}, or base_url for your own server"
            ) from None


API_HOSTS = {Region.US: "api.buddy.works", Region.EU: "api.eu.buddy.works", Region.AS: "api.asia.buddy.works"}
"""The host of the API in each region (Buddy's documentation, SDKs and Terraform provider)."""
