"""What does DuckDB answer?"""

import pathlib
import tomllib

import duckdb
import pyarrow as pa

from .data import REPOS

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "oracle"


def queries(file: str) -> list[dict]:
    return tomllib.loads((FOLDER / file).read_text())["query"]


# Over git_events and repos; over kinds.
QUERIES = queries("queries.toml")
KINDS = queries("kinds.toml")


def ours(query: dict) -> str:
    return query.get("ours") or query["sql"]


class Oracle:
    """Answers over exactly these rows, of each table by its name, and `repos`."""

    def __init__(self, **tables: pa.Table):
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        for name, rows in {**tables, "repos": REPOS}.items():
            self._from(rows, f"CREATE TABLE {name} AS FROM in_memory")

    def _from(self, rows: pa.Table, statement: str):
        self.connection.register("in_memory", rows)
        self.connection.execute(statement)
        self.connection.unregister("in_memory")

    def insert(self, table: str, rows: pa.Table):
        self._from(rows, f"INSERT INTO {table} FROM in_memory")

    def execute(self, statement: str) -> int:
        """How many rows a statement changed."""
        ((n,),) = self.connection.execute(statement).fetchall()
        return n

    def answer(self, query: dict) -> pa.Table:
        return self.connection.sql(query.get("duckdb") or query["sql"]).to_arrow_table()
