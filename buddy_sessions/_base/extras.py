"""Import libraries that an extra of the package installs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ..errors import ConfigError


def import_extra(name: str, *, extra: str) -> ModuleType:
    """Return the module of a library that `extra` installs. Raises ConfigError if it is not installed, or too old."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name.partition('.')[0]} is not installed; run: pip install 'buddy_sessions[{extra}]'"
        ) from error
