"""Rows of sessions and test cases, and files of them: JSON lines, CSV, Parquet."""
