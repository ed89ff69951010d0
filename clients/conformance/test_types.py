"""Is a value the same whichever way it came? Every type over Arrow, JSON, Flight bulk append and SQL INSERT (H07)."""

import datetime
import decimal

import pyarrow as pa
import pytest

from harness.client import arrow_payload, json_payload
from harness.compare import difference

UTC = datetime.timezone.utc

# name, SQL type, Arrow type, three values with their JSON and SQL texts
TYPES = [
    ("a_boolean", "BOOLEAN", pa.bool_(), [(True, True, "TRUE"), (False, False, "FALSE")]),
    ("a_tinyint", "TINYINT", pa.int8(), [(-128, -128, "-128"), (127, 127, "127")]),
    ("a_smallint", "SMALLINT", pa.int16(), [(-32768, -32768, "-32768"), (32767, 32767, "32767")]),
    ("an_integer", "INTEGER", pa.int32(), [(-(2**31), -(2**31), f"{-(2**31)}"), (2**31 - 1, 2**31 - 1, f"{2**31 - 1}")]),
    ("a_bigint", "BIGINT", pa.int64(), [(-(2**63), -(2**63), f"{-(2**63)}"), (2**63 - 1, 2**63 - 1, f"{2**63 - 1}")]),
    ("a_utinyint", "TINYINT UNSIGNED", pa.uint8(), [(0, 0, "0"), (255, 255, "255")]),
    ("a_usmallint", "SMALLINT UNSIGNED", pa.uint16(), [(0, 0, "0"), (65535, 65535, "65535")]),
    ("a_uinteger", "INTEGER UNSIGNED", pa.uint32(), [(0, 0, "0"), (2**32 - 1, 2**32 - 1, f"{2**32 - 1}")]),
    ("a_ubigint", "BIGINT UNSIGNED", pa.uint64(), [(0, 0, "0"), (2**64 - 1, 2**64 - 1, f"{2**64 - 1}")]),
    ("a_real", "REAL", pa.float32(), [(0.5, 0.5, "0.5"), (-1.25e10, -1.25e10, "-1.25e10")]),
    ("a_double", "DOUBLE", pa.float64(), [(0.1, 0.1, "0.1"), (-1e300, -1e300, "-1e300")]),
    ("a_decimal", "DECIMAL(38, 10)", pa.decimal128(38, 10), [
        (decimal.Decimal("1234567890123456789.0123456789"), "1234567890123456789.0123456789", "'1234567890123456789.0123456789'"),
        (decimal.Decimal("-0.0000000001"), "-0.0000000001", "-0.0000000001"),
    ]),
    ("a_varchar", "VARCHAR", pa.string(), [("äß→😀 '\"\\\n", "äß→😀 '\"\\\n", "'äß→😀 ''\"\\\n'"), ("", "", "''")]),
    ("a_varbinary", "VARBINARY", pa.binary(), [(b"\x00\xff\x10", "00ff10", "X'00ff10'"), (b"", "", "X''")]),
    ("a_date", "DATE", pa.date32(), [
        (datetime.date(2024, 2, 29), "2024-02-29", "DATE '2024-02-29'"), (datetime.date(1815, 12, 10), "1815-12-10", "DATE '1815-12-10'"),
    ]),
    ("a_time", "TIME", pa.time64("us"), [
        (datetime.time(23, 59, 59, 999_999), "23:59:59.999999", "TIME '23:59:59.999999'"), (datetime.time(0), "00:00:00", "TIME '00:00:00'"),
    ]),
    ("a_timestamp", "TIMESTAMP", pa.timestamp("us"), [
        (datetime.datetime(2024, 2, 29, 1, 2, 3, 456_789), "2024-02-29T01:02:03.456789", "TIMESTAMP '2024-02-29 01:02:03.456789'"),
        (datetime.datetime(1901, 1, 1), "1901-01-01T00:00:00", "TIMESTAMP '1901-01-01 00:00:00'"),
    ]),
    ("a_timestamptz", "TIMESTAMPTZ", pa.timestamp("us", "UTC"), [
        (datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), "2024-02-29T02:02:03+01:00", "TIMESTAMPTZ '2024-02-29 02:02:03+01:00'"),
        (datetime.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), "1969-12-31T23:59:59Z", "TIMESTAMPTZ '1969-12-31 23:59:59Z'"),
    ]),
    ("a_list", "BIGINT[]", pa.list_(pa.int64()), [([1, None, 3], [1, None, 3], "[1, NULL, 3]"), ([], [], "[]")]),
    ("a_struct", "STRUCT<x BIGINT, y VARCHAR>", pa.struct([("x", pa.int64()), ("y", pa.string())]), [
        ({"x": 1, "y": "b"}, {"x": 1, "y": "b"}, "{x: 1, y: 'b'}"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "sql_type", "arrow_type", "values"), TYPES, ids=[entry[0] for entry in TYPES])
def test_all_ways_agree(client, adbc, name, sql_type, arrow_type, values):
    values = [*values, (None, None, "NULL")]
    ids = list(range(len(values)))
    for way in ("arrow", "json", "flight", "sql"):
        client.execute(f"CREATE TABLE {way}_{name} (id BIGINT NOT NULL, v {sql_type}, PRIMARY KEY (id))")
    arrow = pa.table({"id": pa.array(ids, pa.int64()), "v": pa.array([value for value, _, _ in values], arrow_type)})

    assert client.write(f"arrow_{name}", arrow_payload(arrow)).accepted == len(ids)
    result = client.write(f"json_{name}", json_payload([{"id": i, "v": text} for i, (_, text, _) in zip(ids, values)]))
    assert result.accepted == len(ids), list(result.row_errors)
    with adbc.cursor() as cursor:
        cursor.adbc_ingest(f"flight_{name}", arrow, mode="append")
    for i, (_, _, text) in zip(ids, values):
        client.execute(f"INSERT INTO sql_{name} VALUES ({i}, {text})")

    for way in ("arrow", "json", "flight", "sql"):
        answer, _ = client.execute(f"SELECT id, v FROM {way}_{name}")
        assert difference(answer, arrow) is None, way
        # What Flight SQL shows is the same.
        with adbc.cursor() as cursor:
            cursor.execute(f"SELECT id, v FROM {way}_{name}")
            assert difference(cursor.fetch_arrow_table(), arrow) is None, way


def test_other_arrow_types_are_converted(client):
    """Views, dictionaries, large and finer types: converted without loss, finer times cut towards the past."""
    client.execute("CREATE TABLE converted (id BIGINT NOT NULL, s VARCHAR, b VARBINARY, t TIMESTAMP, n BIGINT, PRIMARY KEY (id))")
    rows = pa.table({
        "id": pa.array([1], pa.int32()),
        "s": pa.array(["x"]).dictionary_encode(),
        "b": pa.array([b"y"], pa.large_binary()),
        "t": pa.array([-1], pa.timestamp("ns")),
        "n": pa.array([7], pa.uint8()),
    })  # fmt: skip
    assert client.write("converted", arrow_payload(rows)).accepted == 1
    rows = rows.set_column(0, "id", pa.array([2], pa.int64())).set_column(1, "s", pa.array(["x"], pa.string_view()))
    assert client.write("converted", arrow_payload(rows)).accepted == 1
    time = datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999)
    assert client.rows("SELECT * FROM converted ORDER BY id") == [(1, "x", b"y", time, 7), (2, "x", b"y", time, 7)]
