"""Simulated histories of CI, of which the truth is known."""
