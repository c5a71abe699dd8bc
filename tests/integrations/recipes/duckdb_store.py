from pathlib import Path

import duckdb

duckdb.sql("SET sqlite_all_varchar = true")
files = sorted(Path().glob("sessions*.db"))  # one, or those of several processes
for number, file in enumerate(files):
    duckdb.sql(f"ATTACH '{file}' AS file{number} (TYPE sqlite)")
tables = " UNION ALL ".join(f"FROM file{number}.sessions" for number in range(len(files)))
duckdb.sql(f"""
    SELECT suite_id, created_by->>'name' AS who, avg(duration::DOUBLE) AS seconds
    FROM ({tables}) WHERE deleted_at IS NULL GROUP BY ALL ORDER BY seconds DESC
""").show()
