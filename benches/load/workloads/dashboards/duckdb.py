"""What does DuckDB answer, in what time? Requests come as lines of JSON on stdin, answers go as lines of JSON to stdout."""

import json
import sys
import time

import duckdb
import pyarrow as pa

# Views over files, and tables of DuckDB's own with the same rows.
KINDS = ("files", "table")


class Database:
    def __init__(self, path: str, threads: int):
        self.database = duckdb.connect(path, config={"threads": threads})
        # The files never change: their footers are read once, as the other engines do.
        self.database.execute("SET parquet_metadata_cache = true")
        # It would stand between the answers.
        self.database.execute("SET enable_progress_bar = false")
        self.connections = {}
        for kind in KINDS:
            self.database.execute(f"CREATE SCHEMA of_{kind}")
            self.connections[kind] = self.database.cursor()
            self.connections[kind].execute(f"SET schema = 'of_{kind}'")

    def view(self, table: str, files: list[str]) -> dict:
        self.database.execute(f"CREATE OR REPLACE VIEW of_files.{table} AS SELECT * FROM read_parquet({files!r})")
        return {}

    def load(self, table: str, order: str, key: str) -> dict:
        """Sorted as our files are, the key indexed: the best that DuckDB has for these queries. Made once, before anything is timed."""
        begun = time.perf_counter()
        self.database.execute(f"CREATE TABLE of_table.{table} AS SELECT * FROM of_files.{table} ORDER BY {order}")
        self.database.execute(f"CREATE UNIQUE INDEX {table}_key ON of_table.{table} ({key})")
        self.database.execute("CHECKPOINT")
        return {"load_s": time.perf_counter() - begun}

    def run(self, kind: str, statements: list[str]) -> dict:
        connection = self.connections[kind]
        return {"calls": [call(connection, sql) for sql in statements]}


def call(connection: duckdb.DuckDBPyConnection, sql: str) -> dict:
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    # As Arrow, like the others: making Python's own objects would take longer than many a query.
    answer = connection.sql(sql).to_arrow_table()
    wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
    columns = [texts(column) for column in answer.columns]
    return {"wall_ms": wall / 1e6, "cpu_ms": cpu / 1e6, "rows": [list(row) for row in zip(*columns)]}


def texts(column: pa.ChunkedArray) -> list[str]:
    """Numbers in decimal, times as microseconds since 1970."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    return ["NULL" if value is None else str(value) for value in column.to_pylist()]


def main():
    database = None
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("what")
        if what == "open":
            database = Database(**request)
            answer = {"version": duckdb.__version__}
        else:
            answer = getattr(database, what)(**request)
        print(json.dumps(answer), flush=True)


main()
