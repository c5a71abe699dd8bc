import dlt

from buddy_sessions.dlt import buddy_source

pipeline = dlt.pipeline("buddy", destination="duckdb", dataset_name="ci")
source = buddy_source(["acme/storefront/MNbyVedg"])  # token: SOURCES__BUDDY__TOKEN, or secrets.toml
print(pipeline.run(source))  # or only the sessions: source.with_resources("sessions")
