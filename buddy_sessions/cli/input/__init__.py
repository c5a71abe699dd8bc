"""What arguments name: suites, sessions, times, files."""
