"""Many suites: once, on a schedule, as changes or as a status."""
