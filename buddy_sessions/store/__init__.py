"""`SessionStore`: a SQLite database of sessions that is kept up to date."""

from .copies import StoreChange
from .store import SessionStore
from .suites import SavedSuite

__all__ = ["SavedSuite", "SessionStore", "StoreChange"]
