"""The version of this package. `.github/server.json` repeats it."""

__version__ = "0.1.0"
