"""Buddy's API: one method for each endpoint, and what is built on one suite's list."""
