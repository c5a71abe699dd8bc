import duckdb

duckdb.sql("SET sqlite_all_varchar = true; ATTACH 'sessions.db' AS buddy (TYPE sqlite)")
duckdb.sql("""
    SELECT suite_id, created_by->>'name' AS who, avg(duration::DOUBLE) AS seconds
    FROM buddy.sessions WHERE deleted_at IS NULL GROUP BY ALL ORDER BY seconds DESC
""").show()
