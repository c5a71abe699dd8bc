import sqlite3
from contextlib import closing

import duckdb
import pandas as pd

with closing(sqlite3.connect("sessions.db")) as store:
    sessions = pd.read_sql("SELECT * FROM sessions WHERE deleted_at IS NULL", store, parse_dates=["create_date"])
duckdb.sql("SELECT suite_id, count(*) AS runs, avg(duration) AS seconds FROM sessions GROUP BY ALL").show()
