"""The command `report`: write a database as one HTML page."""

from .command import report

__all__ = ["report"]
