"""This package without the extra: msgspec cannot be imported in this process."""

from __future__ import annotations

import sys

sys.modules["msgspec"] = None  # type: ignore[assignment]  # the documented way to make an import fail

from peers.ours import decode, read  # noqa: E402 - only now

__all__ = ["decode", "read"]
