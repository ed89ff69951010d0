"""DuckDB reads and writes Delta tables, with its delta extension."""

import pathlib

import duckdb
import duckdb_ext
from lines import serve

EXTENSIONS = pathlib.Path(next(iter(duckdb_ext.__path__))) / "extensions"


def attached(location: str, version: int | None = None):
    connection = duckdb.connect(config={"extension_directory": str(EXTENSIONS), "autoinstall_known_extensions": "false"})
    connection.execute("LOAD delta")
    connection.execute("SET TimeZone = 'UTC'")
    at = "" if version is None else f", VERSION {version}"
    connection.execute(f"ATTACH '{location}' AS t (TYPE delta{at})")
    return connection


def read(location, version, to):
    attached(location, version).execute(f"COPY (FROM t) TO '{to}' (FORMAT parquet)")


def insert(location):
    attached(location).execute("INSERT INTO t FROM t LIMIT 1")


serve(read, {"insert": insert})
