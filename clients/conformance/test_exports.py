"""Does what was exported come back, byte for byte? Bytes above all, which are text in JSON and CSV, in every form that is written."""

import os
import subprocess

import pyarrow as pa
import pytest

from harness.bulk import CONTENT_TYPES, Bulk
from harness.client import Client, arrow_payload
from harness.server import binary

FORMS = ["csv", "json", "ndjson", "parquet", "arrow"]
VALUES = [b"", b"\x00", b"\xff\x00", b"0x", b"\\x00", b"00ff", b'","', bytes(range(256)), None]
COLUMNS = "(id BIGINT NOT NULL, bin VARBINARY, bins VARBINARY[], PRIMARY KEY (id))"


def run(server, *words: str) -> str:
    done = subprocess.run([binary(), *words], env={**os.environ, "TIDEWATER_SERVER": server.grpc}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(client: Client, table: str) -> list[tuple]:
    return client.rows(f"SELECT id, bin, bins FROM {table} ORDER BY id")


@pytest.fixture
def bytes_table(server, client) -> list[tuple]:
    """The rows of a table `bytes_out` with each of VALUES."""
    client.execute(f"CREATE OR REPLACE TABLE bytes_out {COLUMNS}")
    expected = [(at, value, [value, b"a"]) for at, value in enumerate(VALUES)]
    ids, bins, lists = zip(*expected, strict=True)
    columns = {"id": pa.array(ids, pa.int64()), "bin": pa.array(bins, pa.binary()), "bins": pa.array(lists, pa.list_(pa.binary()))}
    assert client.write("bytes_out", arrow_payload(pa.table(columns))).accepted == len(VALUES)
    assert rows_of(client, "bytes_out") == expected
    return expected


@pytest.mark.parametrize("form", FORMS)
def test_what_was_exported_is_ingested_again(server, client, bytes_table, tmp_path, form):
    path = tmp_path / f"rows.{form}"
    run(server, "sql", "-c", "SELECT * FROM bytes_out", "-o", str(path))
    client.execute(f"CREATE OR REPLACE TABLE bytes_by_command {COLUMNS}")
    run(server, "ingest", "bytes_by_command", str(path))
    assert rows_of(client, "bytes_by_command") == bytes_table
    client.execute(f"CREATE OR REPLACE TABLE bytes_by_http {COLUMNS}")
    with Bulk(server.http) as bulk:
        status, answer = bulk.post("/api/v1/ingest/bytes_by_http", path.read_bytes(), Content_Type=CONTENT_TYPES[form])
    assert (status, answer["accepted"], answer["rejected"]) == (200, len(VALUES), 0), answer
    assert rows_of(client, "bytes_by_http") == bytes_table


def test_bytes_are_written_as_they_are_read(server, client, bytes_table):
    with Bulk(server.http) as bulk:
        shown = bulk.rows("SELECT bin FROM bytes_out WHERE id IN (0, 2, 8) ORDER BY id")
    assert shown == [["\\x"], ["\\xff00"], [None]]
    assert run(server, "sql", "-c", "SELECT bin FROM bytes_out WHERE id = 2", "--format", "csv") == "bin\n\\xff00\n"
    assert "| ff00 |" in run(server, "sql", "-c", "SELECT bin FROM bytes_out WHERE id = 2", "--format", "table")
    with Bulk(server.http) as bulk:
        for text in ("ff00", "\\xff00", "\\xFF00"):
            client.execute(f"CREATE OR REPLACE TABLE bytes_in {COLUMNS}")
            body = b'{"id": 1, "bin": "%s"}' % text.replace("\\", "\\\\").encode()
            assert bulk.ingest("bytes_in", body)[1]["accepted"] == 1
            assert client.value("SELECT bin FROM bytes_in") == b"\xff\x00", text
