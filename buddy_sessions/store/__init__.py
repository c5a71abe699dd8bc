"""`SessionStore`: a SQLite database of sessions that is kept up to date."""

from .store import SessionStore

__all__ = ["SessionStore"]
