"""Does a Python program with ADBC, the strictest Flight SQL client, get along?"""

import concurrent.futures
import datetime
import decimal
import threading
import warnings

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import pyarrow as pa
import pytest

from harness.client import Client
from harness.server import Server
from harness.stubs import query
from harness.waiting import until


@pytest.fixture
def cursor(adbc):
    with adbc.cursor() as cursor:
        yield cursor


@pytest.fixture
def table(cursor, table_name):
    cursor.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, name VARCHAR, PRIMARY KEY (id))")
    return table_name


def rows(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchall()


def test_connect_and_select(cursor):
    assert rows(cursor, "SELECT 1") == [(1,)]
    assert rows(cursor, "SELECT 1;") == [(1,)]


def test_several_connections(server):
    connections = [adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) for _ in range(10)]
    for connection in connections:
        with connection.cursor() as cursor:
            assert rows(cursor, "SELECT 1") == [(1,)]
        connection.close()


def test_who_knows_that_there_are_no_transactions_is_warned_of_nothing(server):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection, connection.cursor() as cursor:
            assert rows(cursor, "SELECT 1") == [(1,)]


def test_create_runs_though_no_row_is_fetched(adbc, cursor, table_name):
    """https://github.com/gizmodata/gizmosql/issues/134"""
    with adbc.cursor() as other:
        other.execute(f"CREATE TABLE {table_name} (id BIGINT)")
    assert rows(cursor, f"SELECT count(*) FROM {table_name}") == [(0,)]


def test_insert_runs_once(cursor, table_name):
    """https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1270---2026-06-02"""
    cursor.execute(f"CREATE TABLE {table_name} (id BIGINT)")
    cursor.execute(f"INSERT INTO {table_name} VALUES (1), (1), (2)")
    assert rows(cursor, f"SELECT count(*) FROM {table_name}") == [(3,)]


def test_insert_with_parameters(cursor, table):
    cursor.execute(f"INSERT INTO {table} VALUES (?, ?)", (1, "one"))
    cursor.execute(f"INSERT INTO {table} VALUES ($1, $2)", (2, None))
    assert rows(cursor, f"SELECT * FROM {table} ORDER BY id") == [(1, "one"), (2, None)]


def test_executemany(cursor, table):
    cursor.executemany(f"INSERT INTO {table} VALUES (?, ?)", [(i, f"name {i}") for i in range(1000)])
    assert cursor.rowcount == 1000
    assert rows(cursor, f"SELECT count(*), min(name) FROM {table}") == [(1000, "name 0")]


def test_executemany_is_atomic(cursor, table):
    with pytest.raises(adbc_driver_manager.Error, match="row 2"):
        cursor.executemany(f"INSERT INTO {table} VALUES (?, ?)", [(1, "a"), (2, "b"), (None, "c")])
    assert rows(cursor, f"SELECT count(*) FROM {table}") == [(0,)]


@pytest.mark.parametrize("value", [
    7, -(2**63), 0.5, "text", "", b"\x00\xff", True, None, datetime.date(2024, 2, 29), decimal.Decimal("12.50"),
    datetime.datetime(2024, 2, 29, 1, 2, 3, 456_789),
], ids=repr)  # fmt: skip
def test_parameters_come_back(cursor, value):
    ((answer,),) = rows(cursor, "SELECT ? AS v", (value,))
    assert answer == value


def test_parameters_in_where(cursor, table):
    cursor.execute(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    for n, expected in ((1, 2), (2, 1), (3, 0)):
        assert rows(cursor, f"SELECT count(*) FROM {table} WHERE id > ?", (n,)) == [(expected,)]


def test_schema_equals_what_is_sent(cursor, table):
    """The driver refuses a stream whose schema differs from the announced one.

    https://github.com/datafusion-contrib/datafusion-flight-sql-server/issues/51
    """
    cursor.execute(f"INSERT INTO {table} VALUES (1, 'a')")
    for expression in (
        "min(id)", "max(name)", "count(*)", "avg(id)", "sum(id)", "NULL", "now()", "CASE WHEN id > 0 THEN 'x' END", "coalesce(name, 'y')",
        "CAST(name AS VARCHAR)", "concat(name, 'z')", "row_number() OVER ()", "array_agg(id)", "median(id)", "'literal'",
        "CAST('2024-01-01' AS TIMESTAMP)", "INTERVAL '1 day'", "arrow_cast(name, 'Utf8View')", "arrow_cast(name, 'Dictionary(Int32, Utf8)')",
    ):  # fmt: skip
        group = " GROUP BY id, name" if expression.startswith(("CASE", "coalesce", "CAST(name", "concat", "arrow")) else ""
        sql = f"SELECT {expression} AS v FROM {table}{group}"
        for text in (sql, f"{sql} LIMIT 0", f"SELECT * FROM ({sql}) AS q UNION ALL ({sql})"):
            cursor.execute(text)
            cursor.fetch_arrow_table()


@pytest.mark.parametrize("sql", [
    "EXPLAIN SELECT 1", "SHOW timezone", "DESCRIBE {table}", "SELECT version()", "SELECT * FROM information_schema.tables",
])  # fmt: skip
def test_statements_with_rows(cursor, table, sql):
    cursor.execute(sql.format(table=table))
    answer = cursor.fetch_arrow_table()
    assert answer.num_columns > 0 and answer.num_rows > 0 and answer.column(0).null_count == 0


@pytest.mark.parametrize(("sql", "row"), [
    ("VALUES (1, 'a')", (1, "a")), ("SELECT 1 AS a, 2 AS a", (1, 2)), ("SELECT current_catalog", ("tidewater",)),
    ("SELECT current_schema()", ("public",)), ("SELECT current_schema", ("public",)),
])  # fmt: skip
def test_what_tools_ask_first(cursor, sql, row):
    assert rows(cursor, sql) == [row]


def test_empty_answer_has_its_schema(cursor, table):
    cursor.execute(f"SELECT id, name FROM {table}")
    answer = cursor.fetch_arrow_table()
    assert (answer.num_rows, answer.schema.types) == (0, [pa.int64(), pa.string()])


def test_many_rows(cursor):
    cursor.execute("SELECT value FROM generate_series(1, 300000) AS s(value)")
    column = cursor.fetch_arrow_table().column(0)
    assert (len(column), sum(column.to_pylist())) == (300_000, 300_000 * 300_001 // 2)


@pytest.mark.parametrize("depth", ["catalogs", "db_schemas", "tables", "columns"])
def test_get_objects(adbc, table, depth):
    """https://github.com/gizmodata/gizmosql/issues/164"""
    (catalog,) = adbc.adbc_get_objects(depth=depth).read_all().to_pylist()
    assert catalog["catalog_name"] == "tidewater"
    if depth == "catalogs":
        return
    schemas = {schema["db_schema_name"]: schema for schema in catalog["catalog_db_schemas"]}
    assert {"public", "system", "information_schema"} <= set(schemas)
    if depth == "db_schemas":
        return
    found = {entry["table_name"]: entry for entry in schemas["public"]["db_schema_tables"]}[table]
    assert found["table_type"] == "TABLE"
    if depth == "columns":
        assert [column["column_name"] for column in found["table_columns"]] == ["id", "name"]
        assert all(column["xdbc_type_name"] for column in found["table_columns"])


def test_get_objects_with_filters(adbc, table):
    def names(**filters):
        schemas = [s for c in adbc.adbc_get_objects(depth="tables", **filters).read_all().to_pylist() for s in c["catalog_db_schemas"]]
        return {entry["table_name"] for schema in schemas for entry in schema["db_schema_tables"] or []}

    assert names(table_name_filter=table) == {table}
    assert names(table_name_filter="no such table") == set()
    assert table in names(table_types_filter=["TABLE"]) and table not in names(table_types_filter=["VIEW"])
    # pandas.read_sql asks for a table of the name of the whole statement.
    assert names(table_name_filter="SELECT 'x%' FROM t WHERE a LIKE '_\\' " + "y" * 100_000) == set()


def test_table_types_and_schema(adbc, table):
    assert {"TABLE", "VIEW", "SYSTEM TABLE"} <= set(adbc.adbc_get_table_types())
    schema = adbc.adbc_get_table_schema(table)
    assert (schema.names, schema.types) == (["id", "name"], [pa.int64(), pa.string()])
    with pytest.raises(adbc_driver_manager.Error) as missing:
        adbc.adbc_get_table_schema("no_such_table")
    assert missing.value.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND


def test_get_info(adbc):
    info = adbc.adbc_get_info()
    assert info["vendor_name"].lower() == "tidewater"
    assert info["vendor_version"]


def test_prepare_tells_schemas(adbc, cursor, table):
    assert cursor.adbc_prepare(f"SELECT name FROM {table} WHERE id = ?").types == [pa.int64()]
    schema = cursor.adbc_execute_schema(f"SELECT id, name FROM {table}")
    assert (schema.names, schema.types) == (["id", "name"], [pa.int64(), pa.string()])


# Hours of work that yields often, and minutes of work between two batches of a join.
COUNT = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 1000000000) SELECT count(*) FROM t"
JOIN = "SELECT count(*) FROM generate_series(1, 100000) AS a(x), generate_series(1, 100000) AS b(y) WHERE (a.x * b.y) % 7 = 3"


def running(client, marker):
    return client.rows(
        f"SELECT query_id FROM system.queries WHERE state = 'running' AND sql LIKE '%{marker}%' AND sql NOT LIKE '%system.queries%'"
    )


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_cancel(server, how):
    marker = f"4711{len(how)}"
    with (
        Client(server.grpc, timeout_s=20) as client,
        adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection,
    ):
        slow = connection.cursor()
        slow.execute(f"{COUNT} WHERE {marker} = {marker}")
        until(lambda: running(client, marker), "the query runs")
        if how == "cancel":
            slow.adbc_cancel()
        slow.close()
        until(lambda: not running(client, marker), "the query is gone")


@pytest.mark.parametrize("what", ["fetch", "update"])
def test_a_timeout_ends_the_query_at_the_server_too(server, table_name, what):
    """`fetch` is of DoGet, where rows are made; `update` of DoPut, where a change runs."""
    marker = {"fetch": 47121, "update": 47122}[what]
    sql = f"{COUNT} WHERE {marker} = {marker}"
    options = {f"adbc.flight.sql.rpc.timeout_seconds.{what}": "1"}
    with (
        Client(server.grpc, timeout_s=20) as client,
        adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", conn_kwargs=options, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        with pytest.raises(adbc_driver_manager.OperationalError) as ended:
            cursor.execute(sql if what == "fetch" else f"CREATE TABLE {table_name} AS {sql}")
            cursor.fetchall()
        assert ended.value.status_code == adbc_driver_manager.AdbcStatusCode.TIMEOUT, ended.value
        until(lambda: not running(client, marker), "the query is gone")
        states = client.rows(f"SELECT DISTINCT state FROM system.queries WHERE sql LIKE '%{marker}%' AND sql NOT LIKE '%system.queries%'")
        assert states and ("finished",) not in states, states
        assert client.value(f"SELECT count(*) FROM system.tables WHERE name = '{table_name}'") == 0


def test_a_heavy_query_leaves_the_others_alone(tmp_path):
    server = Server(tmp_path / "server").start()
    try:
        with Client(server.grpc, timeout_s=10) as client:
            responses = client.queries.Execute(query.QueryRequest(sql=JOIN), timeout=60)
            assert next(responses).HasField("started")
            for _ in range(20):
                assert client.value("SELECT 1") == 1
            responses.cancel()
    finally:
        server.kill()


@pytest.mark.parametrize(("sql", "error", "text"), [
    ("SELEC 1", adbc_driver_manager.ProgrammingError, "SELEC|syntax|Expected"),
    ("SELECT * FROM no_such_table", adbc_driver_manager.ProgrammingError, "table '.*no_such_table' not found"),
    ("SELECT no_such_column FROM system.tables", adbc_driver_manager.ProgrammingError, "no_such_column"),
    ("SELECT no_such_function(1)", adbc_driver_manager.Error, "no_such_function"),
    ("UPDATE system.tables SET name = 'x'", adbc_driver_manager.NotSupportedError, "UPDATE"),
    ("SELECT 1; SELECT 2", adbc_driver_manager.ProgrammingError, "one statement"),
    ("SELECT 1 / 0", adbc_driver_manager.Error, "(?i)divi.* by zero"),
    ("SELECT * FROM system.tables TABLESAMPLE (10)", adbc_driver_manager.Error, "(?i)sample"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_errors(cursor, sql, error, text):
    with pytest.raises(error, match=text) as caught:
        cursor.execute(sql)
        cursor.fetchall()
    message = str(caught.value)
    assert "TW-" in message and "\n" not in message.strip(), message


def test_wrong_parameters(cursor, table):
    with pytest.raises(adbc_driver_manager.ProgrammingError, match="expected 2 parameters, got 1.*TW-1006"):
        rows(cursor, f"SELECT * FROM {table} WHERE id = ? AND name = ?", (1,))
    with pytest.raises(adbc_driver_manager.ProgrammingError, match="parameter 1: 'no number' is no BIGINT.*TW-1006"):
        rows(cursor, f"SELECT * FROM {table} WHERE id = ?", ("no number",))
    assert rows(cursor, "SELECT 1") == [(1,)]


def test_what_is_wrong_is_said_as_such(cursor, table):
    """The driver hides other codes: "unknown", or that there is nothing to bind the values to."""
    for sql, values, text in [
        (f"UPDATE {table} SET id = ?", (1,), "UPDATE is not supported.*TW-1003"),
        (f"INSERT INTO {table} (name) VALUES ('a')", None, "column 'id'.*TW-1203"),
    ]:
        with pytest.raises(adbc_driver_manager.ProgrammingError, match=text):
            cursor.execute(sql, values)


def test_ingest_modes(adbc, cursor, table_name):
    data = pa.table({"id": [1, 2], "name": ["a", "b"]})
    with pytest.raises(adbc_driver_manager.Error, match="NOT_FOUND.*TW-1010"):
        cursor.adbc_ingest(table_name, data, mode="append")
    cursor.adbc_ingest(table_name, data, mode="create")
    with pytest.raises(adbc_driver_manager.Error, match="ALREADY_EXISTS.*TW-1014"):
        cursor.adbc_ingest(table_name, data, mode="create")
    cursor.adbc_ingest(table_name, data, mode="create_append")
    assert rows(cursor, f"SELECT count(*) FROM {table_name}") == [(4,)]
    # Columns match by name; what cannot be matched is refused as a whole.
    cursor.adbc_ingest(table_name, data.select(["name", "id"]), mode="append")
    with pytest.raises(adbc_driver_manager.Error, match="ALREADY_EXISTS.*'other'.*TW-1203"):
        cursor.adbc_ingest(table_name, data.append_column("other", pa.array([1, 2])), mode="append")
    assert rows(cursor, f"SELECT count(*), sum(id) FROM {table_name}") == [(6, 9)]


def test_ingest_of_bad_rows_is_refused_as_a_whole(cursor, table):
    data = pa.table({"id": pa.array([1, None], pa.int64()), "name": ["a", "b"]})
    with pytest.raises(adbc_driver_manager.ProgrammingError, match="'id'.*TW-1204"):
        cursor.adbc_ingest(table, data, mode="append")
    assert rows(cursor, f"SELECT count(*) FROM {table}") == [(0,)]


def test_ingest_of_nothing(cursor, table):
    """The driver sends no message for a table without rows, so nobody knows what it is for."""
    empty = pa.table({"id": pa.array([], pa.int64()), "name": pa.array([], pa.string())})
    with pytest.raises(adbc_driver_manager.ProgrammingError, match="no FlightDescriptor"):
        cursor.adbc_ingest(table, empty, mode="append")
    assert rows(cursor, f"SELECT count(*) FROM {table}") == [(0,)]


def test_ingest_of_no_rows_makes_the_table(cursor, table_name):
    empty = pa.table({"id": pa.array([], pa.int64()), "name": pa.array([], pa.string())})
    # A reader without a batch sends nothing at all; one with an empty batch sends the schema.
    reader = pa.RecordBatchReader.from_batches(empty.schema, [pa.RecordBatch.from_pylist([], empty.schema)])
    assert cursor.adbc_ingest(table_name, reader, mode="create") == 0
    assert rows(cursor, f"SELECT count(*) FROM {table_name}") == [(0,)]


def test_an_empty_reader_is_told_so_at_once(cursor, table_name):
    reader = pa.RecordBatchReader.from_batches(pa.schema([("id", pa.int64())]), [])
    with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT.*no FlightDescriptor"):
        cursor.adbc_ingest(table_name, reader, mode="create")


FITTING = [
    (pa.array([1], pa.int32()), pa.array(["a"]), (1, "a")),
    (pa.array([1], pa.int64()), pa.array(["a"], pa.string_view()), (1, "a")),
    (pa.array([1], pa.int64()), pa.array(["a"]).dictionary_encode(), (1, "a")),
    (pa.array([1], pa.int64()), pa.array(["a"], pa.large_string()), (1, "a")),
    (pa.array([1], pa.int64()), pa.nulls(1), (1, None)),
]


@pytest.mark.parametrize(("id_", "name", "row"), FITTING, ids=[f"{i.type} {n.type}"[:40] for i, n, _ in FITTING])
def test_ingest_casts_what_fits(cursor, table_name, id_, name, row):
    cursor.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, name VARCHAR)")
    # In another order than the table's.
    assert cursor.adbc_ingest(table_name, pa.table({"name": name, "id": id_}), mode="append") == 1
    assert rows(cursor, f"SELECT id, name FROM {table_name}") == [row]


def test_ingest_of_times(cursor, table_name):
    cursor.execute(f"CREATE TABLE {table_name} (id BIGINT, wall TIMESTAMP, instant TIMESTAMPTZ)")
    moment = datetime.datetime(2026, 1, 31, 12)
    data = pa.table(
        {
            "id": [1],
            "wall": pa.array([moment], pa.timestamp("ms")),
            "instant": pa.array([moment], pa.timestamp("s", "Europe/Berlin")),
        }
    )
    cursor.adbc_ingest(table_name, data, mode="append")
    (row,) = rows(cursor, f"SELECT wall, instant FROM {table_name}")
    assert (row[0], row[1].astimezone(datetime.timezone.utc).replace(tzinfo=None)) == (moment, moment)


def test_ingest_of_columns_that_do_not_fit(cursor, table):
    for data, problem in [
        ({"id": [1], "more": [1]}, "'more' is not in the table"),
        ({"name": ["a"]}, "'id' is missing"),
        ({"id": pa.array([[1]])}, "'id' is"),
    ]:
        with pytest.raises(adbc_driver_manager.Error, match="ALREADY_EXISTS") as refused:
            cursor.adbc_ingest(table, pa.table(data), mode="append")
        assert problem in str(refused.value)
    cursor.adbc_ingest(table, pa.table({"id": [1]}), mode="append")
    assert rows(cursor, f"SELECT id, name FROM {table}") == [(1, None)]


def test_ingest_replaces_a_table(adbc, cursor, table_name):
    assert cursor.adbc_ingest(table_name, pa.table({"id": [1, 2], "name": ["a", "b"]}), mode="replace") == 2
    # The new one has the shape of its own data.
    assert cursor.adbc_ingest(table_name, pa.table({"n": [1.5]}), mode="replace") == 1
    assert adbc.adbc_get_table_schema(table_name).names == ["n"]
    assert rows(cursor, f"SELECT * FROM {table_name}") == [(1.5,)]
    bad = pa.table({"a_name_that_is_too_long" * 20: [1]})
    with pytest.raises(adbc_driver_manager.ProgrammingError, match="460 bytes, more than 255"):
        cursor.adbc_ingest(table_name, bad, mode="replace")
    assert rows(cursor, f"SELECT * FROM {table_name}") == [(1.5,)]
    # What was replaced is a dropped table like any other.
    cursor.execute(f"ALTER TABLE {table_name} RENAME TO {table_name}_new")
    cursor.execute(f"UNDROP TABLE {table_name}")
    assert rows(cursor, f"SELECT id, name FROM {table_name} ORDER BY id") == [(1, "a"), (2, "b")]


def test_readers_see_the_table_before_or_the_one_after(server, cursor, table_name):
    """F06: replaced again and again while others read; no answer is empty, mixed or an error."""

    def generation(n: int) -> pa.Table:
        return pa.table({"n": pa.array([n] * 1000), "row": pa.array(range(1000))})

    cursor.adbc_ingest(table_name, generation(0), mode="replace")
    done, n_readers = threading.Event(), 2
    begun = threading.Barrier(n_readers + 1)

    def read() -> set[int]:
        seen = set()
        with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection, connection.cursor() as reader:
            while not done.is_set():
                ((count, low, high),) = rows(reader, f"SELECT count(*), min(n), max(n) FROM {table_name}")
                assert (count, low) == (1000, high)
                if not seen:
                    begun.wait(60)
                seen.add(low)
        return seen

    with concurrent.futures.ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(n_readers)]
        try:
            begun.wait(60)
            for n in range(1, 21):
                cursor.adbc_ingest(table_name, generation(n), mode="replace")
        finally:
            done.set()
        seen = set().union(*(reader.result(timeout=60) for reader in readers))
        assert len(seen) > 1 and 0 in seen, "nobody read while it was replaced"
    assert rows(cursor, f"SELECT count(*), min(n) FROM {table_name}") == [(1000, 20)]


def test_create_or_replace_as(cursor, table):
    cursor.execute(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b')")
    cursor.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT id * 10 AS tens FROM {table}")
    assert rows(cursor, f"SELECT tens FROM {table} ORDER BY tens") == [(10,), (20,)]
