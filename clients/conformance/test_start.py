"""What does a start refuse, and does it lose anything? Ports and folders that are taken, another store, a damaged log, a torn tail."""

import pathlib

import pyarrow as pa
import pytest

from harness.client import Client, arrow_payload
from harness.sealing import seal
from harness.server import Server
from harness.stubs import ingest

EXIT_USAGE, EXIT_TAKEN, EXIT_DAMAGED = 64, 73, 75


@pytest.fixture
def stored(tmp_path):
    """A server that was killed behind three acknowledged rows."""
    server = Server(tmp_path / "server").start()
    with Client(server.grpc) as client:
        client.execute("CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))")
        for sequence in (1, 2, 3):
            write(client, sequence)
    server.kill()
    yield server
    server.kill()


def write(client, sequence: int):
    payload = arrow_payload(pa.table({"id": pa.array([sequence], pa.int64())}))
    return client.write("t", payload, producer=ingest.Producer(id="p"), sequence=sequence)


def assert_rows(server: Server, n: int):
    with Client(server.grpc) as client:
        assert [row for (row,) in client.rows("SELECT id FROM t ORDER BY id")] == list(range(1, n + 1))


def error_line(server: Server, code: int) -> str:
    ended, said = server.refused()
    assert ended == code, said
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return line


def newest_log(server: Server) -> pathlib.Path:
    return max(path for path in (server.data / "log").glob("*.log") if path.stat().st_size > 0)


@pytest.mark.parametrize("port", ["grpc", "http"])
def test_a_port_that_is_taken(stored, tmp_path, port):
    stored.start()
    other = Server(tmp_path / "other")
    setattr(other, port, getattr(stored, port))
    line = error_line(other, EXIT_TAKEN)
    assert f"server.{port} {getattr(stored, port)} cannot be taken: another process listens there" in line and "TW-1406" in line, line
    # The one that was there goes on, and the other starts where there is a port.
    with Client(stored.grpc) as client:
        assert write(client, 4).accepted == 1
    assert_rows(stored, 4)
    assert Server(tmp_path / "other").start().stop() == 0


def test_mistakes_of_a_configuration_are_told_together_and_nothing_starts(tmp_path):
    """In the file with their lines, in the environment and on the command line."""
    server = Server(tmp_path / "server", settings={"auth": "maybe"}, environment={"TIDEWATER__LOG__LEVELS": "info"})
    file = server.folder / "tidewater.toml"
    file.write_text('[server]\ngprc = "127.0.0.1:1"\n\n[query]\nthreads = 0\nspill = []\n[sever]\n')
    code, said = server.refused()
    assert code == EXIT_USAGE, said
    for part in ("tidewater.toml:2:1", "'server.grpc'", "tidewater.toml:5:11", "tidewater.toml:6:", "LOG__LEVELS", "auth is 'maybe'", "TW-1407"):
        assert part in said, (part, said)
    assert not server.data.exists()
    # A file that is none is told with its place, too.
    file.write_text("[memory]\nlimit = 1 GiB\n")
    code, said = server.refused()
    assert code == EXIT_USAGE and "tidewater.toml:2:" in said, said
    file.unlink()
    server.settings, server.environment = {}, {}
    assert server.start().stop() == 0


def test_a_folder_that_another_process_holds(stored):
    stored.start()
    other = Server(stored.folder.parent / "other", data=stored.data)
    line = error_line(other, EXIT_TAKEN)
    assert f"another process holds {stored.data}" in line and "TW-1303" in line, line
    with Client(stored.grpc) as client:
        assert write(client, 4).accepted == 1
    assert_rows(stored, 4)
    stored.kill()
    other.start()
    assert_rows(other, 4)
    assert other.stop() == 0


def test_another_store_than_the_tables_are_in(stored, tmp_path):
    """Both are told, and nothing is made. Set back it starts, also where the folder was moved to."""
    stored.start()
    with Client(stored.grpc) as client:
        location = seal(client, "t").location
    assert stored.stop() == 0
    for url in (f"file://{tmp_path}/other", "s3://bucket/tables"):
        stored.settings["storage.url"] = url
        line = error_line(stored, EXIT_USAGE)
        for part in (str(stored.data), "public.t", f"storage.url is '{url}'", "back to 'local'", "table attach", "TW-1308"):
            assert part in line, (part, line)
    assert not (tmp_path / "other").exists()
    # The same place by its name.
    stored.settings["storage.url"] = f"file://{stored.data}/tables/"
    stored.start()
    assert_rows(stored, 3)
    assert stored.stop() == 0
    del stored.settings["storage.url"]
    moved = tmp_path / "moved"
    stored.data.rename(moved)
    stored.data = moved
    stored.start()
    assert_rows(stored, 3)
    with Client(stored.grpc) as client:
        assert write(client, 4).accepted == 1
        assert seal(client, "t").location == location.replace(f"{stored.folder}/data", str(moved))


def test_a_torn_tail_is_cut(stored):
    """A record that was never finished, so never acknowledged: a plausible header and less body than it says."""
    with newest_log(stored).open("ab") as log:
        log.write(bytes([0x51, 0x3A, 0x77, 0x10, 0xFF, 0x00, 0x01, 1, 2, 3]))
    stored.start()
    assert_rows(stored, 3)
    with Client(stored.grpc) as client:
        assert write(client, 3).repeated
        assert write(client, 4).accepted == 1
    stored.restart(kill=True)
    assert_rows(stored, 4)


def cut(data: bytes) -> bytes:
    return data[:-10]


def change(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0xFF]) + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize(
    "damage", [pytest.param(cut, id="cut behind what was acknowledged"), pytest.param(change, id="a byte changed")]
)
def test_a_damaged_log_is_refused_and_left_alone(stored, damage):
    log = newest_log(stored)
    good = log.read_bytes()
    log.write_bytes(damage(good))
    for _ in range(2):
        line = error_line(stored, EXIT_DAMAGED)
        assert str(stored.data) in line and "TW-1301" in line and "restore the folder from a backup" in line, line
        assert log.name in line or "acknowledged was" in line, line
    # Nothing was changed by the attempts: with the right bytes everything is there.
    assert log.read_bytes() == damage(good)
    log.write_bytes(good)
    stored.start()
    assert_rows(stored, 3)
