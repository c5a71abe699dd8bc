import dlt

from buddy_sessions.dlt import sessions

pipeline = dlt.pipeline("buddy", destination="duckdb", dataset_name="ci")
print(pipeline.run(sessions(["acme/storefront/MNbyVedg"])))  # token: SOURCES__BUDDY__TOKEN, or secrets.toml
