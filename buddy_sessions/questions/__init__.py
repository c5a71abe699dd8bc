"""What people ask about suites, answered the same way from the API and from a database. Judging itself: `analysis`."""
