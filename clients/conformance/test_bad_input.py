"""Is bad input refused with a clear error on every interface, and is nothing lost? Rows, statements, and Arrow data that lies."""

import concurrent.futures
import datetime
import threading
import time

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import grpc
import pyarrow as pa
import pytest

from harness import flight, http
from harness.client import OPTIONS, TIMEOUT_S, Client, Refused, json_payload, refused_call
from harness.server import Server
from harness.stubs import ingest

UTC = datetime.timezone.utc
NOW = datetime.datetime(2024, 5, 1, tzinfo=UTC)
FUTURE = datetime.datetime.now(UTC) + datetime.timedelta(days=400)

GOOD = {"id": 1, "at": NOW, "n": 1}
SCHEMA = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("n", pa.int16())])


@pytest.fixture
def table(client, table_name):
    client.execute(
        f"CREATE TABLE {table_name} (id BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL, n SMALLINT, PRIMARY KEY (id))"
        " WITH (time_column = 'at')"
    )
    return table_name


def ids(client, table) -> list[int]:
    return [row for (row,) in client.rows(f"SELECT id FROM {table} ORDER BY id")]


def stream_of(rows: pa.Table, **options) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write(rows)
    return sink.getvalue().to_pybytes()


def arrow_stream(data: bytes) -> ingest.Payload:
    return ingest.Payload(arrow_ipc_stream=data)


def arrow_table(rows: list[dict], **types) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields = {field.name: field.type for field in SCHEMA} | types
    return pa.table({name: pa.array([row.get(name) for row in rows], fields.get(name, pa.int64())) for name in names})


# How rows come in; each raises Wrong with what the client is told.


class Wrong(Exception):
    pass


ABORT = {"on_row_error": ingest.ON_ROW_ERROR_ABORT}


def by_arrow(server, table, rows, types):
    with Client(server.grpc) as client:
        client.write(table, arrow_stream(stream_of(arrow_table(rows, **types))), **ABORT)


def by_json(server, table, rows, types):
    lines = [{name: value.isoformat() if isinstance(value, datetime.datetime) else value for name, value in row.items()} for row in rows]
    with Client(server.grpc) as client:
        client.write(table, json_payload(lines), **ABORT)


def by_stream(server, table, rows, types):
    with Client(server.grpc) as client, client.stream(table, **ABORT) as stream:
        stream.write(arrow_stream(stream_of(arrow_table(rows, **types))))


def by_bulk_append(server, table, rows, types):
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as adbc, adbc.cursor() as cursor:
        cursor.adbc_ingest(table, arrow_table(rows, **types), mode="append")


def by_sql(server, table, rows, types):
    names = list(dict.fromkeys(name for row in rows for name in row))
    literals = [", ".join("NULL" if row.get(name) is None else f"'{row[name]}'" for name in names) for row in rows]
    statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES {', '.join(f'({row})' for row in literals)}"
    status, _, answer = http.sql(server.http, statement)
    if status != 200:
        raise Wrong(f"HTTP {status} {answer['title']}: {answer['detail']} ({answer['code']})")


WAYS = {
    "arrow": by_arrow,
    "json": by_json,
    "stream": by_stream,
    "bulk append": by_bulk_append,
    "SQL": by_sql,
}

# What is wrong: a row beside a good one, types that differ from the table's, and what the error must say.
ROWS = {
    "wrong column": ({**GOOD, "id": 2, "other": 3}, {}, "other"),
    "missing column": (None, {}, "(?i)'at'|column at|NULL"),
    "wrong type": ({**GOOD, "id": 2, "n": "seven"}, {"n": pa.string()}, "seven|'n'"),
    "out of range": ({**GOOD, "id": 2, "n": 70_000}, {"n": pa.int32()}, "70000|'n'"),
    "null key": ({**GOOD, "id": None}, {}, "(?i)null"),
    "future time": ({**GOOD, "id": 2, "at": FUTURE}, {}, "(?i)future"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ROWS)
def test_rows(server, client, table, way, what):
    bad, types, text = ROWS[what]
    good = GOOD if what != "wrong type" else {**GOOD, "n": "1"}
    rows = [good, bad] if bad else [{"id": 1, "n": 1}]
    with pytest.raises((Refused, Wrong, adbc_driver_manager.Error), match=text) as error:
        WAYS[way](server, table, rows, types)
    assert "TW-" in str(error.value) and "TW-1901" not in str(error.value), error.value
    assert not isinstance(error.value, adbc_driver_manager.InternalError), error.value
    assert ids(client, table) == []
    # The table takes what is right, now as before.
    WAYS[way](server, table, [GOOD], {})
    assert ids(client, table) == [1]


@pytest.mark.parametrize("columns", [{"id": [1], "at": [NOW], "other": [1]}, {"id": [1]}], ids=["wrong column", "missing column"])
def test_other_columns_have_the_status_of_adbc(adbc, table, columns):
    """ADBC: the table exists with another schema."""
    with adbc.cursor() as cursor, pytest.raises(adbc_driver_manager.Error) as error:
        cursor.adbc_ingest(table, pa.table(columns), mode="append")
    assert error.value.status_code == adbc_driver_manager.AdbcStatusCode.ALREADY_EXISTS, error.value


# How a statement is asked; each raises with what the client is told.


def ask_grpc(server, sql):
    with Client(server.grpc) as client:
        return client.rows(sql)


def ask_flight(server, sql):
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as adbc, adbc.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def ask_http(server, sql):
    status, _, answer = http.sql(server.http, sql)
    if status != 200:
        raise Wrong(f"HTTP {status} {answer['title']}: {answer['detail']} ({answer['code']})")
    return [tuple(row) for row in answer["rows"]]


INTERFACES = {"gRPC": ask_grpc, "Flight SQL": ask_flight, "HTTP": ask_http}
by_interface = pytest.mark.parametrize("interface", INTERFACES)

STATEMENTS = {
    "10,000 parentheses": (f"SELECT {'(' * 10_000}1{')' * 10_000}", "TW-1005"),
    "10,000 parentheses left open": (f"SELECT {'(' * 10_000}1", "TW-1005|TW-1001"),
    "100,000 terms": (f"SELECT {'+'.join(['1'] * 100_000)}", "TW-1005"),
    "one megabyte": (f"SELECT '{'x' * (1 << 20)}'", "TW-1004"),
    "unknown table": ("SELECT * FROM nowhere", "nowhere.*TW-1010"),
    "unknown column": ("SELECT nothing FROM system.tables", "nothing.*TW-1012"),
    "no SQL": ("SELEC 1", "TW-1001"),
}


@by_interface
@pytest.mark.parametrize("what", STATEMENTS)
def test_statements(server, interface, what):
    sql, text = STATEMENTS[what]
    with pytest.raises((Refused, Wrong, adbc_driver_manager.Error), match=text):
        INTERFACES[interface](server, sql)
    assert INTERFACES[interface](server, "SELECT 1") == [(1,)]


@by_interface
def test_a_sum_of_200_terms(server, interface):
    assert INTERFACES[interface](server, f"SELECT {' + '.join(['1'] * 200)}") == [(200,)]


# Arrow data that is not what it says.

MIB = 1 << 20


def zeros(n_bytes: int) -> pa.Table:
    """One row of so many zeros."""
    offsets = pa.array([0, n_bytes], pa.int32()).buffers()[1]
    body = pa.Array.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(bytes(n_bytes))])
    return pa.table({"id": pa.array([2], pa.int64()), "body": body})


def dictionary_bomb() -> pa.Table:
    """100,000 rows of one megabyte each, in one megabyte."""
    body = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int8()), pa.array([b"x" * MIB]))
    return pa.table({"id": pa.array(range(100_000), pa.int64()), "body": body})


def noise(n_rows: int = 8192) -> pa.Table:
    """Values that nobody can compress, so that the frames are long enough to be forged."""
    return pa.table({"id": pa.array([i * 0x9E3779B97F4A7C15 % (1 << 63) for i in range(n_rows)], pa.int64())})


def forged(codec: str, declared: int) -> list[tuple[bytes, bytes]]:
    """A stream whose last buffer says that it has `declared` bytes when decompressed."""
    parts = flight.messages(stream_of(noise(), compression=codec))
    header, body = parts[-1]
    real = (8192 * 8).to_bytes(8, "little")
    left_as_it_is = (-1).to_bytes(8, "little", signed=True)
    at = max(body.rfind(real), body.rfind(left_as_it_is))
    assert at >= 0
    parts[-1] = (header, body[:at] + declared.to_bytes(8, "little", signed=True) + body[at + 8 :])
    return parts


def stream_from(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"\xff\xff\xff\xff" + len(header).to_bytes(4, "little") + header + body for header, body in parts)


def put_write(server, parts):
    with Client(server.grpc) as client:
        client.write("hostile", arrow_stream(stream_from(parts)))


def put_stream(server, parts):
    with Client(server.grpc) as client, client.stream("hostile") as stream:
        stream.write(arrow_stream(stream_from(parts)))


def put_message(server, parts):
    """The last message alone, under the schema of Open."""
    (schema, _), last = parts[0], parts[-1]
    request = ingest.Open(table=ingest.TableRef(table="hostile"), arrow_schema=stream_from([(schema, b"")]))
    payload = ingest.Payload(arrow_ipc_message=stream_from([last]))
    with Client(server.grpc) as client:
        messages = [ingest.WriteStreamRequest(open=request), ingest.WriteStreamRequest(batch=ingest.Batch(batch_id=1, payload=payload))]
        *_, answer = client.ingest.WriteStream(iter(messages), timeout=client.timeout_s)
    if answer.result.status.code:
        raise Wrong(answer.result.status.message)


def put_bulk(server, parts):
    flight.bulk_append(server.grpc, "hostile", parts)


PUTS = {"write": put_write, "stream": put_stream, "message": put_message, "bulk append": put_bulk}
by_put = pytest.mark.parametrize("put", PUTS)
by_codec = pytest.mark.parametrize("codec", ["lz4", "zstd"])
TOO_LARGE = "TW-1202|TW-1222"
MALFORMED = "TW-1201"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A server of their own, whose memory is looked at behind each attempt."""
    server = Server(tmp_path_factory.mktemp("hostile")).start()
    with Client(server.grpc) as client:
        client.execute("CREATE TABLE hostile (id BIGINT NOT NULL, body VARBINARY, PRIMARY KEY (id))")
        client.execute("INSERT INTO hostile VALUES (1, X'00')")
    yield server
    server.kill()


# A message may be 64 MiB, decoded, and more of them are in memory for a moment; no attempt may hold what it claims to be.
MAX_GROWTH = 512 * MIB


def assert_refused(server, put, parts, text):
    before = server.forget_peak()
    with pytest.raises((Refused, Wrong), match=text):
        PUTS[put](server, parts)
    with Client(server.grpc) as client:
        assert client.rows("SELECT id, body FROM hostile") == [(1, b"\x00")]
    assert server.peak_memory_bytes() - before < MAX_GROWTH


@by_put
@by_codec
def test_bombs(hostile, put, codec):
    """Too large for a batch, and for a bulk append, in a small part of that."""
    n_bytes = 300 * MIB if put == "bulk append" else 48 * MIB
    data = stream_of(zeros(n_bytes), compression=codec)
    assert len(data) < n_bytes // 200
    assert_refused(hostile, put, flight.messages(data), TOO_LARGE)


@by_codec
def test_many_small_bombs_in_one_bulk_append(hostile, codec):
    """Each is within the limit of a message. All together are more than a statement may hold in memory: they are written as they come, and
    the memory stays that of those in one file and those that wait for it."""
    n_bombs, table = 24, f"bombs_{codec}"
    before = hostile.forget_peak()
    schema, rows = flight.messages(stream_of(zeros(60 * MIB), compression=codec))
    with Client(hostile.grpc) as client:
        client.execute(f"CREATE TABLE {table} (id BIGINT NOT NULL, body VARBINARY)")
        flight.bulk_append(hostile.grpc, table, [schema, *[rows] * n_bombs])
        assert client.value(f"SELECT count(*) FROM {table}") == n_bombs
        client.execute(f"DROP TABLE {table}")
    assert hostile.peak_memory_bytes() - before < n_bombs * 60 * MIB


N_APPENDS = 100
WRITES_S = 5


def append_and_wait(server, parts, may_end: threading.Event) -> Refused | None:
    """A bulk append whose client says nothing between its rows and its end. What it was refused with, if it was."""

    def messages():
        first = flight.content(1, flight.append_to("hostile"))
        for header, body in parts:
            yield first + flight.content(2, header) + flight.content(1000, body)
            first = b""
        may_end.wait(TIMEOUT_S)

    with grpc.insecure_channel(server.grpc, options=OPTIONS) as channel:
        put = channel.stream_stream(flight.PUT, lambda message: message, lambda message: message)
        try:
            list(put(messages(), timeout=TIMEOUT_S))
        except grpc.RpcError as error:
            return refused_call(error)
    return None


def test_small_bombs_in_many_bulk_appends_at_once(tmp_path):
    """Each fits into the memory for bulk appends. All together would take several gigabytes: they wait, or are refused, before they are
    decoded, and who writes a few rows does not notice."""
    server = Server(tmp_path / "server", settings={"memory.limit": "512 MiB"}).start()
    parts = flight.messages(stream_of(zeros(24 * MIB), compression="zstd"))
    assert sum(len(header) + len(body) for header, body in parts) < 64 << 10
    may_end = threading.Event()
    try:
        with Client(server.grpc) as client, concurrent.futures.ThreadPoolExecutor(N_APPENDS) as pool:
            client.execute("CREATE TABLE hostile (id BIGINT NOT NULL, body VARBINARY, PRIMARY KEY (id))")
            client.execute("CREATE TABLE calm (id BIGINT NOT NULL, PRIMARY KEY (id))")
            try:
                appends = [pool.submit(append_and_wait, server, parts, may_end) for _ in range(N_APPENDS)]
                n_written, until = 0, time.monotonic() + WRITES_S
                while time.monotonic() < until:
                    assert client.write("calm", json_payload([{"id": n_written}])).accepted == 1
                    n_written += 1
            finally:
                may_end.set()
            refused = [append.result() for append in appends]
            assert {error.name for error in refused if error} <= {"RESOURCE_EXHAUSTED MEMORY_PRESSURE"}, refused
            assert None in refused
            assert server.peak_memory_bytes() < 1 << 30
            assert client.value("SELECT count(*) FROM calm") == n_written
            assert client.value("SELECT count(*) FROM hostile") == 1
    finally:
        server.kill()


@pytest.mark.parametrize("put", ["write", "stream", "bulk append"])
def test_dictionaries_that_stand_for_gigabytes(hostile, put):
    assert_refused(hostile, put, flight.messages(stream_of(dictionary_bomb())), TOO_LARGE)


@pytest.mark.parametrize("put", ["write", "stream", "message"])
def test_a_batch_of_20_mb(hostile, put):
    assert_refused(hostile, put, flight.messages(stream_of(zeros(20 * MIB))), "TW-1202")


@by_put
@by_codec
@pytest.mark.parametrize("declared", [0, 1, 65_535, 1 << 30, 1 << 40, (1 << 63) - 1, -2, -(1 << 63)])
def test_forged_lengths(hostile, put, codec, declared):
    assert_refused(hostile, put, forged(codec, declared), f"{MALFORMED}|{TOO_LARGE}")


@by_put
def test_garbage(hostile, put):
    good = flight.messages(stream_of(noise()))
    header, body = good[-1]
    for bad in (
        (bytes(64), body),
        (b"\xff" * 64, body),
        (header[: len(header) // 2], body),
        (header, body[: len(body) // 2]),
        (header, b""),
    ):
        assert_refused(hostile, put, [*good[:-1], bad], MALFORMED)


@by_put
def test_every_third_byte_of_a_header_changed_in_turn(hostile, put):
    """Refused or stored; never a broken server, never an error of ours."""
    rows = pa.table({"id": pa.array([1], pa.int64()), "body": pa.array([b"again"])})
    good = flight.messages(stream_of(rows))
    header, body = good[-1]
    n_refused = 0
    for position in range(0, len(header), 3):
        bad = bytearray(header)
        bad[position] ^= 0x7F
        try:
            PUTS[put](hostile, [*good[:-1], (bytes(bad), body)])
        except (Refused, Wrong) as error:
            assert "TW-" in str(error) and "TW-1901" not in str(error), (position, error)
            n_refused += 1
    assert n_refused > 0
    with Client(hostile.grpc) as client:
        assert client.rows("SELECT id, body FROM hostile WHERE id = 1") == [(1, b"\x00")]
        client.execute("TRUNCATE hostile")
        client.execute("INSERT INTO hostile VALUES (1, X'00')")
