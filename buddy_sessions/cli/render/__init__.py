"""How data and progress are written: tables, rows for programs, JUnit XML."""
