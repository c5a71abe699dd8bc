import dlt

from buddy_sessions import SuiteKey
from buddy_sessions.dlt import sessions

keys = [SuiteKey.parse("my-company/my-project/MNbyVedg")]
pipeline = dlt.pipeline("buddy", destination="duckdb", dataset_name="ci")
print(pipeline.run(sessions(keys)))  # the token: SOURCES__BUDDY__TOKEN, or dlt's secrets.toml
