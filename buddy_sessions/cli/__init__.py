"""The command line, the extra `[cli]`."""

from .app import run

__all__ = ["run"]
