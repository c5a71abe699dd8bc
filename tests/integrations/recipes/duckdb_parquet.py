import duckdb

duckdb.sql("""
    SELECT ref_name, created_by_name AS who, avg(duration) AS seconds, max(create_date) AS latest
    FROM 'sessions.parquet' GROUP BY ALL ORDER BY seconds DESC
""").show()
