"""Do rows come in over HTTP as they do over gRPC? Five formats, all or none, once and again, and whatever is wrong with a body."""

import gzip
import json
import socket

import pyarrow as pa
import pytest

from harness import data
from harness.bulk import CONTENT_TYPES, Bulk, encoded, token_bytes
from harness.client import Client
from harness.compare import difference
from harness.server import Server

KINDS = data.kinds().slice(0, 5_000)
SMALL = "CREATE TABLE {name} (id BIGINT NOT NULL, name VARCHAR, PRIMARY KEY (id))"


@pytest.fixture
def bulk(server):
    with Bulk(server.http) as bulk:
        yield bulk


@pytest.fixture
def table(client, table_name):
    client.execute(SMALL.format(name=table_name))
    return table_name


def lines(ids) -> bytes:
    return "\n".join(json.dumps({"id": i, "name": f"name {i}"}) for i in ids).encode()


def count(client, table: str) -> int:
    return client.value(f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("coding", ["identity", "gzip", "zstd"])
@pytest.mark.parametrize("form", CONTENT_TYPES)
def test_every_type_in_every_format(client, bulk, table_name, form, coding):
    client.execute(data.CREATE_KINDS.replace("kinds", table_name, 1))
    body = encoded(KINDS, form)
    if coding == "gzip":
        body = gzip.compress(body)
    if coding == "zstd":
        body = pa.Codec("zstd").compress(body, asbytes=True)
    status, answer = bulk.ingest(table_name, body, form, Content_Encoding=coding)
    assert status == 200, answer
    n = KINDS.num_rows
    assert (answer["table"], answer["received"], answer["accepted"], answer["rejected"]) == (f"public.{table_name}", n, n, 0), answer
    assert answer["repeated"] is False and answer["errors"] == [] and answer["rejected_truncated"] is False
    assert bulk.rows(f"SELECT count(*) FROM {table_name}", [answer["commit_token"]]) == [[n]]
    assert token_bytes(answer["commit_token"])
    stored, _ = client.execute(f"SELECT {', '.join(KINDS.column_names)} FROM {table_name}")
    assert difference(stored, KINDS) is None
    status, answer = bulk.ingest(table_name, body, form, Content_Encoding=coding)
    assert (status, answer["accepted"], answer["duplicate"]) == (200, 0, n)


@pytest.mark.parametrize("form", CONTENT_TYPES)
def test_many_rows_are_all_stored_or_none(client, bulk, table, form):
    """More than 16 MiB: with on_error=abort one statement; else to be sent in parts."""
    n = 100_000
    rows = pa.table({"id": pa.array(range(n), pa.int64()), "name": [f"{i:>200}" for i in range(n)]})
    body = encoded(rows, form)
    assert len(body) > 16 << 20 or form == "parquet"
    status, answer = bulk.ingest(table, body, form)
    assert (status, answer["title"]) == (413, "BATCH_TOO_LARGE"), answer
    assert "on_error=abort" in answer["hint"] or form == "parquet"
    assert count(client, table) == 0
    status, answer = bulk.ingest(table, body, form, "on_error=abort&dry_run=true")
    assert (status, answer["accepted"], answer["dry_run"], answer["commit_token"]) == (200, n, True, None), answer
    assert count(client, table) == 0
    for repeated in (False, True):
        status, answer = bulk.ingest(table, body, form, "on_error=abort", Idempotency_Key="all")
        assert (status, answer["received"], answer["accepted"], answer["repeated"]) == (200, n, n, repeated), answer
    assert count(client, table) == n
    status, answer = bulk.ingest(table, body, form, "on_error=abort&dry_run=true")
    assert (status, answer["accepted"], answer["duplicate"]) == (200, 0, n), answer


def test_a_bad_row_among_many_refuses_all(client, bulk, table):
    body = lines(range(300_000)) + b'\n{"id": "x"}\n' + lines(range(300_000, 300_010))
    assert len(body) > 8 << 20
    body += b" \n" * (5 << 20)
    status, answer = bulk.ingest(table, body, query="on_error=abort")
    assert (status, answer["title"]) == (422, "BAD_ROWS"), answer
    assert [(error["row"], error["column"], error["code"]) for error in answer["errors"]] == [(300_000, "id", "TYPE_MISMATCH")]
    assert count(client, table) == 0


def test_bad_rows_are_kept_or_refuse_all(client, bulk, table):
    body = b'{"id": 1}\n{"id": null}\nnot json\n{"id": 4, "more": 1}\n[5]\n{"id": 6}'
    status, tried = bulk.ingest(table, body, query="dry_run=true")
    assert (status, tried["dry_run"], tried["commit_token"]) == (200, True, None)
    assert count(client, table) == 0
    status, answer = bulk.ingest(table, body, query="on_error=abort")
    assert (status, answer["title"], answer["code"]) == (422, "BAD_ROWS", "TW-1204")
    assert [error["row"] for error in answer["errors"]] == [1, 2, 3, 4]
    assert count(client, table) == 0
    status, refused = bulk.ingest(table, body, query="on_error=abort&dry_run=true")
    assert (status, [error["row"] for error in refused["errors"]]) == (422, [1, 2, 3, 4])
    status, answer = bulk.ingest(table, body)
    assert (status, answer["received"], answer["accepted"], answer["rejected"]) == (200, 6, 2, 4)
    codes = [(error["row"], error["code"]) for error in answer["errors"]]
    assert codes == [(1, "NULL_VIOLATION"), (2, "MALFORMED"), (3, "MALFORMED"), (4, "MALFORMED")]
    assert {key: tried[key] for key in ("received", "accepted", "rejected", "errors")} == {
        key: answer[key] for key in ("received", "accepted", "rejected", "errors")
    }  # fmt: skip
    assert client.rows(f"SELECT id FROM {table} ORDER BY id") == [(1,), (6,)]
    status, tried = bulk.ingest(table, body, query="dry_run=true")
    assert (tried["accepted"], tried["duplicate"], tried["rejected"]) == (0, 2, 4)


def test_more_bad_rows_than_are_told(bulk, table):
    status, answer = bulk.ingest(table, b"{}\n" * 150)
    assert (status, answer["rejected"], len(answer["errors"]), answer["rejected_truncated"]) == (200, 150, 100, True)


def test_csv_lines_that_are_none(client, bulk, table):
    body = b'id,name\n1,one\n2\n3,three,more\n"4",""\n5,\xff\n6,"six\nlines"\n'
    status, answer = bulk.post(f"/api/v1/ingest/{table}", body, Content_Type="text/csv")
    assert (status, answer["received"], answer["accepted"]) == (200, 6, 3), answer
    assert [(error["row"], error["code"]) for error in answer["errors"]] == [(1, "MALFORMED"), (2, "MALFORMED"), (4, "MALFORMED")]
    assert "line 3: 1 field, not 2" in answer["errors"][0]["message"]
    assert client.rows(f"SELECT id, name FROM {table} ORDER BY id") == [(1, "one"), (4, None), (6, "six\nlines")]
    status, answer = bulk.post(f"/api/v1/ingest/{table}?delimiter=%3B", b"id;name\n7;a,b\n", Content_Type="text/csv")
    assert (status, answer["accepted"]) == (200, 1), answer
    for body, word in [(b"", "empty"), (b"id,nam\n1,x\n", "did you mean 'name'"), (b"name\nx\n", "no column 'id'")]:
        status, answer = bulk.post(f"/api/v1/ingest/{table}", body, Content_Type="text/csv")
        assert status in (400, 409) and word in answer["detail"], answer


def test_requests_that_are_refused(client, bulk, table):
    ndjson = CONTENT_TYPES["ndjson"]
    for path, headers, status, word in [
        (f"/api/v1/ingest/{table}", {"Content_Type": "text/html"}, 415, "text/html"),
        (f"/api/v1/ingest/{table}", {}, 415, "Content-Type"),
        (f"/api/v1/ingest/{table}", {"Content_Type": ndjson, "Content_Encoding": "br"}, 415, "'br'"),
        (f"/api/v1/ingest/{table}?on_eror=keep", {"Content_Type": ndjson}, 400, "on_eror"),
        (f"/api/v1/ingest/{table}?expected_schema=99", {"Content_Type": ndjson}, 412, "schema version"),
        (f"/api/v1/ingest/{table}?time_zone=Mars", {"Content_Type": ndjson}, 400, "Mars"),
        ("/api/v1/ingest/nosuch", {"Content_Type": ndjson}, 404, "nosuch"),
        (f"/api/v1/ingest/{table}", {"Content_Type": ndjson, "Idempotency_Key": "k" * 129}, 400, "129"),
        (f"/api/v1/ingest/{table}", {"Content_Type": ndjson, "Content_Encoding": "gzip"}, 400, "cannot be read"),
        (f"/api/v1/ingest/{table}", {"Content_Type": ndjson, "Content_Encoding": "zstd"}, 400, "cannot be read"),
        (f"/api/v1/ingest/{table}", {"Content_Type": CONTENT_TYPES["parquet"]}, 400, "Parquet"),
        (f"/api/v1/ingest/{table}", {"Content_Type": CONTENT_TYPES["arrow"]}, 400, "Arrow"),
    ]:  # fmt: skip
        with Bulk(f"{bulk.connection.host}:{bulk.connection.port}") as other:
            got, answer = other.post(path, lines([1]), **headers)
        assert got == status and word in answer["detail"], (path, headers, answer)
    with Bulk(f"{bulk.connection.host}:{bulk.connection.port}") as other:
        status, answer = other.ingest(table, b'[{"id": 1}, {"id": 2}', "json")
        assert (status, answer["title"]) == (400, "MALFORMED_PAYLOAD")
        assert other.ingest(table, b"3", "json")[0] == 400
    assert count(client, table) == 0


def test_a_single_object_is_a_row(client, bulk, table):
    assert bulk.ingest(table, b'{\n "id": 1\n}', "json")[1]["accepted"] == 1
    assert bulk.ingest(table, b"[]", "json")[1]["received"] == 0
    assert bulk.ingest(f"public.{table}", b"")[1]["received"] == 0
    assert count(client, table) == 1


def test_bombs_cost_what_is_read_of_them(server, client, bulk, table):
    bulk.ingest(table, lines(range(1000)))
    before = server.forget_peak()
    zeros = gzip.compress(bytes(1 << 28), 9)
    spaces = pa.Codec("zstd").compress(b" " * (1 << 28), asbytes=True)
    for coding, body in [("gzip", zeros), ("zstd", spaces)]:
        status, answer = bulk.ingest(table, body, Content_Encoding=coding)
        assert (status, answer["title"]) == (413, "BATCH_TOO_LARGE"), answer
    status, answer = bulk.ingest(table, zeros, query="on_error=abort", Content_Encoding="gzip")
    assert status in (400, 413), answer
    # One text of half a megabyte, four thousand times: a small file with two gigabytes of rows.
    n = 4_000
    names = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), ["x" * (1 << 19)])
    repeated = pa.table({"id": pa.array(range(10_000, 10_000 + n), pa.int64()), "name": names})
    for form in ("parquet", "arrow"):
        status, answer = bulk.ingest(table, encoded(repeated, form), form)
        assert (status, answer["title"]) == (413, "BATCH_TOO_LARGE"), answer
    assert server.peak_memory_bytes() - before < 400 << 20
    assert count(client, table) == 1000


def footer(*parts: bytes, n_rows: bytes = b"\x00") -> bytes:
    """A Parquet file with nothing but a footer: version, schema without columns, number of rows, and what is given."""
    text = b"\x15\x02\x19\x1c\x48\x01m\x15\x00\x00\x16" + n_rows + b"".join(parts)
    return b"PAR1" + text + len(text).to_bytes(4, "little") + b"PAR1"


def test_files_that_lie_about_themselves(server, client, bulk, table):
    """A Parquet reader that believed them would end the process, or never come to an end."""
    many = b"\xff\xff\xff\xff\x07"
    endless = b"\x80\x80\x80\x80\x80\x80\x01"
    rows = b"\x19\x1c\x19\x0c\x16\x00\x16" + endless + b"\x00\x00"
    for body in [
        footer(b"\x19\xfc", many),
        footer(b"\x15\xfc", many),
        footer(b"\x00")[:-8] + b"\xff\xff\xff\xffPAR1",
        footer(rows),
        footer(rows, n_rows=endless),
    ]:
        for query in ("", "on_error=abort", "on_error=abort&dry_run=true"):
            status, answer = bulk.ingest(table, body, "parquet", query)
            assert 400 <= status < 500, answer
    zeros = pa.table({"id": [1], "name": pa.array([[0] * (8 << 20)])})
    status, answer = bulk.ingest(table, encoded(zeros, "parquet"), "parquet")
    assert (status, answer["title"]) == (413, "BATCH_TOO_LARGE"), answer
    assert count(client, table) == 0


def test_truncated_bodies_store_nothing(server, client, bulk, table):
    host, port = server.http.split(":")
    body = lines(range(1000))
    for cut in (0, 10, len(body) - 1):
        with socket.create_connection((host, int(port)), timeout=60) as raw:
            head = f"POST /api/v1/ingest/{table} HTTP/1.1\r\nHost: {server.http}\r\nContent-Type: application/x-ndjson\r\n"
            raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:cut])
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass
    packed = gzip.compress(body)
    for cut in (1, 20, len(packed) - 1):
        status, answer = bulk.ingest(table, packed[:cut], Content_Encoding="gzip")
        assert (status, answer["title"]) == (400, "MALFORMED_PAYLOAD"), answer
    assert count(client, table) == 0


def head_of(raw) -> str:
    got = b""
    while b"\r\n\r\n" not in got:
        more = raw.recv(1)
        assert more, got
        got += more
    return got.decode()


def test_a_client_that_asks_before_it_sends(server, client, table):
    host, port = server.http.split(":")
    body = lines(range(3))
    for name, expected in [(table, "100"), ("nosuch", "404")]:
        with socket.create_connection((host, int(port)), timeout=60) as raw:
            head = f"POST /api/v1/ingest/{name} HTTP/1.1\r\nHost: {server.http}\r\nContent-Type: application/x-ndjson\r\n"
            raw.sendall(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
            assert head_of(raw).split()[1] == expected
            if expected == "100":
                # As slowly as it likes, byte by byte.
                for i in range(len(body)):
                    raw.sendall(body[i : i + 1])
                assert head_of(raw).split()[1] == "200"
    assert count(client, table) == 3


@pytest.mark.slow
def test_a_client_that_stalls(server, client, table):
    host, port = server.http.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as raw:
        head = f"POST /api/v1/ingest/{table} HTTP/1.1\r\nHost: {server.http}\r\nContent-Type: application/x-ndjson\r\n"
        raw.sendall(f"{head}Content-Length: 100\r\n\r\n".encode() + b'{"id": 1}\n')
        assert head_of(raw).split()[1] == "408"
    assert count(client, table) == 0


def test_a_key_is_answered_once(tmp_path):
    server = Server(tmp_path).start()
    try:
        with Client(server.grpc) as client:
            client.execute("CREATE TABLE t (id BIGINT, name VARCHAR)")
        with Bulk(server.http) as bulk:
            first = bulk.ingest("t", lines([1, 2]), Idempotency_Key="k")[1]
            assert (first["accepted"], first["repeated"]) == (2, False)
            again = bulk.ingest("t", lines([1, 2]), Idempotency_Key="k")[1]
            assert (again["received"], again["accepted"], again["repeated"]) == (2, 2, True)
            numbered = [bulk.ingest("t", lines([3]), query="producer=p&sequence=1")[1] for _ in range(2)]
            assert [answer["repeated"] for answer in numbered] == [False, True]
            assert bulk.ingest("t", lines([4]), query="producer=p&sequence=3")[1]["title"] == "SEQUENCE_GAP"
        server.restart(kill=True)
        with Bulk(server.http) as bulk, Client(server.grpc) as client:
            again = bulk.ingest("t", lines([1, 2]), Idempotency_Key="k")[1]
            assert (again["accepted"], again["repeated"]) == (2, True)
            assert bulk.ingest("t", lines([3]), query="producer=p&sequence=1")[1]["repeated"] is True
            assert count(client, "t") == 3
    finally:
        server.kill()


def test_ten_thousand_tiny_requests_on_one_connection(client, bulk, table_name):
    client.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, PRIMARY KEY (id)) WITH (durability = 'os')")
    for i in range(10_000):
        status, answer = bulk.ingest(table_name, b'{"id": %d}' % i)
        assert (status, answer["accepted"]) == (200, 1), answer
    assert count(client, table_name) == 10_000


def test_rejected_rows_come_in_once_they_fit(client, bulk, table):
    body = b'{"id": 1, "age": 7}\n{"id": "x"}\n{"id": 2, "age": 8}\n'
    assert bulk.ingest(table, body)[1]["rejected"] == 3
    path = f"/api/v1/rejected/{table}/replay"
    status, answer = bulk.post(path)
    assert (status, answer["replayed"], answer["still_rejected"], answer["commit_token"]) == (200, 0, 3, None), answer
    client.execute(f"ALTER TABLE {table} ADD COLUMN age INTEGER")
    assert bulk.post(f"{path}?since=2999-01-01")[1]["still_rejected"] == 0
    status, answer = bulk.post(path)
    assert (answer["replayed"], answer["duplicate"], answer["still_rejected"]) == (2, 0, 1), answer
    assert bulk.rows(f"SELECT id, age FROM {table} ORDER BY id", [answer["commit_token"]]) == [[1, 7], [2, 8]]
    assert bulk.post(f"{path}?ignore_unknown_columns=true")[1]["still_rejected"] == 1
    assert client.rows(f"CALL replay_rejected('{table}')") == [(f"public.{table}", 0, 0, 1)]
    assert client.value(f"SELECT count(*) FROM system.rejected WHERE table_id = (SELECT id FROM system.tables WHERE name = '{table}')") == 1
    for bad, status in [(f"{path}?sinc=1", 400), (f"{path}?since=yesterday", 400), ("/api/v1/rejected/nosuch/replay", 404)]:
        assert bulk.post(bad)[0] == status, bad


def test_answers_are_compressed_for_who_can_read_that(bulk, client):
    sql = json.dumps({"sql": "SELECT * FROM generate_series(1, 5000)"}).encode()
    for coding in ("gzip", "zstd", "identity"):
        headers = {"Content-Type": "application/json", "Accept-Encoding": coding}
        bulk.connection.request("POST", "/api/v1/sql", sql, headers)
        answer = bulk.connection.getresponse()
        body = answer.read()
        assert answer.getheader("Content-Encoding", "identity") == coding
        if coding != "identity":
            body = pa.CompressedInputStream(pa.BufferReader(body), coding).read()
        assert json.loads(body)["row_count"] == 5000
    bulk.connection.request("POST", "/api/v1/sql", b"SELECT 1", {"Content-Type": "text/plain", "Accept-Encoding": "gzip"})
    answer = bulk.connection.getresponse()
    assert json.loads(gzip.decompress(answer.read()) if answer.getheader("Content-Encoding") else answer.read())["row_count"] == 1
