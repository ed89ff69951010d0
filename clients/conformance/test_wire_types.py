"""Does a client get the types that it asks for, and are they those that were announced?"""

import datetime
import decimal

import pyarrow as pa
import pyarrow.flight
import pytest

TIMEOUT_S = 60
PROFILES = {
    "portable": {},
    "native": {"x-flight-types": "native"},
    "grafana": {"x-flight-compat": "grafana"},
    "jdbc": {"x-flight-types": "jdbc"},
}
NS = pa.timestamp("ns")

# An expression, and its type by profile: portable, native, grafana; and jdbc where it is not the portable one.
TYPES = {
    "CAST(1 AS TINYINT)": (pa.int8(),) * 3,
    "CAST(1 AS BIGINT)": (pa.int64(),) * 3,
    "CAST(255 AS UTINYINT)": (pa.uint8(),) * 3 + (pa.int16(),),
    "CAST(65535 AS USMALLINT)": (pa.uint16(),) * 3 + (pa.int32(),),
    "CAST(4294967295 AS UINTEGER)": (pa.uint32(),) * 3 + (pa.int64(),),
    "CAST(1 AS UBIGINT)": (pa.uint64(),) * 3 + (pa.decimal128(20, 0),),
    "[CAST(255 AS UTINYINT)]": (pa.list_(pa.uint8()), pa.list_(pa.uint8()), pa.utf8(), pa.list_(pa.int16())),
    "CAST(1.5 AS DOUBLE)": (pa.float64(),) * 3,
    "true": (pa.bool_(),) * 3,
    "'text'": (pa.utf8(),) * 3,
    "arrow_cast('text', 'LargeUtf8')": (pa.utf8(), pa.large_utf8(), pa.utf8()),
    "arrow_cast('text', 'Utf8View')": (pa.utf8(),) * 3,
    "arrow_cast('text', 'Dictionary(Int32, Utf8)')": (pa.utf8(),) * 3,
    "arrow_cast(1.5, 'Float16')": (pa.float32(), pa.float16(), pa.float32()),
    "CAST('12.50' AS DECIMAL(10, 2))": (pa.decimal128(10, 2), pa.decimal128(10, 2), pa.float64()),
    "arrow_cast('12.50', 'Decimal256(50, 2)')": (pa.decimal256(50, 2), pa.decimal256(50, 2), pa.float64()),
    "X'00FF'": (pa.binary(), pa.binary(), pa.utf8()),
    "arrow_cast(X'00FF', 'LargeBinary')": (pa.binary(), pa.large_binary(), pa.utf8()),
    "arrow_cast(X'00FF', 'FixedSizeBinary(2)')": (pa.binary(2), pa.binary(2), pa.utf8()),
    "DATE '2024-02-29'": (pa.date32(), pa.date32(), NS),
    "TIME '10:11:12'": (pa.time64("us"), pa.time64("us"), pa.utf8()),
    "TIMESTAMP '2024-02-29 10:11:12'": (pa.timestamp("us"), pa.timestamp("us"), NS),
    "CAST('2024-02-29T10:11:12Z' AS TIMESTAMPTZ)": (pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")),
    "arrow_cast(0, 'Timestamp(Second, Some(\"+02:00\"))')": (
        pa.timestamp("s", "UTC"),
        pa.timestamp("s", "+02:00"),
        pa.timestamp("ns", "UTC"),
    ),
    "INTERVAL '1 day'": (pa.month_day_nano_interval(), pa.month_day_nano_interval(), pa.utf8()),
    "[1, 2]": (pa.list_(pa.int64()), pa.list_(pa.int64()), pa.utf8()),
    "arrow_cast([1, 2], 'LargeList(Int64)')": (pa.list_(pa.int64()), pa.large_list(pa.int64()), pa.utf8()),
    "named_struct('a', 1, 'b', 'x')": (pa.struct({"a": pa.int64(), "b": pa.utf8()}),) * 2 + (pa.utf8(),),
    "NULL": (pa.null(), pa.null(), pa.utf8()),
    "row_number() OVER ()": (pa.int64(),) * 3,
    "rank() OVER (ORDER BY 1)": (pa.int64(),) * 3,
    "array_length([1, 2])": (pa.int64(),) * 3,
    "approx_distinct(1)": (pa.int64(),) * 3,
    "max(CAST(1 AS UBIGINT))": (pa.uint64(),) * 3 + (pa.decimal128(20, 0),),
}


@pytest.fixture(scope="module")
def client(server):
    with pyarrow.flight.connect(f"grpc://{server.grpc}") as client:
        yield client


def call(headers: dict[str, str]) -> pyarrow.flight.FlightCallOptions:
    return pyarrow.flight.FlightCallOptions(headers=[(k.encode(), v.encode()) for k, v in headers.items()], timeout=TIMEOUT_S)


def ask(client, sql: str, headers: dict[str, str]) -> tuple[pa.Schema, pa.Table]:
    descriptor = pyarrow.flight.FlightDescriptor.for_command(sql.encode())
    info = client.get_flight_info(descriptor, call(headers))
    assert client.get_schema(descriptor, call(headers)).schema == info.schema
    return info.schema, client.do_get(info.endpoints[0].ticket, call({})).read_all()


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("expression", TYPES)
def test_what_is_announced_is_sent(client, profile, expression):
    announced, rows = ask(client, f"SELECT {expression} AS v", PROFILES[profile])
    assert rows.schema == announced
    types = TYPES[expression]
    wanted = dict(zip(PROFILES, types)).get(profile, types[0])
    assert announced.field("v").type.equals(wanted), announced
    assert rows.num_rows == 1


def test_grafana_is_sent_what_it_can_draw(client):
    sql = """SELECT TIMESTAMP '2024-02-29 10:11:12.5' AS t, DATE '2024-02-29' AS d, CAST('12.50' AS DECIMAL(10, 2)) AS n, X'00ff' AS b,
             [1, NULL] AS l, named_struct('a', 1, 'b', X'01') AS s, TIME '10:11:12' AS c, [TIMESTAMP '2024-02-29 10:11:12'] AS lt"""
    (row,) = ask(client, sql, PROFILES["grafana"])[1].to_pylist()
    assert row["t"].to_pydatetime() == datetime.datetime(2024, 2, 29, 10, 11, 12, 500_000)
    assert row["d"].to_pydatetime() == datetime.datetime(2024, 2, 29)
    assert (row["n"], row["b"], row["l"]) == (12.5, "00ff", "[1,null]")
    assert (row["s"], row["c"], row["lt"]) == ('{"a":1,"b":"01"}', "10:11:12", '["2024-02-29T10:11:12"]')


def test_a_time_that_nanoseconds_do_not_hold_is_an_error(client):
    with pytest.raises(pyarrow.ArrowException):
        ask(client, "SELECT TIMESTAMP '9999-12-31 00:00:00' AS t", PROFILES["grafana"])
    assert ask(client, "SELECT TIMESTAMP '9999-12-31 00:00:00' AS t", {})[1].num_rows == 1


def test_nulls_stay_nulls(client):
    sql = """SELECT CAST(NULL AS DATE) AS d, CAST(NULL AS DECIMAL(5, 1)) AS n, CAST(NULL AS BYTEA) AS b, CAST(NULL AS TIME) AS c,
             CAST(NULL AS BIGINT[]) AS l"""
    for headers in PROFILES.values():
        (row,) = ask(client, sql, headers)[1].to_pylist()
        assert set(row.values()) == {None}


def test_a_profile_is_one_of_four(client):
    with pytest.raises(pyarrow.ArrowInvalid, match="portable, native, grafana and jdbc"):
        ask(client, "SELECT 1", {"x-flight-types": "modern"})


def test_macros_of_grafana_run(client):
    """What its macros become, with the time column as fine as in the table."""
    sql = """SELECT date_bin(interval '60 second', t, timestamp '1970-01-01T00:00:00Z') AS "time", datepart('minute', t) AS m
             FROM (SELECT TIMESTAMP '2024-02-29 10:11:12' AS t)
             WHERE t >= cast('2024-02-29T00:00:00Z' as timestamp) AND t > cast('2024-03-01T00:00:00Z' as timestamp) - interval '1 day'"""
    announced, rows = ask(client, sql, {})
    assert announced.field("time").type == pa.timestamp("us")
    assert rows.to_pylist() == [{"time": datetime.datetime(2024, 2, 29, 10, 11), "m": 11}]


def test_the_columns_of_tables_are_told_in_the_same_types(client, adbc, table_name):
    with adbc.cursor() as cursor:
        columns = "id BIGINT NOT NULL, at TIMESTAMPTZ, d DATE, n DECIMAL(10, 2), u UBIGINT, PRIMARY KEY (id)"
        cursor.execute(f"CREATE TABLE {table_name} ({columns})")
        cursor.execute(f"INSERT INTO {table_name} VALUES (1, now(), DATE '2024-02-29', 12.5, 7)")
    for headers in PROFILES.values():
        announced, rows = ask(client, f"SELECT * FROM {table_name}", headers)
        assert rows.schema == announced
        paths = [info for info in client.list_flights(options=call(headers)) if info.descriptor.path[-1] == table_name.encode()]
        assert paths[0].schema == announced
    assert ask(client, f"SELECT n, u FROM {table_name}", {})[1].to_pylist() == [{"n": decimal.Decimal("12.50"), "u": 7}]
