"""Is a table the same whichever way its rows came in? The stream, and rows of every type, by the command line, HTTP, ADBC, gRPC and SQL:
one checksum for all (H07)."""

import datetime
import decimal
import hashlib
import itertools
import json
import math
import pathlib
import re
import struct
import subprocess

import pyarrow as pa
import pytest

from harness import data
from harness.bulk import CONTENT_TYPES, NULL, Bulk, encoded, plain
from harness.client import arrow_payload
from harness.server import binary
from harness.stubs import ingest

CLI_TIMEOUT_S = 120
TYPES_PAGE = pathlib.Path(__file__).resolve().parents[2] / "server/docs/types.md"
UTC = datetime.timezone.utc
FIRST, LAST = datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999)
EARLY, LATE = datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime.datetime(2024, 2, 29, 1, 2, 3, 450_000)
SMALLEST_DOUBLE, LARGEST_DOUBLE = 5e-324, 1.7976931348623157e308
# Exactly what a REAL holds: the ends of the type, and the nearest of a tenth.
FLOATS = [struct.unpack("<f", struct.pack("<I", bits))[0] for bits in (1, 0x7F7FFFFF, 0xFF7FFFFF, 0x3DCCCCCD)]
DOUBLES = [math.nan, math.inf, -math.inf, 0.0, -0.0, SMALLEST_DOUBLE, LARGEST_DOUBLE, -LARGEST_DOUBLE, 0.1, 1e16, 2.0**53 + 2]
TEXTS = [
    "", " ", "a", "äß→😀 '\"\\", "two\nlines", "cr\rlf\r\n", "tab\t, comma; semicolon", "\ufeffmark", "NULL", "null", "NaN", "{}", "[1]", "0",
    "\u0000nul", "\x1f\x7f\u0085\u2028", "x" * 100_000, " edges ",
]  # fmt: skip
EVERY_SCALAR = (
    "flag BOOLEAN, u64 BIGINT UNSIGNED, d DOUBLE, dec DECIMAL(10,2), s VARCHAR, bin VARBINARY, day DATE, tod TIME, ts TIMESTAMP, tz TIMESTAMPTZ"
)
ARROW_SCALARS = {
    "flag": pa.bool_(), "u64": pa.uint64(), "d": pa.float64(), "dec": pa.decimal128(10, 2), "s": pa.string(), "bin": pa.binary(),
    "day": pa.date32(), "tod": pa.time64("us"), "ts": pa.timestamp("us"), "tz": pa.timestamp("us", "UTC"),
}  # fmt: skip
SCALARS = {
    "flag": True, "u64": 2**64 - 1, "d": -math.inf, "dec": decimal.Decimal("-0.01"), "s": "ä\n\"", "bin": b"\x00\xff", "day": FIRST.date(),
    "tod": LAST.time(), "ts": FIRST, "tz": LAST.replace(tzinfo=UTC),
}  # fmt: skip


def ends(bits: int, signed: bool = True) -> list[int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return [low, high, 1, low + 1, high - 1]


# Each column: its type in SQL and Arrow, and values.
COLUMNS = {
    "flag": ("BOOLEAN", pa.bool_(), [True, False]),
    "i8": ("TINYINT", pa.int8(), ends(8)),
    "i16": ("SMALLINT", pa.int16(), ends(16)),
    "i32": ("INTEGER", pa.int32(), ends(32)),
    "i64": ("BIGINT", pa.int64(), [*ends(64), 2**53 + 1]),
    "u8": ("UTINYINT", pa.uint8(), ends(8, False)),
    "u16": ("USMALLINT", pa.uint16(), ends(16, False)),
    "u32": ("UINTEGER", pa.uint32(), ends(32, False)),
    "u64": ("UBIGINT", pa.uint64(), [*ends(64, False), 2**53 + 1]),
    "r": ("REAL", pa.float32(), [math.nan, math.inf, -math.inf, 0.0, -0.0, *FLOATS]),
    "d": ("DOUBLE", pa.float64(), DOUBLES),
    "price": ("DECIMAL(10,2)", pa.decimal128(10, 2), [decimal.Decimal(text) for text in ("99999999.99", "-99999999.99", "0.00", "-0.01", "12.30")]),
    "dec": ("DECIMAL(38,10)", pa.decimal128(38, 10), [decimal.Decimal(sign + "9" * 28 + "." + "9" * 10) for sign in ("", "-")]),
    "s": ("VARCHAR", pa.string(), TEXTS),
    "short": ("VARCHAR(20)", pa.string(), ["", "x" * 20, "ä" * 20]),
    "bin": ("VARBINARY", pa.binary(), [b"", b"\x00", b"\xff\x00", b"0x", bytes(range(256)) * 200]),
    "day": ("DATE", pa.date32(), [FIRST.date(), LAST.date(), EARLY.date(), LATE.date()]),
    "tod": ("TIME", pa.time64("us"), [datetime.time(0), LAST.time(), datetime.time(12, 0, 0, 500_000)]),
    "ts": ("TIMESTAMP", pa.timestamp("us"), [FIRST, LAST, EARLY, LATE]),
    "tz": ("TIMESTAMPTZ", pa.timestamp("us", "UTC"), [time.replace(tzinfo=UTC) for time in (FIRST, LAST, EARLY, LATE)]),
    "tags": ("BIGINT[]", pa.list_(pa.int64()), [[], [None], [1, None, -(2**63)], list(range(300))]),
    "item": ("STRUCT<a BIGINT, b VARCHAR>", pa.struct({"a": pa.int64(), "b": pa.string()}),
             [{"a": None, "b": None}, {"a": 2**63 - 1, "b": ""}, {"a": 0, "b": "ä\"'\n"}]),
    "all_of_it": (f"STRUCT<{EVERY_SCALAR}>", pa.struct(ARROW_SCALARS), [SCALARS, dict.fromkeys(SCALARS), {**SCALARS, "d": math.nan, "s": ""}]),
    "doubles": ("DOUBLE[][]", pa.list_(pa.list_(pa.float64())), [[DOUBLES, [], None], [], [[math.nan]]]),
    "instants": ("TIMESTAMPTZ[]", pa.list_(pa.timestamp("us", "UTC")), [[LATE.replace(tzinfo=UTC), None], []]),
    "items": ("STRUCT<n UBIGINT, of STRUCT<s VARCHAR[]>>[]",
              pa.list_(pa.struct({"n": pa.uint64(), "of": pa.struct({"s": pa.list_(pa.string())})})),
              [[], [None, {"n": 2**64 - 1, "of": None}, {"n": None, "of": {"s": ["", None, "x"]}}, {"n": 0, "of": {"s": None}}]]),
}  # fmt: skip
CREATE_ALL = f"CREATE TABLE {{name}} (id BIGINT NOT NULL, {', '.join(f'{name} {sql}' for name, (sql, _, _) in COLUMNS.items())}, PRIMARY KEY (id))"
N_ROWS = 120
# All of the stream goes in by each of these ways in test_load.py.
N_EVENTS = 10_000


def all_types() -> pa.Table:
    """Every value of every column several times, beside others each time; the first row is NULL but for its key."""
    columns = {"id": pa.array([-(2**63), *range(1, N_ROWS - 1), 2**63 - 1], pa.int64())}
    for name, (_, arrow_type, values) in COLUMNS.items():
        turns = itertools.islice(itertools.cycle([*values, None]), N_ROWS - 1)
        columns[name] = pa.array([None, *turns], arrow_type)
    return pa.table(columns)



def events() -> pa.Table:
    """With times as the table has them: the file has milliseconds."""
    rows = data.events().slice(0, N_EVENTS)
    instants = {"authored_at": pa.timestamp("us", "UTC"), "committed_at": pa.timestamp("us", "UTC")}
    return rows.cast(pa.schema([field.with_type(instants.get(field.name, field.type)) for field in rows.schema]))


TABLES = {"events": (data.CREATE_EVENTS, events()), "all types": (CREATE_ALL, all_types())}


def exact(value):
    """A value as a text that no other value of its type has."""
    match value:
        case float():
            return "NaN" if math.isnan(value) else struct.pack(">d", value).hex()
        case bytes():
            return value.hex()
        case list():
            return [exact(item) for item in value]
        case dict():
            return {name: exact(item) for name, item in value.items()}
        case decimal.Decimal() | datetime.date() | datetime.time():
            return str(value)
    return value


def checksum(rows: pa.Table) -> str:
    """Of types and values, whatever the order of the rows."""
    digest = hashlib.sha256("".join(f"{column.name} {column.type}\n" for column in rows.schema).encode())
    for line in sorted(json.dumps(exact(row), sort_keys=True) for row in rows.to_pylist()):
        digest.update(line.encode())
    return digest.hexdigest()


def differing(ours: pa.Table, theirs: pa.Table) -> str:
    """Which columns have other values; for who reads a failure."""
    found = []
    for name in theirs.column_names:
        key = theirs.column_names[0]
        left, right = (dict(zip(rows[key].to_pylist(), map(exact, rows[name].to_pylist()))) for rows in (ours, theirs))
        wrong = [(key, left.get(key), right[key]) for key in right if left.get(key) != right[key]]
        if wrong or ours[name].type != theirs[name].type:
            found.append(f"{name}: {ours[name].type} for {theirs[name].type}, {len(wrong)} rows, such as {str(wrong[:1])[:300]}")
    return "\n".join(found)


# Each stores the rows in a table that is there, and says how many were taken.


def by_cli(form: str, *flags: str):
    def load(at, table, rows):
        file = at.folder / f"rows.{form}"
        file.write_bytes(arrow_file(rows) if form == "arrow" else encoded(rows, form))
        command = [binary(), "ingest", table, file, "--server", at.server.grpc, "--chunk-rows", "1000", *flags]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=CLI_TIMEOUT_S)
        assert ended.returncode == 0, ended.stderr
        return int(re.search(r"(\d+) accepted", ended.stdout)[1])

    return load


def arrow_file(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


def by_http(form: str, query: str = ""):
    def load(at, table, rows):
        with Bulk(at.server.http) as bulk:
            status, answer = bulk.ingest(table, encoded(rows, form), form, query)
        assert status == 200, answer
        return answer["accepted"]

    return load


def by_adbc(at, table, rows):
    with at.adbc.cursor() as cursor:
        return cursor.adbc_ingest(table, rows, mode="append")


def by_parameters(at, table, rows):
    with at.adbc.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * rows.num_columns)})", rows.combine_chunks().to_batches()[0])
        return cursor.rowcount


def by_write(at, table, rows):
    return at.client.write(table, arrow_payload(rows)).accepted


def by_json(form: str):
    def load(at, table, rows):
        return at.client.write(table, ingest.Payload(json_rows=encoded(rows, form))).accepted

    return load


def by_stream(at, table, rows):
    """Messages under the schema of Open."""
    request = ingest.Open(table=ingest.TableRef(table=table), arrow_schema=rows.schema.serialize().to_pybytes())
    messages = [ingest.WriteStreamRequest(open=request)]
    for number, batch in enumerate(rows.to_batches(max_chunksize=1000), 1):
        payload = ingest.Payload(arrow_ipc_message=batch.serialize().to_pybytes())
        messages.append(ingest.WriteStreamRequest(batch=ingest.Batch(batch_id=number, payload=payload)))
    _, *answers = at.client.ingest.WriteStream(iter(messages), timeout=at.client.timeout_s)
    assert not any(answer.result.status.code for answer in answers), answers
    return sum(answer.result.accepted for answer in answers)


def by_statements(at, table, rows):
    taken = 0
    for row in rows.to_pylist():
        values = ", ".join(map(literal, row.values(), rows.schema.types))
        taken += at.client.execute(f"INSERT INTO {table} VALUES ({values})")[1].affected_rows
    return taken


def literal(value, arrow_type) -> str:
    if value is None:
        return "NULL"
    if pa.types.is_list(arrow_type):
        return f"[{', '.join(literal(item, arrow_type.value_type) for item in value)}]"
    if pa.types.is_struct(arrow_type):
        parts = (f"{part.name}: {literal(value[part.name], part.type)}" for part in arrow_type)
        return f"{{{', '.join(parts)}}}"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, (bool, int)):
        return str(value)
    return "'" + str(plain(value)).replace("'", "''") + "'"


WAYS = {
    **{f"CLI {form}": by_cli(form) for form in ("parquet", "arrow", "ndjson")},
    "CLI csv": by_cli("csv", "--null", NULL),
    **{f"HTTP {form}": by_http(form) for form in CONTENT_TYPES},
    # As one statement, which has readers of its own.
    **{f"HTTP {form} whole": by_http(form, "on_error=abort") for form in CONTENT_TYPES},
    "ADBC bulk": by_adbc,
    "gRPC Write": by_write,
    "gRPC Write NDJSON": by_json("ndjson"),
    "gRPC Write JSON": by_json("json"),
    "gRPC WriteStream": by_stream,
}
# A statement has at most 256 KiB, and one a row would take minutes for the stream.
OF_ALL_TYPES = {"ADBC parameters": by_parameters, "SQL": by_statements}


class At:
    """Where rows go."""

    def __init__(self, server, client, adbc, folder):
        self.server, self.client, self.adbc, self.folder = server, client, adbc, folder


@pytest.fixture
def at(server, client, adbc, tmp_path):
    return At(server, client, adbc, tmp_path)


def assert_same(at, table: str, rows: pa.Table):
    """Over gRPC and over Flight SQL."""
    names = ", ".join(f'"{name}"' for name in rows.column_names)
    stored, _ = at.client.execute(f"SELECT {names} FROM {table}")
    with at.adbc.cursor() as cursor:
        cursor.execute(f"SELECT {names} FROM {table}")
        shown = cursor.fetch_arrow_table()
    expected = checksum(rows)
    assert checksum(stored) == expected, differing(stored, rows)
    assert checksum(shown) == expected, differing(shown, rows)


@pytest.mark.parametrize(("what", "way"), [
    *itertools.product(TABLES, WAYS), *(("all types", way) for way in OF_ALL_TYPES),
])  # fmt: skip
def test_one_checksum_for_all_ways(at, table_name, what, way):
    create, rows = TABLES[what]
    at.client.execute(create.format(name=table_name))
    taken = {**WAYS, **OF_ALL_TYPES}[way](at, table_name, rows)
    assert taken == rows.num_rows
    assert_same(at, table_name, rows)
    # In files, too.
    at.client.execute(f"CALL seal('{table_name}')")
    assert_same(at, table_name, rows)


def made_by_adbc(at, table, rows):
    with at.adbc.cursor() as cursor:
        cursor.adbc_ingest(table, rows, mode="create")


@pytest.mark.parametrize("way", [
    pytest.param(made_by_adbc, id="ADBC"), *(pytest.param(by_cli(form, "--create"), id=f"CLI {form}") for form in ("parquet", "arrow")),
])  # fmt: skip
def test_a_table_that_is_made_from_rows_has_their_types(at, table_name, way):
    rows = all_types()
    way(at, table_name, rows)
    assert_same(at, table_name, rows)


def test_there_is_every_type():
    """Each type that the documentation has is a column, or a part of one."""
    names = re.findall(r"^\| `([^`]+)` \|", TYPES_PAGE.read_text().split("Other names")[0], re.MULTILINE)
    have = {sql for sql, _, _ in COLUMNS.values()}
    assert len(names) == 21 and set(names) <= have, set(names) - have
