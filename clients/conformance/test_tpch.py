"""Are the 22 queries of TPC-H answered right, over tables that came through ADBC's bulk ingest, in memory and sealed?"""

import importlib.metadata

import adbc_driver_flightsql.dbapi
import duckdb
import pyarrow as pa
import pytest

from harness import compare, results, tpch
from harness.server import Server

BATCH_ROWS = 50_000
SCALES = [pytest.param(0.01, id="sf0.01"), pytest.param(tpch.ANSWERED_SCALE, id="sf0.1", marks=pytest.mark.slow)]


def load(cursor, tables: dict[str, pa.Table]):
    """In batches: the driver sends a batch as one message, of at most 16 MiB."""
    for name, table in tables.items():
        assert cursor.adbc_ingest(name, table.to_reader(BATCH_ROWS), mode="create") == table.num_rows


def run(cursor, sql: str) -> pa.Table:
    cursor.execute(sql)
    return cursor.fetch_arrow_table()


def problem(query: tpch.Query, ours: pa.Table, theirs: pa.Table, scale: float) -> str | None:
    if different := compare.difference(ours, tpch.as_ours(ours, theirs)):
        return f"not as DuckDB: {different}"
    if scale == tpch.ANSWERED_SCALE and tpch.printed(ours) != query.answer:
        return f"not as published: {tpch.printed(ours)[:3]} for {query.answer[:3]}"
    return None


def wrong(cursor, expected: dict[str, pa.Table], scale: float, where: str) -> list[str]:
    """Runs all queries and records each."""
    suite = results.suite("TPC-H", f"tpchgen-cli {importlib.metadata.version('tpchgen-cli')}, DuckDB {duckdb.__version__}")
    found = []
    for query in tpch.queries():
        case = f"{query.name}, scale factor {scale}, {where}"
        try:
            different = problem(query, run(cursor, query.sql), expected[query.name], scale)
        except adbc_driver_flightsql.dbapi.Error as refused:
            different = f"refused: {refused}"
        if different:
            suite.fails(case, different)
            found.append(f"{case}: {different}")
        else:
            suite.passes(case)
    return found


@pytest.mark.parametrize("scale", SCALES)
def test_all_22_answers(tmp_path, scale):
    tables = tpch.generate(scale, tmp_path / "data")
    with duckdb.connect() as engine:
        for name, table in tables.items():
            engine.register(name, table)
        expected = {query.name: engine.sql(query.sql).to_arrow_table() for query in tpch.queries()}
    assert len(expected) == 22 and all(answer.num_columns for answer in expected.values())
    server = Server(tmp_path / "server").start()
    try:
        with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection, connection.cursor() as cursor:
            load(cursor, tables)
            bad = wrong(cursor, expected, scale, "just ingested")
            for name, table in tables.items():
                cursor.execute(f"CALL seal('{name}')")
                sealed = run(cursor, f"SELECT realtime_rows, sealed_rows FROM system.tables WHERE name = '{name}'").to_pylist()
                assert sealed == [{"realtime_rows": 0, "sealed_rows": table.num_rows}]
            bad += wrong(cursor, expected, scale, "sealed")
    finally:
        server.kill()
    assert not bad, "\n".join(bad)
