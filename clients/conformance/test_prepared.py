"""What do prepared statements promise? Types of parameters, every way to bind them, one commit for all rows of an update, one answer for all rows of a query."""

import datetime
import decimal
import importlib.metadata

import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from harness.flight import content

SUITE = ("ADBC Python driver: prepared statements", importlib.metadata.version("adbc-driver-flightsql"))

PACKAGE = "type.googleapis.com/arrow.flight.protocol.sql."

TABLE = "id BIGINT NOT NULL, name VARCHAR, d DECIMAL(20, 3), at TIMESTAMP, b BOOLEAN"

TYPES = [
    ("SELECT ?", ["null"]),
    ("SELECT $1, $1, $2", ["null", "null"]),
    ("SELECT * FROM {t} WHERE id = ?", ["int64"]),
    ("SELECT * FROM {t} WHERE id = $2 AND name = $1", ["string", "int64"]),
    ("SELECT * FROM {t} WHERE d > ? AND at < ? AND b = ?", ["decimal128(20, 3)", "timestamp[us]", "bool"]),
    ("SELECT * FROM {t} WHERE id IN (?, ?)", ["int64", "int64"]),
    ("SELECT * FROM {t} WHERE name LIKE ?", ["string"]),
    ("SELECT * FROM {t} WHERE at BETWEEN ? AND ?", ["timestamp[us]", "timestamp[us]"]),
    ("SELECT * FROM {t} LIMIT ? OFFSET ?", ["int64", "int64"]),
    ("SELECT coalesce(name, ?) FROM {t}", ["string"]),
    ("SELECT CAST(? AS BIGINT), CAST(? AS DATE)", ["int64", "date32[day]"]),
    ("SELECT CASE WHEN id = ? THEN ? ELSE name END FROM {t}", ["int64", "string"]),
    ("SELECT * FROM {t} WHERE id = (SELECT max(id) FROM {t} WHERE name = ?)", ["string"]),
    ("INSERT INTO {t} VALUES (?, ?, ?, ?, ?)", ["int64", "string", "decimal128(20, 3)", "timestamp[us]", "bool"]),
    ("INSERT INTO {t} (name, id) VALUES ($2, $1)", ["int64", "string"]),
    ("INSERT INTO {t} (id, name, b) VALUES (?, 'x', ?)", ["int64", "bool"]),
    ("INSERT INTO {t} (id, name) SELECT ?, ?", ["int64", "string"]),
    ("DELETE FROM {t} WHERE id = ? OR name = ?", ["int64", "string"]),
]

VALUES = [
    None,
    "text",
    "",
    "Grüße, 世界 '\"",
    0,
    2**63 - 1,
    -(2**63),
    1.5,
    True,
    b"\x00\xff",
    datetime.date(1969, 12, 31),
    datetime.time(23, 59, 59, 999999),
    datetime.datetime(2026, 1, 31, 12, 0, 0, 1),
    datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc),
    decimal.Decimal("-1.50"),
    decimal.Decimal("9" * 38),
    decimal.Decimal("9" * 50),
    decimal.Decimal("9" * 76),
    decimal.Decimal("5E-31"),
]


@pytest.fixture
def cursor(adbc):
    with adbc.cursor() as cursor:
        yield cursor


@pytest.fixture
def table(cursor, table_name):
    cursor.execute(f"CREATE TABLE {table_name} ({TABLE})")
    return table_name


@pytest.fixture
def raw(server):
    """The protocol under the driver, for calls in an order of our own."""
    with flight.connect(f"grpc://{server.grpc}") as client:
        yield Raw(client)


class Raw:
    def __init__(self, client: flight.FlightClient):
        self.client = client

    def prepare(self, sql: str) -> dict[int, bytes | int]:
        """The fields of the answer: 1 is the handle, 2 and 3 are schemas, 4 is whether it is an update."""
        request = flight.Action("CreatePreparedStatement", packed("ActionCreatePreparedStatementRequest", content(1, sql.encode())))
        (result,) = self.client.do_action(request)
        return fields(fields(result.body.to_pybytes())[2])

    def close(self, handle: bytes):
        list(self.client.do_action(flight.Action("ClosePreparedStatement", packed("ActionClosePreparedStatementRequest", content(1, handle)))))

    def put(self, command: str, handle: bytes, rows: pa.RecordBatch | None = None) -> dict[int, bytes | int]:
        """Sends rows, or nothing but a schema without columns, and gives the fields of the answer."""
        schema = rows.schema if rows is not None else pa.schema([])
        writer, reader = self.client.do_put(flight.FlightDescriptor.for_command(packed(command, content(1, handle))), schema)
        with writer:
            if rows is not None:
                writer.write_batch(rows)
            writer.done_writing()
            answer = reader.read()
        return fields(answer.to_pybytes())

    def bind(self, handle: bytes, rows: pa.RecordBatch | None) -> dict[int, bytes | int]:
        return self.put("CommandPreparedStatementQuery", handle, rows)

    def update(self, handle: bytes, rows: pa.RecordBatch | None = None) -> int:
        return self.put("CommandPreparedStatementUpdate", handle, rows).get(1, 0)

    def info(self, handle: bytes) -> flight.FlightInfo:
        return self.client.get_flight_info(flight.FlightDescriptor.for_command(packed("CommandPreparedStatementQuery", content(1, handle))))

    def rows(self, handle: bytes) -> list[dict]:
        info = self.info(handle)
        (endpoint,) = info.endpoints
        table = self.client.do_get(endpoint.ticket).read_all()
        assert table.schema == info.schema
        return table.to_pylist()


def packed(message: str, value: bytes) -> bytes:
    """A message in an Any."""
    return content(1, (PACKAGE + message).encode()) + content(2, value)


def fields(message: bytes) -> dict[int, bytes | int]:
    """The fields of a protobuf message that has each once."""
    found, at = {}, 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            found[tag >> 3] = number()
        else:
            length = number()
            found[tag >> 3], at = message[at : at + length], at + length
    return found


def batch(**columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()})


def query(adbc, sql: str, rows: pa.RecordBatch) -> list[dict]:
    """Binds a batch as it is, which the DB-API of the driver does only for updates."""
    statement = adbc_driver_manager.AdbcStatement(adbc.adbc_connection)
    try:
        statement.set_sql_query(sql)
        statement.prepare()
        statement.bind_stream(pa.RecordBatchReader.from_batches(rows.schema, [rows]))
        stream, _ = statement.execute_query()
        return pa.RecordBatchReader._import_from_c(stream.address).read_all().to_pylist()
    finally:
        statement.close()


def select(cursor, sql: str, parameters=None) -> list[tuple]:
    cursor.execute(sql, parameters)
    return cursor.fetchall()


@pytest.mark.parametrize(("sql", "types"), TYPES, ids=[sql for sql, _ in TYPES])
def test_types_follow_from_where_a_parameter_stands(cursor, sql, types):
    """https://github.com/apache/arrow/issues/33475"""
    cursor.execute(f"CREATE TABLE IF NOT EXISTS typed ({TABLE})")
    schema = cursor.adbc_prepare(sql.format(t="typed"))
    assert [str(field.type) for field in schema] == types
    assert schema.names == [str(i + 1) for i in range(len(types))]


@pytest.mark.parametrize("value", VALUES, ids=[str(value)[:20] + type(value).__name__ for value in VALUES])
def test_bound_values_come_back_as_they_are(cursor, value):
    assert select(cursor, "SELECT ?", (value,)) == [(value,)]
    assert select(cursor, "SELECT $1 IS NULL, $1", (value,)) == [(value is None, value)]


def dense(index: int, *values) -> pa.Array:
    """A parameter as flightsql-dbapi sends each: a union of all types of one row, with the value among those of its type."""
    types = [pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.bool_()]
    children = [pa.array(values if i == index else [], data_type) for i, data_type in enumerate(types)]
    numbers, places = pa.array([index] * len(values), pa.int8()), pa.array(range(len(values)), pa.int32())
    return pa.UnionArray.from_dense(numbers, places, children)


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (dense(0, 7), 7),
        (dense(1, 1.5), 1.5),
        (dense(2, "x"), "x"),
        (dense(3, b"\x00"), b"\x00"),
        (dense(4, True), True),
        (pa.array(["x"]).dictionary_encode(), "x"),
        (pa.array([5], pa.int16()), 5),
        (pa.array(["x"], pa.string_view()), "x"),
        (pa.array([b"x"], pa.binary_view()), b"x"),
        (pa.array(["x"], pa.large_string()), "x"),
        (pa.nulls(1), None),
        (pa.array([[1, None]]), [1, None]),
        (pa.array([{"a": 1}]), {"a": 1}),
    ],
    ids=lambda value: str(value.type)[:30] if isinstance(value, pa.Array) else "",
)
def test_values_in_any_array_are_taken(adbc, array, value):
    (row,) = query(adbc, "SELECT $1 AS v", batch(p=array))
    assert row == {"v": value}


def test_values_of_several_types_in_one_parameter_are_refused(adbc):
    children = [pa.array([1]), pa.array(["x"])]
    mixed = pa.UnionArray.from_dense(pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), children)
    with pytest.raises(adbc_driver_manager.Error, match="parameter 2: .*different types"):
        query(adbc, "SELECT $1, $2", batch(a=[1, 2], b=mixed))


def test_values_that_do_not_fit_are_named_by_their_place(adbc, cursor, table):
    with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT.*parameter 2: 'abc' is no BIGINT"):
        select(cursor, f"SELECT * FROM {table} WHERE name = ? AND id = ?", ("x", "abc"))
    with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT.*parameter 1: "):
        select(cursor, f"SELECT * FROM {table} WHERE id = ?", (b"x",))
    with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT.*expected 1 parameters, got 2"):
        query(adbc, f"SELECT * FROM {table} WHERE id = ?", batch(a=[1], b=[2]))
    with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT.*expected 2 parameters, got 1"):
        query(adbc, f"SELECT * FROM {table} WHERE id = ? AND name = ?", batch(a=[1]))
    with pytest.raises(adbc_driver_manager.Error, match="(?s)INVALID_ARGUMENT.*row 0, column 'd'"):
        cursor.execute(f"INSERT INTO {table} (id, d) VALUES (?, ?)", (1, decimal.Decimal("9" * 50)))
    assert select(cursor, f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_decimal_with_more_digits_than_its_type_ends_no_server(adbc, cursor):
    """https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1220---2026-04-24"""
    forged = pa.Array.from_buffers(pa.decimal128(3, 1), 1, [None, pa.py_buffer((10**37).to_bytes(16, "little", signed=True))])
    for sql in ["SELECT $1", "SELECT $1 + 1", "SELECT CAST($1 AS DECIMAL(38, 30))"]:
        with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT.*parameter 1: "):
            query(adbc, sql, batch(p=forged))
    assert select(cursor, "SELECT 1") == [(1,)]


def test_text_stands_for_what_it_is_compared_with(cursor, table):
    cursor.execute(f"INSERT INTO {table} (id, name, at) VALUES (1, '5', '2026-01-31')")
    assert select(cursor, f"SELECT id FROM {table} WHERE id = ?", ("1",)) == [(1,)]
    assert select(cursor, f"SELECT id FROM {table} WHERE at = ?", ("2026-01-31",)) == [(1,)]
    assert select(cursor, f"SELECT id FROM {table} WHERE name = ?", (5,)) == [(1,)]
    assert select(cursor, f"SELECT id FROM {table} WHERE id = ?", (1.5,)) == []


def test_a_query_runs_once_for_each_row_of_parameters(adbc, cursor, table):
    cursor.execute(f"INSERT INTO {table} (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    sql = f"SELECT id, $2 AS asked FROM {table} WHERE id >= $1 ORDER BY id"
    answer = query(adbc, sql, batch(a=[3, 9, 2], b=["x", "y", "z"]))
    assert answer == [{"id": 3, "asked": "x"}, {"id": 2, "asked": "z"}, {"id": 3, "asked": "z"}]
    answer = query(adbc, "SELECT $1 + 1 AS n", batch(a=list(range(300))))
    assert answer == [{"n": n + 1} for n in range(300)]


def test_a_row_of_parameters_that_fails_fails_the_answer(adbc):
    with pytest.raises((adbc_driver_manager.Error, pa.ArrowException, OSError), match="(?i)zero"):
        query(adbc, "SELECT 1 / $1 AS n", batch(a=[1, 1, 0]))


@pytest.mark.parametrize("values", ["?, ?", "?, 'constant'"], ids=["placeholders", "with a constant"])
def test_executemany_is_one_commit(cursor, table_name, values):
    """https://github.com/apache/arrow-java/issues/931"""
    cursor.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, name VARCHAR)")
    width = values.count("?")
    rows = [(n, "x")[:width] for n in range(10_000)]
    cursor.executemany(f"INSERT INTO {table_name} VALUES ({values})", rows)
    assert cursor.rowcount == 10_000
    assert select(cursor, f"SELECT count(*), count(DISTINCT _commit_seq), max(id) FROM {table_name}") == [(10_000, 1, 9_999)]
    rows[9_999] = (None, "x")[:width]
    with pytest.raises(adbc_driver_manager.Error, match="row 9999"):
        cursor.executemany(f"INSERT INTO {table_name} VALUES ({values})", rows)
    assert select(cursor, f"SELECT count(*) FROM {table_name}") == [(10_000,)]


def test_deletes_of_many_rows_are_one_commit(cursor, table):
    cursor.executemany(f"INSERT INTO {table} (id) VALUES (?)", [(n,) for n in range(20)])
    cursor.executemany(f"DELETE FROM {table} WHERE id = ?", [(n,) for n in (1, 3, 3, 99)])
    assert cursor.rowcount == 2
    assert select(cursor, f"SELECT count(*) FROM {table}") == [(18,)]


def test_values_bound_first_or_sent_with_the_update(raw, cursor, table):
    """arrow-rs binds with the query command and then updates without rows; Go and C++ send the rows with the update.

    https://github.com/apache/arrow/issues/37720
    """
    handle = raw.prepare(f"INSERT INTO {table} (id, name) VALUES ($1, $2)")[1]
    assert raw.bind(handle, batch(a=[1, 2], b=["x", "y"])) == {1: handle}
    assert raw.update(handle) == 2
    assert raw.update(handle, batch(a=[3], b=["z"])) == 1
    # Java sends one batch without columns and rows for a statement that takes none.
    none = raw.prepare(f"DELETE FROM {table} WHERE id = 3")[1]
    assert raw.update(none, pa.RecordBatch.from_arrays([], names=[])) == 1
    assert select(cursor, f"SELECT id, name FROM {table} ORDER BY id") == [(1, "x"), (2, "y")]


def test_the_last_bind_holds_until_the_next(raw, cursor, table):
    cursor.execute(f"INSERT INTO {table} (id, name) VALUES (1, 'a'), (2, 'b')")
    handle = raw.prepare(f"SELECT name FROM {table} WHERE id = ?")[1]
    with pytest.raises(pa.ArrowInvalid, match="expected 1 parameters, got 0"):
        raw.info(handle)
    raw.bind(handle, batch(a=[1]))
    assert raw.rows(handle) == raw.rows(handle) == [{"name": "a"}]
    raw.bind(handle, batch(a=[2]))
    assert raw.rows(handle) == [{"name": "b"}]
    # What became of the table in between is seen.
    cursor.execute(f"ALTER TABLE {table} ADD COLUMN more BIGINT")
    cursor.execute(f"DELETE FROM {table} WHERE id = 2")
    assert raw.rows(handle) == []
    every = raw.prepare(f"SELECT * FROM {table}")[1]
    cursor.execute(f"ALTER TABLE {table} ADD COLUMN last BIGINT")
    (row,) = raw.rows(every)
    assert list(row)[-2:] == ["more", "last"]
    cursor.execute(f"DROP TABLE {table}")
    with pytest.raises(pa.ArrowKeyError, match="not found"):
        raw.info(every)


def test_a_handle_ends_when_it_is_closed(raw):
    """https://github.com/apache/arrow-rs/issues/5669"""
    handle = raw.prepare("SELECT 1 AS one")[1]
    assert raw.rows(handle) == [{"one": 1}]
    raw.close(handle)
    raw.close(handle)
    raw.close(b"never there")
    with pytest.raises(pa.ArrowKeyError, match="unknown or expired"):
        raw.info(handle)


def test_updates_are_told_from_queries(raw, table):
    """https://github.com/apache/arrow/issues/38785
    https://github.com/apache/arrow/issues/49498
    """
    for sql in [f"INSERT INTO {table} (id) VALUES (?)", f"DELETE FROM {table}", f"CREATE VIEW v_{table} AS SELECT 1 AS a", f"TRUNCATE {table}"]:
        answer = raw.prepare(sql)
        assert (answer.get(4), answer.get(2, b"")) == (1, b""), sql
    for sql in ["SELECT 1", "SHOW TABLES", "EXPLAIN SELECT 1", "VALUES (1)", f"SELECT id FROM {table} WHERE id = ?"]:
        answer = raw.prepare(sql)
        # Given and false, which protobuf writes down as it is optional.
        assert answer.get(4) == 0 and answer[2], sql
    with pytest.raises(pa.ArrowInvalid, match="not an update"):
        raw.update(raw.prepare("SELECT 1")[1])


def test_numbers_in_the_text_are_exact_decimals(cursor, table):
    number = decimal.Decimal("12345678901234567.891")
    cursor.execute(f"INSERT INTO {table} (id, d) VALUES (1, {number}), (2, -{number}), (3, 0.0005)")
    cursor.execute(f"INSERT INTO {table} (id, d) VALUES (?, -{number})", (4,))
    stored = select(cursor, f"SELECT d FROM {table} ORDER BY id")
    assert stored == [(number,), (-number,), (decimal.Decimal("0.001"),), (-number,)]
    assert select(cursor, f"SELECT CAST({number} AS DECIMAL(20, 3)), 0.1") == [(number, 0.1)]
    assert select(cursor, f"SELECT id FROM {table} WHERE d = ? ORDER BY id", (-number,)) == [(2,), (4,)]
