"""What happens when the disk changes a file? The server finds it after a start, only queries that need the file fail and name it, and a
copy in its place gives everything back. Without a copy the file is given up, and the table goes on without its rows."""

import json
import os
import random
import subprocess
import time

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import http
from harness.client import Client, Refused, arrow_payload
from harness.engines import query
from harness.sealing import build, folder_of, seal
from harness.server import Server, binary

CREATE = """CREATE TABLE seen (location BIGINT NOT NULL, id BIGINT NOT NULL, at TIMESTAMP NOT NULL, PRIMARY KEY (id))
  WITH (sort_by = 'location, at')"""
N_ROWS = 10_000
FOUND_WITHIN_S = 60
POLL_S = 0.1


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "server").start()
    yield server
    server.kill()


def rows(location: int) -> pa.Table:
    ids = pa.array(range(location * N_ROWS, (location + 1) * N_ROWS), pa.int64())
    at = pa.array([1_700_000_000_000_000 + n for n in range(N_ROWS)], pa.timestamp("us"))
    return pa.table({"location": pa.array([location] * N_ROWS, pa.int64()), "id": ids, "at": at})


def load(client):
    """A file for each location."""
    client.execute(CREATE)
    for location in (1, 2):
        assert client.write("seen", arrow_payload(rows(location))).accepted == N_ROWS
        seal(client, "seen")


def path_of(server, client, entry: int):
    """The file of the rows that came with this entry."""
    (path,) = (path for (path,) in client.rows(f"SELECT path FROM system.segments WHERE kind = 'sealed' AND min_seq = {entry}"))
    return server.data / path


def random_values() -> pa.Table:
    bits = random.Random(1)
    values = pa.array([bits.getrandbits(40) for _ in range(N_ROWS)], pa.int64())
    return pa.table({"id": pa.array(range(N_ROWS), pa.int64()), "value": values})


def flipped_in(content: bytes, path, column: str) -> bytes:
    """A bit in the middle of what the first row group has of a column."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    (of_column,) = (c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == column)
    middle = of_column.data_page_offset + of_column.total_compressed_size // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def replace(path, content: bytes):
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    os.replace(beside, path)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def health(client) -> tuple:
    (row,) = client.rows("SELECT health, health_reason FROM system.tables WHERE name = 'seen'")
    return row


def verify(client):
    checks, _ = client.execute("CALL verify('seen')")
    assert checks.num_rows > 0 and all(check["ok"] is not False for check in checks.to_pylist()), checks.to_pylist()


def wait_for(client, expected: str):
    deadline = time.monotonic() + FOUND_WITHIN_S
    while health(client)[0] != expected:
        assert time.monotonic() < deadline, health(client)
        time.sleep(POLL_S)


def sum_of(client, location: int) -> int:
    return client.value(f"SELECT sum(id) FROM seen WHERE location = {location}")


def assert_only_location_1_is_refused(server, client, path):
    with pytest.raises(Refused) as refused:
        sum_of(client, 1)
    error = refused.value
    assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "FILE_DAMAGED")
    assert path.name in error.message and "TW-1503" in error.message and "CALL verify" in error.message
    assert sum_of(client, 2) == sum(range(2 * N_ROWS, 3 * N_ROWS))
    assert client.value("SELECT count(*) FROM seen") == 2 * N_ROWS
    status, reason = health(client)
    assert status == "damaged" and path.name in reason
    # Rows still come in.
    assert http.get(server.http, "/readyz") == (200, "ok\n")


def test_a_flipped_byte(server):
    with Client(server.grpc) as client:
        load(client)
        path = path_of(server, client, 1)
        whole = path.read_bytes()
        sums = [sum_of(client, location) for location in (1, 2)]
        assert health(client) == ("ok", None)

    server.stop()
    replace(path, flipped(whole))
    server.start()
    with Client(server.grpc) as client:
        wait_for(client, "damaged")
        assert_only_location_1_is_refused(server, client, path)
        damaged = client.rows("SELECT path, damage, rows FROM system.segments WHERE damage IS NOT NULL AND damaged_at IS NOT NULL")
        ((where, why, n_rows),) = damaged
        assert (where.split("/")[-1], n_rows) == (path.name, N_ROWS) and "checksum" in why
        assert client.value(f"SELECT count(*) FROM system.events WHERE level = 'error' AND details LIKE '%{path.name}%'") >= 1

    # It is on record: nobody reads it after the next start either.
    server.restart(kill=True)
    with Client(server.grpc) as client:
        assert_only_location_1_is_refused(server, client, path)
        replace(path, whole)
        verify(client)
        assert health(client) == ("ok", None)
        assert [sum_of(client, location) for location in (1, 2)] == sums


def test_who_asks_first_after_a_start_gets_no_wrong_value(tmp_path):
    """Nobody tests the file before: the scrubber is off. Its values are random bits, and another one decodes as well."""
    server = Server(tmp_path / "server", settings={"scrub.rate": "off"}).start()
    try:
        with Client(server.grpc) as client:
            client.execute("CREATE TABLE seen (id BIGINT NOT NULL, value BIGINT NOT NULL, PRIMARY KEY (id))")
            assert client.write("seen", arrow_payload(random_values())).accepted == N_ROWS
            seal(client, "seen")
            path = path_of(server, client, 1)
            expected = client.value("SELECT sum(value) FROM seen")
        whole = path.read_bytes()
        server.stop()
        replace(path, flipped_in(whole, path, "value"))
        assert pq.read_table(path).num_rows == N_ROWS, "nothing but a checksum tells"
        server.start()
        with Client(server.grpc) as client:
            with pytest.raises(Refused) as refused:
                client.value("SELECT sum(value) FROM seen")
            assert refused.value.reason == "FILE_DAMAGED" and path.name in refused.value.message
            wait_for(client, "damaged")
            replace(path, whole)
            verify(client)
            assert client.value("SELECT sum(value) FROM seen") == expected
    finally:
        server.kill()


def test_a_file_that_is_missing_is_found_by_who_needs_it(server):
    with Client(server.grpc) as client:
        load(client)
        path = path_of(server, client, 1)
        whole = path.read_bytes()
        server.stop()
        path.unlink()
        server.start()
    with Client(server.grpc) as client:
        with pytest.raises(Refused) as refused:
            sum_of(client, 1)
        assert refused.value.reason == "FILE_DAMAGED" and path.name in refused.value.message
        wait_for(client, "damaged")
        assert_only_location_1_is_refused(server, client, path)
        replace(path, whole)
        verify(client)
        assert sum_of(client, 1) == sum(range(N_ROWS, 2 * N_ROWS))


def test_a_commit_of_the_delta_log_that_is_missing(server):
    """Other engines cannot read the table, so it is told; here all goes on."""
    with Client(server.grpc) as client:
        load(client)
        location = seal(client, "seen").location
    server.stop()
    path = folder_of(location) / "_delta_log" / f"{0:020}.json"
    whole = path.read_bytes()
    path.unlink()
    server.start()
    with Client(server.grpc) as client:
        wait_for(client, "damaged")
        assert path.name in health(client)[1] and "other engines" in health(client)[1]
        assert client.value(f"SELECT count(*) FROM system.events WHERE level = 'error' AND details LIKE '%{path.name}%'") == 1
        assert [sum_of(client, n) for n in (1, 2)] == [sum(range(n * N_ROWS, (n + 1) * N_ROWS)) for n in (1, 2)]
        assert client.write("seen", arrow_payload(rows(3))).accepted == N_ROWS
        seal(client, "seen")
        assert http.get(server.http, "/readyz") == (200, "ok\n")
        path.write_bytes(whole)
        verify(client)
        assert health(client) == ("ok", None)
        assert query(location, "SELECT count(*) FROM t").column(0).to_pylist() == [3 * N_ROWS]


def test_a_file_without_a_copy_is_given_up(server):
    with Client(server.grpc) as client:
        client.execute(CREATE)
        assert client.write("seen", arrow_payload(rows(1))).accepted == N_ROWS
        seal(client, "seen")
        # It is published some time later.
        assert client.write("seen", arrow_payload(rows(2))).accepted == N_ROWS
        build(client, "seen")
        ((where,),) = client.rows("SELECT path FROM system.segments WHERE kind = 'built'")
        path = server.data / where
        path.unlink()
        with pytest.raises(Refused) as refused:
            seal(client, "seen")
        assert refused.value.reason == "FILE_DAMAGED" and "CALL give_up" in refused.value.message

        command = [binary(), "table", "give-up", "seen", "--format", "ndjson"]
        done = subprocess.run(command, env={**os.environ, "TIDEWATER_SERVER": server.grpc}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"file": where, "rows": N_ROWS, "reason": "it is missing"}
        events = "SELECT count(*) FROM system.events WHERE message LIKE '%given up%' AND details LIKE"
        assert client.value(f"{events} '%{path.name}%'") == 1
        assert health(client) == ("ok", None)
        assert (sum_of(client, 1), sum_of(client, 2)) == (sum(range(N_ROWS, 2 * N_ROWS)), None)
        assert client.write("seen", arrow_payload(rows(2))).accepted == 0, "keys are remembered"
        sealed = seal(client, "seen")
        assert sealed.rows == N_ROWS
        assert query(sealed.location, "SELECT count(*) FROM t").column(0).to_pylist() == [N_ROWS]
        verify(client)

    server.restart(kill=True)
    with Client(server.grpc) as client:
        assert health(client) == ("ok", None)
        assert client.value("SELECT count(*) FROM seen") == N_ROWS
        empty, _ = client.execute("CALL give_up('seen')")
        assert empty.num_rows == 0
