"""Does a sealed table go on in another data folder, and without what an older copy of its own does not know? Rows, keys and other readers."""

import io
import json
import os
import shutil
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness import http
from harness.client import Client, Refused, arrow_payload
from harness.delta import Log
from harness.engines import query
from harness.sealing import folder_of, places, seal
from harness.server import Server, binary

EXIT_REFUSED = 75


def rows(ids) -> pa.Table:
    ids = list(ids)
    return pa.table({"id": pa.array(ids, pa.int64()), "name": pa.array([f"name {i}" for i in ids], pa.string())})


def write(client: Client, table: str, ids) -> int:
    return client.write(table, arrow_payload(rows(ids))).accepted


def ids_of(client: Client, table: str) -> list[int]:
    return [i for (i,) in client.rows(f"SELECT id FROM {table} ORDER BY id")]


def ids_for_others(location: str) -> list[int]:
    return query(location, "SELECT id FROM t ORDER BY id").column("id").to_pylist()


def verify(client: Client, table: str):
    checks = client.rows(f"CALL verify('{table}')")
    assert checks and not [check for check in checks if check[1] is False], checks


def attach(server: Server, *words: str) -> subprocess.CompletedProcess:
    command = [binary(), "table", "attach", *words, "--format", "ndjson"]
    return subprocess.run(command, env={**os.environ, "TIDEWATER_SERVER": server.grpc}, capture_output=True, text=True)


@pytest.fixture
def servers(tmp_path):
    """Makes servers, each with a data folder of its own."""
    made = []

    def make(name: str, **options) -> Server:
        made.append(Server(tmp_path / name, **options))
        return made[-1]

    yield make
    for server in made:
        server.kill()


@pytest.mark.parametrize("key", ["id", "name", "id, name"])
def test_a_table_goes_on_in_another_data_folder(servers, key):
    old = servers("old").start()
    with Client(old.grpc) as client:
        client.execute(f"CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR NOT NULL, PRIMARY KEY ({key}))")
        assert write(client, "t", range(5_000)) == 5_000
        seal(client, "t")
        client.execute("DELETE FROM t WHERE id % 100 = 7")
        assert write(client, "t", range(5_000, 6_000)) == 1_000
        sealed = seal(client, "t")
        # Never sealed: the other folder does not know of them.
        assert write(client, "t", range(6_000, 6_010)) == 10
    assert old.stop() == 0
    folder, expected = folder_of(sealed.location), [i for i in range(6_000) if i >= 5_000 or i % 100 != 7]
    assert ids_for_others(sealed.location) == expected

    new = servers("new").start()
    done = attach(new, str(folder))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["table"], answer["rows"], answer["location"]) == ("public.t", sealed.rows, sealed.location)
    assert answer["delta_version"] == sealed.delta_version + 1
    with Client(new.grpc) as client:
        assert ids_of(client, "t") == expected
        # Deleted rows do not come back; what was not sealed may.
        assert write(client, "t", range(6_000)) == 0
        assert write(client, "t", range(5_990, 6_020)) == 20
        expected += range(6_000, 6_020)
        again = seal(client, "t")
        assert again.rows == len(expected) and again.location == sealed.location
        assert ids_of(client, "t") == ids_for_others(again.location) == expected
        verify(client, "t")
    refused = attach(new, str(folder))
    assert refused.returncode == 1 and "TW-1014" in refused.stderr, refused.stderr
    new.restart(kill=True)
    with Client(new.grpc) as client:
        client.execute("DELETE FROM t WHERE id < 10")
        expected = [i for i in expected if i >= 10]
        assert write(client, "t", range(6_020)) == 0
        seal(client, "t")
        assert ids_of(client, "t") == ids_for_others(sealed.location) == expected
        verify(client, "t")
    assert len({txn["appId"] for txn in Log.of_folder(folder).actions("txn")}) == 2

    # Who had it keeps its rows, takes no more, and seals nothing. Its other tables go on.
    old.start()
    with Client(old.grpc) as client:
        assert len(ids_of(client, "t")) == sealed.rows + 10
        with pytest.raises(Refused, match="DELTA_CONFLICT.*another data folder"):
            write(client, "t", [7_000])
        with pytest.raises(Refused, match="DELTA_CONFLICT.*another data folder"):
            seal(client, "t")
        ((health, reason),) = client.rows("SELECT health, health_reason FROM system.tables WHERE name = 't'")
        assert health == "failed" and "another data folder" in reason
        status, said = http.get(old.http, "/readyz")
        assert status == 503 and "table public.t: another data folder" in said
        client.execute("CREATE TABLE other (id BIGINT NOT NULL, name VARCHAR NOT NULL, PRIMARY KEY (id))")
        assert write(client, "other", range(10)) == 10
        assert seal(client, "other").rows == 10
        client.execute("DROP TABLE t")
        assert http.get(old.http, "/readyz") == (200, "ok\n")
    with Client(new.grpc) as client:
        assert ids_of(client, "t") == ids_for_others(sealed.location) == expected


def test_what_is_no_table_of_ours_is_refused(servers, tmp_path):
    from deltalake import write_deltalake

    server = servers("server").start()
    write_deltalake(str(tmp_path / "foreign"), rows(range(3)))
    for words, code in [
        ([str(tmp_path / "foreign")], "TW-1405"),
        ([str(tmp_path / "nothing")], "TW-1010"),
        (["relative/path"], "not a whole path"),
        ([str(tmp_path / "foreign"), "--name", "system.t"], "TW-1015"),
    ]:
        refused = attach(server, *words)
        assert refused.returncode == 1 and code in refused.stderr, (words, refused.stderr)
    with Client(server.grpc) as client:
        assert client.rows("SELECT name FROM system.tables") == []


def test_an_older_copy_of_a_folder(servers, tmp_path):
    """It is refused, and goes on with what the Delta tables have if somebody says so."""
    server = servers("server", settings={"storage.url": f"file://{tmp_path}/tables"}).start()
    with Client(server.grpc) as client:
        for name in ("t", "whole"):
            client.execute(f"CREATE TABLE {name} (id BIGINT NOT NULL, name VARCHAR NOT NULL, PRIMARY KEY (id))")
            assert write(client, name, range(100)) == 100
            seal(client, name)
        assert write(client, "whole", [100]) == 1
    assert server.stop() == 0
    shutil.copytree(server.data, tmp_path / "copy")
    server.start()
    with Client(server.grpc) as client:
        assert write(client, "t", range(100, 200)) == 100
        client.execute("DELETE FROM t WHERE id = 150")
        seal(client, "t")
    server.kill()
    shutil.rmtree(server.data)
    shutil.copytree(tmp_path / "copy", server.data)

    code, said = server.refused()
    assert code == EXIT_REFUSED and "TW-1307" in said and "--accept-data-loss" in said, said
    server.settings["storage.accept_data_loss"] = "true"
    server.start()
    assert "begun anew" in server.log.read_text()
    del server.settings["storage.accept_data_loss"]
    for _ in range(2):
        with Client(server.grpc) as client:
            assert ids_of(client, "t") == [i for i in range(200) if i != 150]
            assert write(client, "t", range(200)) == 0
            assert ids_of(client, "whole") == list(range(101))
        server.restart(kill=True)
    with Client(server.grpc) as client:
        assert write(client, "t", range(199, 201)) == 1
        sealed = seal(client, "t")
        assert ids_of(client, "t") == ids_for_others(sealed.location)
        assert places(client, "t").sealed == 200
        verify(client, "t")
        verify(client, "whole")


# A footer that claims two thousand million row groups: a reader that believes it allocates for them, and its process ends.
HOSTILE_FOOTER = bytes.fromhex("1502191c48016d150000160019fcffffffff07")


def with_hostile_footer(whole: bytes) -> bytes:
    end = HOSTILE_FOOTER + len(HOSTILE_FOOTER).to_bytes(4, "little") + b"PAR1"
    return whole[: -len(end)] + end


def with_hostile_page(whole: bytes) -> bytes:
    """The same rows, with a page of texts that says there are 2^45 of them."""
    table = pq.read_table(io.BytesIO(whole))
    table = table.cast(pa.schema([field.with_nullable(False) for field in table.schema], table.schema.metadata))
    out = io.BytesIO()
    pq.write_table(table, out, compression="none", use_dictionary=False, column_encoding={"name": "DELTA_LENGTH_BYTE_ARRAY"})
    # Values of a block, blocks within it, values in all.
    begins, n_values = b"\x80\x01\x04", b"\xe8\x07"
    at = out.getvalue().index(begins + n_values) + len(begins)
    hostile = bytearray(out.getvalue())
    hostile[at : at + 7] = b"\x80" * 6 + b"\x08"
    return bytes(hostile)


@pytest.mark.parametrize("hostile", [with_hostile_footer, with_hostile_page])
def test_an_attached_file_that_was_made_to_harm_fails_its_queries_alone(servers, hostile):
    old = servers("old").start()
    with Client(old.grpc) as client:
        # Without a key nothing of its files is read when it is attached.
        client.execute("CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR NOT NULL)")
        write(client, "t", range(1_000))
        sealed = seal(client, "t")
    assert old.stop() == 0
    folder = folder_of(sealed.location)
    (path,) = (path for path in folder.glob("**/*.parquet") if "_delta_log" not in path.parts)
    whole = path.read_bytes()
    path.write_bytes(hostile(whole))
    for commit in (folder / "_delta_log").glob("*.json"):
        commit.write_text(commit.read_text().replace(f'"size":{len(whole)}', f'"size":{path.stat().st_size}'))
    new = servers("new", settings={"scrub.rate": "off"}).start()
    done = attach(new, str(folder))
    assert done.returncode == 0, done.stderr
    with Client(new.grpc) as client:
        for _ in range(2):
            with pytest.raises(Refused, match="FILE_DAMAGED"):
                client.rows("SELECT sum(length(name)) FROM t")
        assert client.value("SELECT 1") == 1


def test_a_checkpoint_that_was_made_to_harm_is_refused(servers):
    old = servers("old").start()
    with Client(old.grpc) as client:
        client.execute("CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR NOT NULL, PRIMARY KEY (id))")
        write(client, "t", range(100))
        sealed = seal(client, "t")
    assert old.stop() == 0
    folder = folder_of(sealed.location)
    checkpoint = folder / "_delta_log" / f"{sealed.delta_version:020}.checkpoint.parquet"
    checkpoint.write_bytes(with_hostile_footer(b"PAR1" + bytes(100)))
    new = servers("new").start()
    refused = attach(new, str(folder))
    assert refused.returncode == 1 and "checkpoint" in refused.stderr, refused.stderr
    checkpoint.unlink()
    done = attach(new, str(folder))
    assert done.returncode == 0 and json.loads(done.stdout)["rows"] == 100, done.stderr
