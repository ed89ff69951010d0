"""What becomes of many, and of broken, bulk ingests over ADBC? All end within the memory that is set, and half a one leaves nothing."""

import concurrent.futures
import contextlib
import importlib.metadata
import pathlib
import shutil
import subprocess
import sys

import adbc_driver_flightsql.dbapi
import pyarrow as pa
import pytest

from harness import flight, rows
from harness.client import Client, Refused, arrow_payload
from harness.server import Server
from harness.waiting import until

pytestmark = pytest.mark.slow

SUITE = ("ADBC Python driver: bulk load", importlib.metadata.version("adbc-driver-flightsql"))

MEMORY = "512 MiB"
MEMORY_BYTES = 512 << 20
N_INGESTS = 20
N_BATCHES = 100
"""Of an ingest, each of 1 MB."""
LARGE_ROWS, LARGE_VALUE_BYTES = 256, 65_000
"""Of a message: 16 MiB is the most that a batch may have."""
N_LARGE = 2
"""Messages of a client."""
FREE_BYTES = 12 << 30
"""Rows are in files, and once more while files are joined; the server keeps 1 GiB free."""
LIMIT_S = 1_800
WAIT_S = 120

WORKER = pathlib.Path(__file__).parent / "harness/workers/bulk_client.py"
BROKEN_BATCHES = 400
AT_LEAST_BYTES = 32 << 20
"""Of half an ingest that are in files."""
LEFT_BYTES = 8 << 20
"""What the server may write meanwhile for itself."""


@pytest.fixture
def server(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    if free < FREE_BYTES:
        pytest.skip(f"NOT CHECKED: {free >> 20} MiB of disk are free, {FREE_BYTES >> 20} are needed")
    server = Server(tmp_path / "server", settings={"memory.limit": MEMORY}).start()
    yield server
    server.kill()
    # Gigabytes, which pytest would keep for three more runs.
    shutil.rmtree(server.data)


def ingest(server: Server, nth: int) -> int:
    """Half of them into tables of their own, half into one that is there."""
    table, mode = ("shared", "append") if nth % 2 else (f"own_{nth}", "create")
    batches = (rows.batch(nth * N_BATCHES + i) for i in range(N_BATCHES))
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection, connection.cursor() as cursor:
        return cursor.adbc_ingest(table, rows.reader(batches), mode=mode)


def test_twenty_at_once_within_the_memory_limit(server):
    with Client(server.grpc) as client:
        client.execute("CREATE TABLE shared (n BIGINT, value VARBINARY)")
        server.forget_peak()
        with concurrent.futures.ThreadPoolExecutor(N_INGESTS) as threads:
            stored = list(threads.map(lambda nth: ingest(server, nth), range(N_INGESTS), timeout=LIMIT_S))
        peak = server.peak_memory_bytes()
        n_rows = N_BATCHES * rows.BATCH_ROWS
        assert stored == [n_rows] * N_INGESTS
        for nth in range(0, N_INGESTS, 2):
            begin = nth * n_rows
            assert figures(client, f"own_{nth}") == [(n_rows, n_rows, begin, begin + n_rows - 1)]
        n_shared = N_INGESTS // 2 * n_rows
        assert figures(client, "shared") == [(n_shared, n_shared, n_rows, N_INGESTS * n_rows - 1)]
        values, _ = client.execute(f"SELECT value FROM shared WHERE n >= {n_rows} AND n < {n_rows + rows.BATCH_ROWS} ORDER BY n")
        assert values["value"].to_pylist() == rows.batch(N_BATCHES)["value"].to_pylist()
    assert peak < 2 * MEMORY_BYTES, f"{peak >> 20} MiB were in memory at once"


@pytest.fixture
def narrow(tmp_path):
    """A server whose rows a disk hardly notices."""
    server = Server(tmp_path / "server", settings={"memory.limit": MEMORY}).start()
    yield server
    server.kill()


def large_value(n: int) -> bytes:
    return n.to_bytes(8, "little") * (LARGE_VALUE_BYTES // 8)


def large(nth: int) -> pa.RecordBatch:
    """So many rows that they are nearly as large as a batch may be; what is in them becomes small on disk."""
    numbers = range(nth * LARGE_ROWS, (nth + 1) * LARGE_ROWS)
    values = [large_value(n) for n in numbers]
    return pa.record_batch([pa.array(numbers, pa.int64()), pa.array(values, pa.binary())], schema=rows.SCHEMA)


def parts(nth: int):
    """Of the bulk append of a client: the schema, then each message when it is asked for."""
    schema, first = flight.messages(stream_of(large(nth * N_LARGE)))
    yield schema
    yield first
    for i in range(1, N_LARGE):
        yield flight.messages(stream_of(large(nth * N_LARGE + i)))[1]


def stream_of(batch: pa.RecordBatch) -> bytes:
    return arrow_payload(batch).arrow_ipc_stream


def by_bulk_append(server: Server, nth: int) -> int:
    flight.bulk_append(server.grpc, "large", parts(nth))
    return N_LARGE * LARGE_ROWS


def by_write_stream(server: Server, nth: int) -> int:
    """All of it without waiting for an answer."""
    with Client(server.grpc) as client, client.stream("large") as stream:
        for i in range(N_LARGE):
            stream.send(arrow_payload(large(nth * N_LARGE + i)))
        return sum(stream.result().accepted for _ in range(N_LARGE))


@pytest.mark.parametrize("put", [by_bulk_append, by_write_stream])
def test_twenty_with_the_largest_messages_wait_for_each_other(narrow, put):
    """Together they have more than the server may hold. It slows them down and refuses none."""
    with Client(narrow.grpc) as client:
        client.execute("CREATE TABLE large (n BIGINT, value VARBINARY)")
        narrow.forget_peak()
        with concurrent.futures.ThreadPoolExecutor(N_INGESTS) as threads:
            stored = list(threads.map(lambda nth: put(narrow, nth), range(N_INGESTS), timeout=WAIT_S))
        peak = narrow.peak_memory_bytes()
        n_rows = N_INGESTS * N_LARGE * LARGE_ROWS
        assert sum(stored) == n_rows
        # Queries are stopped while it holds more than its limit.
        until(lambda: narrow.forget_peak() < MEMORY_BYTES * 3 // 4, "memory is given back", WAIT_S)
        assert figures(client, "large") == [(n_rows, n_rows, 0, n_rows - 1)]
        for n in (0, n_rows // 2, n_rows - 1):
            assert client.rows(f"SELECT value FROM large WHERE n = {n}") == [(large_value(n),)]
    # With what allocators keep for a moment, and the program itself.
    assert peak < MEMORY_BYTES * 5 // 4, f"{peak >> 20} MiB were in memory at once"


def figures(client: Client, table: str) -> list[tuple]:
    return client.rows(f"SELECT count(*), count(DISTINCT n), min(n), max(n) FROM {table}")


@contextlib.contextmanager
def half_an_ingest(server: Server, mode: str):
    """A program that has sent half of its rows and waits; many of them are in files."""
    before = size(server)
    command = [sys.executable, WORKER, server.grpc, "target", mode, str(BROKEN_BATCHES)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "half\n"
        until(lambda: size(server) > before + AT_LEAST_BYTES, "rows of it are in files", WAIT_S)
        yield process
    finally:
        process.kill()
        process.communicate()


def size(server: Server) -> int:
    """Of all files of the data folder. One may go while they are counted."""
    total = 0
    for path in server.data.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def there_is(client: Client) -> list[int] | None:
    """The numbers in the table; None if there is none."""
    try:
        return [n for (n,) in client.rows("SELECT n FROM target ORDER BY n LIMIT 10")]
    except Refused as refused:
        assert refused.code.name == "NOT_FOUND"
        return None


def prepare(client: Client, mode: str) -> list[int] | None:
    """The table as it is before."""
    if mode != "create":
        client.execute("CREATE TABLE target (n BIGINT, value VARBINARY)")
        client.execute("INSERT INTO target (n) VALUES (-1)")
    return there_is(client)


def again(server: Server, client: Client, mode: str):
    """The whole ingest: what was broken off stands in nobody's way."""
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection, connection.cursor() as cursor:
        assert cursor.adbc_ingest("target", rows.reader(rows.batch(i) for i in range(3)), mode=mode) == 3 * rows.BATCH_ROWS
    kept = 1 if "append" in mode else 0
    assert client.value("SELECT count(*) FROM target") == 3 * rows.BATCH_ROWS + kept


@pytest.mark.parametrize("mode", ["create", "append", "replace", "create_append"])
def test_a_client_that_is_killed_leaves_nothing(server, mode):
    """F05: no row, no table, no file."""
    with Client(server.grpc) as client:
        before = prepare(client, mode)
        n_bytes = size(server)
        with half_an_ingest(server, mode) as process:
            assert there_is(client) == before, "half of it can be seen"
            process.kill()
            until(lambda: size(server) < n_bytes + LEFT_BYTES, "the disk has its space back", WAIT_S)
        assert there_is(client) == before
        again(server, client, mode)


@pytest.mark.parametrize("mode", ["create", "append", "replace"])
def test_a_server_that_is_killed_leaves_nothing(server, mode):
    """After the next start; and the client is told."""
    with Client(server.grpc) as client:
        before = prepare(client, mode)
    n_bytes = size(server)
    with half_an_ingest(server, mode) as process:
        server.kill()
        said, error = process.communicate("go\n", timeout=WAIT_S)
        assert (process.returncode, said) == (1, "")
        assert "UNAVAILABLE" in error or "IO" in error, error[-2000:]
    server.start()
    with Client(server.grpc) as client:
        assert there_is(client) == before
        until(lambda: size(server) < n_bytes + LEFT_BYTES, "the disk has its space back", WAIT_S)
        again(server, client, mode)
