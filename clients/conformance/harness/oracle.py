"""What does DuckDB answer?"""

import pathlib
import tomllib

import duckdb
import pyarrow as pa

from .data import REPOS

QUERIES = tomllib.loads((pathlib.Path(__file__).resolve().parents[1] / "oracle/queries.toml").read_text())["query"]


def ours(query: dict) -> str:
    return query.get("ours") or query["sql"]


class Oracle:
    """Answers over exactly these events."""

    def __init__(self, events: pa.Table):
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.register("events_in_memory", events)
        self.connection.register("repos_in_memory", REPOS)
        self.connection.execute("CREATE TABLE git_events AS FROM events_in_memory")
        self.connection.execute("CREATE TABLE repos AS FROM repos_in_memory")

    def answer(self, query: dict) -> pa.Table:
        return self.connection.sql(query.get("duckdb") or query["sql"]).to_arrow_table()
