import asyncio

import pandas as pd
import polars as pl

from buddy_sessions import BuddyClient, to_dict


async def main() -> None:
    async with BuddyClient.from_env() as buddy:
        paginator = buddy.sessions("acme/storefront/MNbyVedg")
        rows = [to_dict(session) async for page in paginator.pages() for session in page.sessions]

    runs = pd.DataFrame(rows).astype({"create_date": "datetime64[us, UTC]"})
    print(runs.groupby("ref_name")["duration"].mean().nlargest())

    types = {"duration": pl.Float64, "error_message": pl.String}  # polars knows no type of a column that is all null
    frame = pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)
    frame = frame.with_columns(pl.col("create_date").str.to_datetime(time_zone="UTC"))
    print(frame.group_by("ref_name").agg(pl.mean("duration")).top_k(5, by="duration"))


asyncio.run(main())
