"""Reads a list by page number while the list changes: which pages to request, which to trust (see README.md)."""
