"""`SessionStore`: a SQLite database of sessions that is kept up to date."""

from .copies import StoreChange
from .saved_source import SavedSuite
from .store import SessionStore

__all__ = ["SavedSuite", "SessionStore", "StoreChange"]
