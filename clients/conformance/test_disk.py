"""What happens when the disk is full, or may not be written? Rows stop first, then definitions, last what frees space, and all go on by
themselves; a failed write of the log ends the process with 74, and nothing that was acknowledged is lost."""

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import grpc
import pyarrow as pa
import pytest

from harness import http
from harness.client import Client, Refused, arrow_payload
from harness.disk import SmallDisk, limited, without_override
from harness.server import Server, binary
from harness.stubs import ingest

MIB = 1 << 20
# The least for rows; small writes and what frees space go on below it.
FLOOR, SMALL_FLOOR, FREEING_FLOOR = 512 * MIB, 384 * MIB, 256 * MIB
# The log takes 128 MiB at a time; with the floor above it there is something left to write.
DISK = 832 * MIB
FLOOR_SETTING = {"storage.min_free": "512 MiB"}

EXIT_LOG = 74

CREATE = "CREATE TABLE t (id BIGINT NOT NULL, body VARBINARY, PRIMARY KEY (id))"


@pytest.fixture
def disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk", DISK)
    yield disk
    disk.close()


@pytest.fixture
def server(tmp_path, disk):
    server = Server(tmp_path / "server", data=disk.folder / "data", settings=FLOOR_SETTING, wrapper=disk.wrapper)
    yield server
    server.kill()


def rows(n: int, n_bytes: int = 0):
    """One row whose bytes nobody can compress."""
    return arrow_payload(pa.table({"id": pa.array([n], pa.int64()), "body": pa.array([os.urandom(n_bytes)], pa.binary())}))


def write(client, sequence: int, payload, producer: str = "p"):
    return client.write("t", payload, producer=ingest.Producer(id=producer), sequence=sequence)


def count(client) -> tuple:
    (answer,) = client.rows("SELECT count(*), count(DISTINCT id) FROM t")
    return answer


def assert_disk_full(error: Refused):
    assert error.name == "RESOURCE_EXHAUSTED DISK_FULL"
    assert error.retry_after and error.retry_after > 0
    assert int(error.metadata["free_bytes"]) >= 0
    assert "free some space" in error.message, error.message


def assert_ingest_is_closed(server, client):
    """Every way in is refused, with its own form of "later"; queries go on."""
    before = count(client)
    with pytest.raises(Refused) as refused:
        write(client, 2, rows(2))
    assert_disk_full(refused.value)
    with client.stream("t") as stream, pytest.raises(Refused) as refused:
        stream.write(rows(3))
    assert_disk_full(refused.value)
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as adbc, adbc.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error, match="TW-1217"):
            cursor.adbc_ingest("t", pa.table({"id": pa.array([4], pa.int64())}), mode="append")
        with pytest.raises(adbc_driver_manager.Error, match="TW-1217"):
            cursor.execute("INSERT INTO t VALUES (5, NULL)")
    status, headers, problem = http.sql(server.http, "INSERT INTO t VALUES (6, NULL)")
    assert (status, problem["title"], problem["code"]) == (507, "DISK_FULL", "TW-1217")
    assert int(headers["retry-after"]) >= 1

    assert count(client) == before
    # The process is alive, and says why it is not ready.
    assert http.get(server.http, "/healthz") == (200, "ok\n")
    status, reasons = http.get(server.http, "/readyz")
    assert status == 503 and reasons.startswith("ingest: ") and "TW-1217" in reasons


def test_a_floor_above_what_the_disk_has(tmp_path):
    server = Server(tmp_path / "server").start()
    try:
        with Client(server.grpc) as client:
            client.execute(CREATE)
            assert write(client, 1, rows(1)).accepted == 1
            server.settings = {"storage.min_free": "1000000 TiB"}
            server.restart()
        with Client(server.grpc) as client:
            assert_ingest_is_closed(server, client)
            assert count(client) == (1, 1)
            stopped = "SELECT details LIKE '%TW-1217%' FROM system.events WHERE kind = 'ingest.stopped' AND level = 'warn'"
            deadline = time.monotonic() + 60
            while not (told := client.rows(stopped)):
                assert time.monotonic() < deadline, "nobody was told"
            assert told == [(True,)], "once"
    finally:
        server.kill()


def test_ingest_stops_at_the_floor_and_goes_on_by_itself(server, disk, tmp_path):
    server.start()
    with Client(server.grpc) as client:
        client.execute(CREATE)
        assert write(client, 1, rows(1)).accepted == 1
        disk.fill(leave=FLOOR - 20 * MIB)
        assert_ingest_is_closed(server, client)

        # A program of ours waits: it gets its number, is refused, and tries again until there is space.
        file = tmp_path / "rows.csv"
        file.write_text("id\n" + "".join(f"{n}\n" for n in range(100, 200)))
        command, pipe = [binary(), "ingest", "t", file, "--server", server.grpc], subprocess.PIPE
        waiting = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        try:
            # It says so once it is refused, and gives up by itself after five minutes.
            complaint = ""
            while "waiting, " not in complaint and (line := waiting.stderr.readline()):
                complaint += line
            assert "waiting, " in complaint and "DISK_FULL" in complaint, complaint
            assert client.value("SELECT count(*) FROM system.producers WHERE producer LIKE 't:%'") == 1
            assert count(client) == (1, 1)

            disk.empty()
            # The number of a refused batch was not used up.
            result = write(client, 2, rows(2))
            assert (result.accepted, result.repeated) == (1, False)
            said, complaint = waiting.communicate(timeout=60)
        finally:
            waiting.kill()
        assert waiting.returncode == 0, complaint
        assert "100 rows received, 100 accepted, 0 duplicate, 0 rejected, 0 repeated" in said
        assert http.get(server.http, "/readyz") == (200, "ok\n")
        server.restart()
    with Client(server.grpc) as client:
        assert count(client) == (102, 102)


def assert_refused(client, *changes):
    """Each is a statement or a call."""
    for change in changes:
        with pytest.raises(Refused) as refused:
            client.execute(change) if isinstance(change, str) else change()
        assert_disk_full(refused.value)


def test_definitions_go_on_longer_than_rows_and_what_frees_space_longest(server, disk):
    server.start()
    with Client(server.grpc) as client:
        client.execute(CREATE)
        client.execute("CREATE VIEW v AS SELECT 1 AS n")
        assert write(client, 1, rows(1)).accepted == 1
        disk.fill(leave=FLOOR - 20 * MIB)
        assert_refused(client, lambda: write(client, 2, rows(2)), "INSERT INTO t VALUES (2, NULL)")
        client.execute("CREATE TABLE u (id BIGINT)")
        client.execute("CREATE OR REPLACE VIEW v AS SELECT 2 AS n")
        assert client.init_producer("t", "q").epoch == 1

        disk.fill(leave=SMALL_FLOOR - 20 * MIB)
        small = ["CREATE TABLE w (id BIGINT)", "CREATE VIEW w AS SELECT 3 AS n", "CREATE OR REPLACE VIEW v AS SELECT 3 AS n"]
        assert_refused(client, *small, lambda: client.init_producer("t", "q"))
        assert client.value("SELECT n FROM v") == 2
        client.execute("DROP VIEW v")
        client.execute("DROP TABLE u")

        disk.fill(leave=FREEING_FLOOR - 20 * MIB)
        assert_refused(client, "TRUNCATE TABLE t", "DROP TABLE t")
        assert count(client) == (1, 1)
        disk.fill(leave=SMALL_FLOOR - 20 * MIB)
        client.execute("TRUNCATE TABLE t")
        assert count(client) == (0, 0)
        disk.empty()
        assert write(client, 2, rows(2)).accepted == 1
        server.restart()
    with Client(server.grpc) as client:
        assert count(client) == (1, 1)


def test_a_full_disk_ends_no_server(server, disk):
    """Whatever is asked for: nothing is written, what is there can be read, and all goes on when there is space."""
    server.start()
    sequence, last = 0, None
    with Client(server.grpc) as client:
        client.execute(CREATE)
        client.execute("CREATE VIEW v AS SELECT 1 AS n")
        # The log has space that it took in advance: it is used up to the last few MiB.
        for sequence in range(1, 16):
            last = rows(sequence, 8 * MIB)
            assert write(client, sequence, last).accepted == 1
        disk.fill(leave=0)
        assert disk.free_bytes() == 0
        # More than the log's space would take.
        large = f"CREATE OR REPLACE VIEW v AS SELECT 2 AS n, '{'x' * 200_000}' AS filler"
        assert_refused(client, *[large] * 50)
        assert_refused(client, lambda: write(client, sequence + 1, rows(sequence + 1)), lambda: client.init_producer("t", "q"))
        assert_refused(client, "CREATE TABLE u (id BIGINT)", "TRUNCATE TABLE t", "DROP VIEW v", "DROP TABLE t")
        assert (count(client), client.value("SELECT n FROM v")) == ((sequence, sequence), 1)
        assert http.get(server.http, "/healthz") == (200, "ok\n")
    assert server.stop() == 0

    # While the disk is full there is no start, and the reason is said.
    code, said = server.refused()
    assert code == EXIT_LOG, said
    assert "space" in said, said

    disk.empty()
    server.start()
    with Client(server.grpc) as client:
        assert (count(client), client.value("SELECT n FROM v")) == ((sequence, sequence), 1)
        assert write(client, sequence, last).repeated
        assert write(client, sequence + 1, rows(sequence + 1)).accepted == 1
        client.execute("CREATE OR REPLACE VIEW v AS SELECT 3 AS n")
        assert (count(client), client.value("SELECT n FROM v")) == ((sequence + 1, sequence + 1), 3)


@pytest.mark.parametrize("ignore_signal", [True, False], ids=["a failed write", "a signal"])
def test_a_write_beyond_the_limit_of_files_ends_the_process(tmp_path, ignore_signal):
    """RLIMIT_FSIZE: free space there is, so the floor is no help; the write of the log fails all the same."""
    server = Server(tmp_path / "server", wrapper=limited(16 * MIB, ignore_signal=ignore_signal)).start()
    acknowledged, payloads = {}, {}

    def produce(name: str, first: int):
        with Client(server.grpc) as client:
            for sequence in range(1, 200):
                payloads[name, sequence] = rows(first + sequence, 200_000)
                try:
                    write(client, sequence, payloads[name, sequence], name)
                except Refused as error:
                    assert error.code == grpc.StatusCode.UNAVAILABLE, error
                    return
                acknowledged[name] = sequence

    try:
        with Client(server.grpc) as client:
            client.execute(CREATE)
        producers = {f"p{i}": i * 1000 for i in range(4)}
        with ThreadPoolExecutor(len(producers)) as pool:
            list(pool.map(produce, producers.keys(), producers.values()))
        # The signal ends a program that does not ignore it: without a word, but nothing is acknowledged either.
        assert server.ended() in ([EXIT_LOG] if ignore_signal else [EXIT_LOG, -signal.SIGXFSZ])
        if ignore_signal:
            assert "the log cannot be written" in server.log.read_text()
        assert sum(acknowledged.values()) >= 8

        server.wrapper = []
        server.start()
        with Client(server.grpc) as client:
            for name, first in producers.items():
                stored = [n for (n,) in client.rows(f"SELECT id FROM t WHERE id BETWEEN {first} AND {first + 999} ORDER BY id")]
                last = acknowledged.get(name, 0)
                # Each acknowledged row once; of the batch that was under way all or nothing.
                assert stored in ([first + n for n in range(1, last + 1)], [first + n for n in range(1, last + 2)])
                for sequence in range(1, last + 2):
                    assert write(client, sequence, payloads[name, sequence], name).repeated == (sequence <= len(stored))
            n = sum(acknowledged.get(name, 0) + 1 for name in producers)
            assert count(client) == (n, n)
    finally:
        server.kill()


@pytest.fixture
def stored(tmp_path):
    """A server that has stopped in order, with three rows."""
    server = Server(tmp_path / "server").start()
    with Client(server.grpc) as client:
        client.execute(CREATE)
        for sequence in (1, 2, 3):
            write(client, sequence, rows(sequence))
    assert server.stop() == 0
    yield server
    server.kill()


def assert_refused_by_folder(server: Server, reason: str):
    code, said = server.refused()
    assert code == EXIT_LOG, said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert str(server.data) in line and reason in line and "TW-1304" in line, line


def assert_three_rows(server: Server):
    server.start()
    with Client(server.grpc) as client:
        assert count(client) == (3, 3)
        assert write(client, 4, rows(4)).accepted == 1


def test_a_folder_without_permission_is_refused(stored):
    folders = [path for path in [stored.data, *stored.data.rglob("*")] if path.is_dir()]
    modes = {path: path.stat().st_mode for path in [stored.data, *stored.data.rglob("*")]}
    stored.wrapper = without_override()
    try:
        for path, mode in modes.items():
            path.chmod(mode & 0o555)
        assert_refused_by_folder(stored, "Permission denied")
        # The files may be written, but none can be made.
        for path, mode in modes.items():
            path.chmod(mode & 0o555 if path in folders else mode)
        assert_refused_by_folder(stored, "Permission denied")
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert_three_rows(stored)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o555)
    server = Server(tmp_path / "server", data=parent / "data", wrapper=without_override())
    assert_refused_by_folder(server, "Permission denied")
    assert not (parent / "data").exists()


def test_a_folder_below_a_file_is_refused(tmp_path):
    file = tmp_path / "a file"
    file.write_text("x")
    assert_refused_by_folder(Server(tmp_path / "server", data=file / "data"), "Not a directory")


def test_a_read_only_disk_is_refused(server, disk):
    server.start()
    with Client(server.grpc) as client:
        client.execute(CREATE)
        for sequence in (1, 2, 3):
            write(client, sequence, rows(sequence))
    assert server.stop() == 0
    disk.set_writable(False)
    assert_refused_by_folder(server, "Read-only file system")
    disk.set_writable(True)
    assert_three_rows(server)
