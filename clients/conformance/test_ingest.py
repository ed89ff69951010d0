"""Does the Ingest service keep its promises? Repeats, gaps, fences, bad rows, commit tokens, and what a client sends wrongly."""

import concurrent.futures
import datetime
import os
import struct

import pyarrow as pa
import pytest

from harness.client import Client, Refused, arrow_payload, json_payload
from harness.server import Server
from harness.stubs import ingest, query

# How often a token is tried, over so many connections. A debug build plans a query in 10 ms: 10000 take more than a minute on two cores.
N_TOKENS = int(os.environ.get("TIDEWATER_CONFORMANCE_N", "3000"))
N_CONNECTIONS = 8


@pytest.fixture
def table(client, table_name):
    client.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, v VARCHAR, PRIMARY KEY (id))")
    return table_name


def rows(*ids, v="x"):
    return arrow_payload(pa.table({"id": pa.array(ids, pa.int64()), "v": [v] * len(ids)}))


def count(client, table):
    return client.value(f"SELECT count(*) FROM {table}")


def refused(call, *arguments, **named) -> Refused:
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    return caught.value


def producer(client, table, name="p", **fields):
    return ingest.Producer(id=name, epoch=client.init_producer(table, name).epoch, **fields)


class TestRepeats:
    """H01"""

    def test_unary_twice(self, client, table):
        who = producer(client, table)
        first = client.write(table, rows(1, 2), producer=who, sequence=1)
        again = client.write(table, rows(1, 2), producer=who, sequence=1)
        assert (first.repeated, first.received, first.accepted) == (False, 2, 2)
        assert (again.repeated, again.received, again.accepted) == (True, 2, 2)
        assert count(client, table) == 2

    def test_content_is_not_identity(self, client, table_name):
        client.execute(f"CREATE TABLE {table_name} (id BIGINT)")
        who = producer(client, table_name)
        for sequence in (1, 2, 3):
            client.write(table_name, arrow_payload(pa.table({"id": [7]})), producer=who, sequence=sequence)
        assert count(client, table_name) == 3

    def test_concurrently(self, client, table_name):
        client.execute(f"CREATE TABLE {table_name} (id BIGINT)")
        who = producer(client, table_name)
        for sequence in range(1, 11):
            payload = arrow_payload(pa.table({"id": [sequence]}))
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                calls = [pool.submit(client.write, table_name, payload, producer=who, sequence=sequence) for _ in range(8)]
                assert sorted(call.result().repeated for call in calls) == [False] + [True] * 7
        assert client.rows(f"SELECT count(*), count(DISTINCT id) FROM {table_name}") == [(10, 10)]

    def test_after_reconnect(self, client, table):
        who = producer(client, table)
        stream = client.stream(table, producer=who)
        stream.write(rows(1), 1)
        stream.cancel()
        with client.stream(table, producer=who) as stream:
            assert stream.opened.last_sequence == 1
            assert stream.write(rows(1), 1).repeated
            assert not stream.write(rows(2), 2).repeated
        assert count(client, table) == 2

    @pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
    def test_after_restart(self, tmp_path, kill):
        server = Server(tmp_path / "server").start()
        try:
            with Client(server.grpc) as client:
                client.execute("CREATE TABLE t (id BIGINT)")
                who = producer(client, "t")
                for sequence in (1, 2, 3):
                    client.write("t", arrow_payload(pa.table({"id": [sequence]})), producer=who, sequence=sequence)
                client.write("t", arrow_payload(pa.table({"id": [100]})), key="once")
            server.restart(kill=kill)
            with Client(server.grpc) as client:
                for sequence in (1, 2, 3):
                    payload = arrow_payload(pa.table({"id": [sequence]}))
                    assert client.write("t", payload, producer=who, sequence=sequence).repeated
                assert client.write("t", arrow_payload(pa.table({"id": [100]})), key="once").repeated
                info = client.init_producer("t", "p")
                assert (info.known, info.last_sequence) == (True, 3)
                assert info.epoch > who.epoch
                assert client.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,), (100,)]
        finally:
            server.kill()

    def test_idempotency_key(self, client, table_name):
        client.execute(f"CREATE TABLE {table_name} (id BIGINT)")
        payload = arrow_payload(pa.table({"id": [1]}))
        assert not client.write(table_name, payload, key="k").repeated
        assert client.write(table_name, payload, key="k").repeated
        assert not client.write(table_name, payload, key="other").repeated
        assert count(client, table_name) == 2


class TestSequences:
    """H02"""

    def test_gap(self, client, table):
        who = producer(client, table)
        client.write(table, rows(1), producer=who, sequence=1)
        error = refused(client.write, table, rows(3), producer=who, sequence=3)
        assert error.name == "OUT_OF_RANGE SEQUENCE_GAP"
        assert error.metadata["last_sequence"] == "1"
        assert count(client, table) == 1

    def test_gap_on_a_stream_refuses_what_follows(self, client, table):
        with client.stream(table, producer=producer(client, table)) as stream:
            for sequence in (1, 3, 4, 2, 3, 4):
                stream.send(rows(sequence), sequence)
            assert stream.result().accepted == 1
            assert refused(stream.result).name == "OUT_OF_RANGE SEQUENCE_GAP"
            assert refused(stream.result).name == "ABORTED PREDECESSOR_FAILED"
            outcomes = []
            for _ in range(3):
                try:
                    outcomes.append(stream.result().accepted)
                except Refused as error:
                    outcomes.append(error.name)
        # 2 is not the number that was refused, but it is what was missing: either answer is allowed, a hole is not.
        stored = [row for (row,) in client.rows(f"SELECT id FROM {table} ORDER BY id")]
        assert stored == list(range(1, len(stored) + 1)), outcomes

    def test_fenced(self, client, table):
        old = producer(client, table)
        client.write(table, rows(1), producer=old, sequence=1)
        stream = client.stream(table, producer=old)
        new = producer(client, table)
        assert new.epoch > old.epoch
        assert refused(client.write, table, rows(2), producer=old, sequence=2).name == "FAILED_PRECONDITION PRODUCER_FENCED"
        assert refused(stream.write, rows(2), 2).name == "FAILED_PRECONDITION PRODUCER_FENCED"
        assert client.write(table, rows(2), producer=new, sequence=2).accepted == 1

    def test_epoch_of_the_future(self, client, table):
        who = producer(client, table)
        ahead = ingest.Producer(id=who.id, epoch=who.epoch + 5)
        assert refused(client.write, table, rows(1), producer=ahead, sequence=1).name == "DATA_LOSS PRODUCER_STATE_LOST"

    def test_server_that_knows_less_than_the_client(self, client, table):
        who = producer(client, table)
        client.write(table, rows(1), producer=who, sequence=1)
        ahead = ingest.Producer(id=who.id, epoch=who.epoch, last_acked=7)
        assert refused(client.write, table, rows(2), producer=ahead, sequence=2).name == "DATA_LOSS PRODUCER_STATE_LOST"
        with client.stream(table, producer=ahead) as stream:
            assert refused(stream.write, rows(2), 2).name == "DATA_LOSS PRODUCER_STATE_LOST"
        assert count(client, table) == 1

    def test_server_that_knows_nothing_of_the_client(self, client, table):
        """The table was lost; InitProducer without reset must not hide it."""
        who = producer(client, table, last_acked=7)
        assert refused(client.write, table, rows(8), producer=who, sequence=8).name == "DATA_LOSS PRODUCER_STATE_LOST"

    def test_unknown_producer(self, client, table):
        nobody = ingest.Producer(id="nobody")
        assert refused(client.write, table, rows(5), producer=nobody, sequence=5).name == "FAILED_PRECONDITION UNKNOWN_PRODUCER"
        assert client.write(table, rows(1), producer=nobody, sequence=1).accepted == 1

    def test_number_with_other_bytes(self, client, table):
        who = producer(client, table)
        client.write(table, rows(1), producer=who, sequence=1)
        assert refused(client.write, table, rows(2), producer=who, sequence=1).name == "ALREADY_EXISTS SEQUENCE_REUSED"
        assert client.rows(f"SELECT id FROM {table}") == [(1,)]

    def test_reset(self, client, table):
        who = producer(client, table)
        client.write(table, rows(1), producer=who, sequence=1)
        info = client.init_producer(table, "p", reset=True)
        who = ingest.Producer(id="p", epoch=info.epoch)
        assert client.write(table, rows(2), producer=who, sequence=1000).accepted == 1
        assert client.write(table, rows(3), producer=who, sequence=1001).accepted == 1

    def test_monotonic(self, client, table):
        who = producer(client, table, mode=ingest.SEQUENCE_MODE_MONOTONIC)
        for sequence in (10, 17, 1_000_000):
            assert client.write(table, rows(sequence), producer=who, sequence=sequence).accepted == 1
        assert client.write(table, rows(1_000_000), producer=who, sequence=1_000_000).repeated
        assert count(client, table) == 3

    def test_monotonic_keeps_order_behind_a_refused_batch(self, client, table):
        """Were 11 stored, 10 sent again would be taken for a repeat and its rows would be lost."""
        who = producer(client, table, mode=ingest.SEQUENCE_MODE_MONOTONIC)
        with client.stream(table, producer=who, on_row_error=ingest.ON_ROW_ERROR_ABORT) as stream:
            stream.send(json_payload([{"id": None}]), 10)
            stream.send(rows(11), 11)
            assert refused(stream.result).name == "INVALID_ARGUMENT BAD_ROWS"
            assert refused(stream.result).name == "ABORTED PREDECESSOR_FAILED"
            assert not stream.write(rows(10), 10).repeated
            assert not stream.write(rows(11), 11).repeated
        assert count(client, table) == 2

    def test_a_refused_batch_does_not_use_up_its_number(self, client, table):
        who = producer(client, table)
        error = refused(client.write, table, json_payload([{"id": None}]), producer=who, sequence=1,
                        on_row_error=ingest.ON_ROW_ERROR_ABORT)  # fmt: skip
        assert error.name == "INVALID_ARGUMENT BAD_ROWS"
        assert not client.write(table, rows(1), producer=who, sequence=1).repeated

    @pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 129])
    def test_names(self, client, table, name):
        assert refused(client.init_producer, table, name).name == "INVALID_ARGUMENT INVALID_PRODUCER"


@pytest.fixture
def timed(client, table_name):
    client.execute(
        f"CREATE TABLE {table_name} (id BIGINT NOT NULL, at TIMESTAMP NOT NULL, n SMALLINT, PRIMARY KEY (id))"
        " WITH (time_column = 'at')"
    )
    return table_name


FUTURE = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=400)).isoformat()
NOW = "2024-05-01T00:00:00"
BAD = [
    {"id": 1, "at": NOW, "n": 1},
    {"id": None, "at": NOW, "n": 1},
    {"id": 3, "at": NOW, "n": 70_000},
    {"id": 4, "at": FUTURE, "n": 1},
    {"id": 5, "at": NOW, "n": "seven"},
    '{"id": 6, "at": ',
    {"id": 7, "at": None, "n": 1},
    {"id": 8, "at": NOW, "n": 2},
]


class TestBadRows:
    """H04"""

    def test_keep(self, client, timed):
        result = client.write(timed, json_payload(BAD))
        assert (result.received, result.accepted, result.duplicates, result.rejected) == (8, 2, 0, 6)
        found = [(error.row, error.column, error.code) for error in result.row_errors]
        assert found == [
            (1, "id", "NULL_VIOLATION"),
            (2, "n", "OUT_OF_RANGE"),
            (3, "at", "FUTURE_TIME"),
            (4, "n", "TYPE_MISMATCH"),
            (5, "at", "MALFORMED"),
            (6, "at", "NULL_VIOLATION"),
        ]
        assert client.rows(f"SELECT id FROM {timed} ORDER BY id") == [(1,), (8,)]
        kept = client.rows(
            'SELECT "row", code FROM system.rejected WHERE table_id = '
            f"(SELECT id FROM system.tables WHERE name = '{timed}') ORDER BY \"row\""
        )
        assert kept == [(row, code) for row, _, code in found]

    def test_abort(self, client, timed):
        error = refused(client.write, timed, json_payload(BAD), on_row_error=ingest.ON_ROW_ERROR_ABORT)
        assert error.name == "INVALID_ARGUMENT BAD_ROWS"
        assert count(client, timed) == 0

    def test_abort_on_a_stream_names_rows_and_goes_on(self, client, timed):
        with client.stream(timed, on_row_error=ingest.ON_ROW_ERROR_ABORT) as stream:
            error = refused(stream.write, json_payload(BAD))
            assert error.name == "INVALID_ARGUMENT BAD_ROWS"
            assert [error.row for error in error.result.row_errors] == [1, 2, 3, 4, 5, 6]
            assert stream.write(json_payload(BAD[:1])).accepted == 1
            stream.finish()
        assert count(client, timed) == 1

    def test_first_hundred_errors(self, client, timed):
        result = client.write(timed, json_payload([{"id": None, "at": NOW}] * 250))
        assert (result.received, result.rejected) == (250, 250)
        assert [error.row for error in result.row_errors] == list(range(100))

    def test_duplicates_within_a_batch(self, client, table):
        result = client.write(table, rows(1, 2, 1, 1))
        assert (result.received, result.accepted, result.duplicates) == (4, 2, 2)
        result = client.write(table, rows(2, 3))
        assert (result.accepted, result.duplicates) == (1, 1)


class TestTokens:
    """H06"""

    def test_reads_own_writes(self, server, client, table):
        """Each connection has a producer of its own; each query must see the row that was written just before."""

        def write_and_read(connection: int) -> int:
            with Client(server.grpc) as own:
                who = producer(own, table, f"p{connection}")
                ids = range(connection, N_TOKENS, N_CONNECTIONS)
                for sequence, n in enumerate(ids, 1):
                    token = own.write(table, rows(n), producer=who, sequence=sequence).commit_token
                    assert own.rows(f"SELECT id FROM {table} WHERE id = {n}", min_commit=[token]) == [(n,)]
                return len(ids)

        with concurrent.futures.ThreadPoolExecutor(N_CONNECTIONS) as pool:
            assert sum(pool.map(write_and_read, range(N_CONNECTIONS))) == N_TOKENS
        assert count(client, table) == N_TOKENS

    def test_token_of_garbage(self, client, table):
        error = refused(client.execute, f"SELECT 1 FROM {table}", min_commit=[b"nonsense"])
        assert error.name == "INVALID_ARGUMENT INVALID_COMMIT_TOKEN"

    def test_repeat_has_a_token(self, client, table):
        who = producer(client, table)
        for _ in range(2):
            token = client.write(table, rows(1), producer=who, sequence=1).commit_token
            assert client.value(f"SELECT count(*) FROM {table}", min_commit=[token]) == 1


class TestWrongRequests:
    def test_table_that_is_not_there(self, client):
        assert refused(client.write, "nowhere", rows(1)).name == "NOT_FOUND TABLE_NOT_FOUND"
        assert refused(client.schema, "nowhere").name == "NOT_FOUND TABLE_NOT_FOUND"
        assert refused(client.stream, "nowhere").name == "NOT_FOUND TABLE_NOT_FOUND"

    def test_batch_too_large(self, client, table):
        error = refused(client.write, table, rows(1, v="x" * (20 << 20)))
        assert error.name == "INVALID_ARGUMENT BATCH_TOO_LARGE"

    def test_columns(self, client, table):
        extra = arrow_payload(pa.table({"id": [1], "other": [2]}))
        assert refused(client.write, table, extra).name == "FAILED_PRECONDITION SCHEMA_MISMATCH"
        assert client.write(table, extra, schema_policy=ingest.SCHEMA_POLICY_IGNORE_UNKNOWN_COLUMNS).accepted == 1
        # Without a column that may not be NULL no row can come in.
        missing = arrow_payload(pa.table({"v": ["x"]}))
        assert refused(client.write, table, missing).name == "FAILED_PRECONDITION SCHEMA_MISMATCH"
        assert client.rows(f"SELECT id, v FROM {table}") == [(1, None)]

    def test_schema_version(self, client, table):
        version = client.schema(table).version
        assert client.write(table, rows(1), expected_schema_version=version).accepted == 1
        error = refused(client.write, table, rows(2), expected_schema_version=version + 1)
        assert error.name == "FAILED_PRECONDITION SCHEMA_VERSION_MISMATCH"

    @pytest.mark.parametrize(
        "options",
        [
            {"schema_policy": ingest.SCHEMA_POLICY_ADD_COLUMNS},
            {"schema_policy": ingest.SCHEMA_POLICY_CREATE_TABLE},
            {"durability": ingest.DURABILITY_REPLICATED},
        ],
        ids=str,
    )
    def test_what_is_not_supported_yet(self, client, table, options):
        error = refused(client.write, table, rows(1), **options)
        assert error.name == "UNIMPLEMENTED UNSUPPORTED_REQUEST"
        assert count(client, table) == 0

    @pytest.mark.parametrize("payload", [
        ingest.Payload(),
        ingest.Payload(arrow_ipc_stream=b""),
        ingest.Payload(arrow_ipc_stream=b"garbage that is no Arrow"),
        ingest.Payload(arrow_ipc_stream=rows(1).arrow_ipc_stream[:-60]),
        ingest.Payload(arrow_ipc_stream=b"\xff\xff\xff\xff" + struct.pack("<i", 0x7FFFFFF0)),
        ingest.Payload(arrow_ipc_message=rows(1).arrow_ipc_stream),
    ], ids=["none", "empty", "garbage", "cut", "forged length", "message without a stream"])  # fmt: skip
    def test_malformed(self, client, table, payload):
        error = refused(client.write, table, payload)
        assert error.name in ("INVALID_ARGUMENT MALFORMED_PAYLOAD", "INVALID_ARGUMENT INVALID_REQUEST")
        assert count(client, table) == 0

    def test_forged_body_lengths(self, client, table):
        """Every byte of a small stream changed in turn: refused or stored, never a broken server."""
        good = rows(1, 2).arrow_ipc_stream
        n_refused = 0
        for position in range(0, len(good), 3):
            bad = bytearray(good)
            bad[position] ^= 0x7F
            try:
                client.write(table, ingest.Payload(arrow_ipc_stream=bytes(bad)))
            except Refused as error:
                assert error.code.name not in ("INTERNAL", "UNKNOWN", "UNAVAILABLE"), (position, error)
                n_refused += 1
        assert n_refused > 0
        # Nothing is in the way of what is right.
        assert client.write(table, rows(1, 2)).received == 2
        assert client.value(f"SELECT count(*) FROM {table} WHERE id IN (1, 2)") == 2

    def test_producer_and_key(self, client, table):
        error = refused(client.write, table, rows(1), producer=producer(client, table), sequence=1, key="k")
        assert error.code.name == "INVALID_ARGUMENT"
        assert refused(client.write, table, rows(1), sequence=1).code.name == "INVALID_ARGUMENT"
        assert refused(client.write, table, rows(1), key="k" * 129).name == "INVALID_ARGUMENT INVALID_IDEMPOTENCY_KEY"

    def test_second_open(self, client, table):
        with client.stream(table) as stream:
            stream.raw(ingest.WriteStreamRequest(open=ingest.Open(table=ingest.TableRef(table=table))))
            assert refused(stream.result).code.name == "INVALID_ARGUMENT"

    def test_arrow_messages_under_one_schema(self, client, table):
        batch = pa.record_batch({"id": pa.array([1, 2], pa.int64()), "v": ["a", None]})
        schema = batch.schema.serialize().to_pybytes()
        request = ingest.WriteStreamRequest(
            open=ingest.Open(table=ingest.TableRef(table=table), arrow_schema=schema)
        )
        message = ingest.Payload(arrow_ipc_message=batch.serialize().to_pybytes())
        batch = ingest.WriteStreamRequest(batch=ingest.Batch(batch_id=1, payload=message))
        answers = list(client.ingest.WriteStream(iter([request, batch]), timeout=30))
        assert [answer.WhichOneof("msg") for answer in answers] == ["opened", "result"]
        assert answers[1].result.accepted == 2
        assert client.rows(f"SELECT id, v FROM {table} ORDER BY id") == [(1, "a"), (2, None)]


class TestQueries:
    def test_json_rows(self, client):
        lines, summary = client.execute(
            "SELECT CAST(9007199254740993 AS BIGINT) AS big, CAST(1 AS BIGINT) AS small, 'ä' AS t, NULL AS n",
            format=query.FORMAT_JSON_ROWS,
        )
        assert (lines, summary.rows) == ([{"big": "9007199254740993", "small": 1, "t": "ä", "n": None}], 1)

    def test_positional_parameters(self, client):
        values = query.Values(values=[
            query.Value(int64_value=7), query.Value(string_value="x"), query.Value(), query.Value(double_value=0.5),
        ])  # fmt: skip
        sql = "SELECT CAST($1 AS BIGINT) AS a, CAST($2 AS VARCHAR) AS b, CAST($3 AS BIGINT) AS c, CAST($4 AS DOUBLE) AS d"
        assert client.rows(sql, positional=values) == [(7, "x", None, 0.5)]
        assert refused(client.execute, sql).name == "INVALID_ARGUMENT INVALID_PARAMETER"

    def test_row_cap(self, client):
        sql = "SELECT * FROM (VALUES (1), (2), (3)) AS v(a)"
        assert refused(client.execute, sql, max_rows=2).name == "RESOURCE_EXHAUSTED RESULT_TOO_LARGE"
        table, summary = client.execute(sql, max_rows=2, overflow_mode=query.OVERFLOW_MODE_TRUNCATE)
        assert (table.num_rows, summary.truncated) == (2, True)
        table, summary = client.execute(sql, max_rows=3, overflow_mode=query.OVERFLOW_MODE_TRUNCATE)
        assert (table.num_rows, summary.truncated) == (3, False)

    def test_settings(self, client):
        assert client.rows("SHOW timezone", settings={"timezone": "Europe/Berlin"})[0][-1] == "Europe/Berlin"
        assert refused(client.execute, "SELECT 1", settings={"nonsense": "1"}).name == "INVALID_ARGUMENT INVALID_SETTING"

    def test_updates_say_what_they_did(self, client, table):
        _, summary = client.execute(f"INSERT INTO {table} VALUES (1, 'a'), (2, 'b'), (1, 'c')")
        assert summary.affected_rows == 2
        assert len(summary.commit_tokens) == 1
        assert any("duplicate" in notice for notice in summary.notices), summary.notices

    def test_errors(self, client):
        assert refused(client.execute, "SELEC 1").name == "INVALID_ARGUMENT SYNTAX_ERROR"
        error = refused(client.execute, "SELECT * FROM nowhere")
        assert error.name == "NOT_FOUND TABLE_NOT_FOUND"
        assert "nowhere" in error.message

    def test_cancel_of_nothing(self, client):
        error = refused(client._call, client.queries.Cancel, query.CancelRequest(query_id="nothing"))
        assert error.name == "NOT_FOUND QUERY_NOT_FOUND"


class TestKeyBudget:
    """A budget for keys that is too small refuses rows, and forgets nothing."""

    BATCH = 2_000

    def batch(self, sequence):
        ids = [(i * 0x9E3779B97F4A7C15) & (2**63 - 1) for i in range(sequence * self.BATCH, (sequence + 1) * self.BATCH)]
        return arrow_payload(pa.table({"id": pa.array(ids, pa.int64())}))

    def test_a_full_budget(self, tmp_path):
        server = Server(tmp_path / "server", settings={"memory.limit": "512 MiB", "dedup.memory": "1 MiB", "dedup.disk": "64 KiB"}).start()
        try:
            with Client(server.grpc) as client:
                client.execute("CREATE TABLE t (id BIGINT NOT NULL, PRIMARY KEY (id))")
                who = producer(client, "t")
                sequence, full = 1, None
                while full is None:
                    try:
                        assert client.write("t", self.batch(sequence), producer=who, sequence=sequence).accepted == self.BATCH
                        sequence += 1
                    except Refused as error:
                        full = error
                    assert sequence < 200, "a mebibyte does not hold so many keys"
                assert full.name == "RESOURCE_EXHAUSTED DEDUP_BUDGET" and "dedup.memory" in full.message, full
                assert sequence > 10
                # Its number is free, what was stored is known as a batch, and nothing was stored of what was refused.
                assert refused(client.write, "t", self.batch(sequence), producer=who, sequence=sequence).reason == "DEDUP_BUDGET"
                assert client.write("t", self.batch(1), producer=who, sequence=1).repeated
                assert count(client, "t") == (sequence - 1) * self.BATCH
            server.settings["dedup.memory"] = "64 MiB"
            server.restart()
            with Client(server.grpc) as client:
                who = producer(client, "t")
                assert client.write("t", self.batch(sequence), producer=who, sequence=sequence).accepted == self.BATCH
                # And every key is known by itself.
                for known in range(1, sequence + 1):
                    assert client.write("t", self.batch(known)).duplicates == self.BATCH
                assert count(client, "t") == sequence * self.BATCH
        finally:
            server.kill()
