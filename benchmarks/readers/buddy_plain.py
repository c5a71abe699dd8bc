"""This package without the extra `[speed]`: in this process, msgspec cannot be imported."""

from __future__ import annotations

import sys

sys.modules["msgspec"] = None  # type: ignore[assignment]  # the documented way to make an import fail

from readers.buddy import read  # noqa: E402 - the import must fail from the beginning

__all__ = ["read"]
