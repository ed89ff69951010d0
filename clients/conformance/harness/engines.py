"""Which other engines read our Delta tables, and how do they try to write? Each reads a version as a pyarrow table."""

import itertools
import json
import os
import pathlib
import subprocess

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field, QueryBuilder, write_deltalake
from deltalake.schema import PrimitiveType

from .delta import Log

WORKERS = pathlib.Path(__file__).resolve().parent / "workers"


class Deltalake:
    """By its Arrow reader."""

    writes = [
        "append", "overwrite", "delete", "delete all", "update", "merge", "compact", "z-order", "restore", "set properties", "add column",
    ]  # fmt: skip

    def __init__(self, folder: pathlib.Path):
        pass

    def can_read(self, log: Log) -> bool:
        return "deletionVectors" not in log.last("protocol").get("readerFeatures", [])

    def read(self, location: str, version: int | None = None, options: dict | None = None) -> pa.Table:
        return DeltaTable(location, version=version, storage_options=options).to_pyarrow_table()

    def write(self, kind: str, location: str):
        table = DeltaTable(location)
        row = query(location, "SELECT * FROM t LIMIT 1")
        match kind:
            case "append" | "overwrite":
                write_deltalake(location, row, mode=kind)
            case "delete":
                table.delete("id = 1")
            case "delete all":
                table.delete()
            case "update":
                table.update(updates={"i8": "1"}, predicate="id = 1")
            case "merge":
                merge = table.merge(row, "s.id = t.id", source_alias="s", target_alias="t")
                merge.when_matched_delete().execute()
            case "compact":
                table.optimize.compact()
            case "z-order":
                table.optimize.z_order(["id"])
            case "restore":
                table.restore(0)
            case "set properties":
                table.alter.set_table_properties({"delta.appendOnly": "true"})
            case "add column":
                table.alter.add_columns([Field("another", PrimitiveType("long"))])

    def close(self):
        pass


def query(location: str, sql: str, *, version: int | None = None, options: dict | None = None) -> pa.Table:
    """What deltalake's QueryBuilder answers; the table is `t`."""
    table = DeltaTable(location, version=version, storage_options=options)
    return pa.table(QueryBuilder().register("t", table).execute(sql))


class DeltalakeQuery(Deltalake):
    """By its QueryBuilder, which knows deletion vectors."""

    writes = []

    def can_read(self, log: Log) -> bool:
        return True

    def read(self, location: str, version: int | None = None, options: dict | None = None) -> pa.Table:
        return query(location, "SELECT * FROM t", version=version, options=options)


class Polars(Deltalake):
    writes = ["append", "overwrite", "merge"]

    def can_read(self, log: Log) -> bool:
        return True

    def read(self, location: str, version: int | None = None, options: dict | None = None) -> pa.Table:
        return pl.scan_delta(location, version=version, storage_options=options).collect().to_arrow()

    def write(self, kind: str, location: str):
        row = pl.read_delta(location).head(1)
        if kind == "merge":
            options = {"predicate": "s.id = t.id", "source_alias": "s", "target_alias": "t"}
            row.write_delta(location, mode="merge", delta_merge_options=options).when_matched_delete().execute()
        else:
            row.write_delta(location, mode=kind)


class Worker:
    """An engine in a process with a Python of its own, which stays for many requests."""

    program: str
    variable: str
    installed_by: str
    writes: list[str]

    def __init__(self, folder: pathlib.Path):
        interpreter = os.environ.get(self.variable)
        if not interpreter:
            pytest.skip(f"NOT CHECKED: {self.variable} is not set: {self.installed_by} installs the engine and says where it is")
        self.folder = folder
        self.numbers = itertools.count()
        self.log = folder / f"{self.program}.log"
        with self.log.open("wb") as log:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen([interpreter, WORKERS / self.program], stdin=pipe, stdout=pipe, stderr=log, text=True)

    def can_read(self, log: Log) -> bool:
        return True

    def read(self, location: str, version: int | None = None) -> pa.Table:
        to = self.folder / f"{next(self.numbers)}.parquet"
        self._ask({"read": location, "version": version, "to": str(to)})
        return pq.read_table(to)

    def write(self, kind: str, location: str):
        self._ask({"write": kind, "at": location})

    def _ask(self, request: dict):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise EOFError(f"{self.program} ended with {self.process.wait()}:\n{self.log.read_text(errors='replace')[-4000:]}")
        if error := json.loads(line).get("error"):
            raise RuntimeError(error)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        finally:
            self.process.kill()


class DuckDb(Worker):
    program, variable, installed_by = "duckdb_delta.py", "TIDEWATER_DUCKDB_PYTHON", "`venv.sh duckdb`"
    writes = ["insert"]


class Spark(Worker):
    program, variable, installed_by = "spark_delta.py", "TIDEWATER_SPARK_PYTHON", "`spark.sh`"
    writes = ["insert", "append", "overwrite", "delete", "update", "merge", "optimize", "add column", "vacuum", "restore"]


ENGINES = {
    "deltalake": Deltalake,
    "deltalake-query": DeltalakeQuery,
    "polars": Polars,
    "duckdb": DuckDb,
    "spark": Spark,
}
