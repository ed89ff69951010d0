"""Does the server keep its word when disks and clients are slow, silent, too many or wrong, and when it stops? H03, H05, H09 and H10 of the
gRPC services, and callers that never finish what they began."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import queue
import signal
import socket
import sys
import threading
import time
import uuid

import grpc
import pyarrow as pa
import pytest

from harness.bulk import Bulk
from harness.client import TIMEOUT_S, Client, Refused, arrow_payload, refused_call
from harness.disk import syncs
from harness.server import Server
from harness.stubs import ingest, query
from harness.waiting import until

MIB = 1 << 20
CREATE = "CREATE TABLE {name} (id BIGINT NOT NULL, body VARBINARY, PRIMARY KEY (id))"
ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value * b.value % 7 = {n}"
PATIENCE_S = 60
EXIT_DISK = 74
# Of one port; what more comes waits in the system's queue, which holds 128.
MAX_CONNECTIONS = 4096
N_WAITING = 100
N_CONNECTIONS = 5_000


@pytest.fixture
def table(client, table_name):
    client.execute(CREATE.format(name=table_name))
    return table_name


def rows(first: int, n_bytes: int = 1, n: int = 1) -> ingest.Payload:
    """Rows whose bytes nobody can compress."""
    return arrow_payload(pa.table({"id": pa.array(range(first, first + n), pa.int64()), "body": [os.urandom(n_bytes) for _ in range(n)]}))


def refused(call, *arguments, **named) -> Refused:
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    return caught.value


class Flood:
    """A WriteStream that sends what `batches` gives as fast as the connection takes it, and hears everything."""

    def __init__(self, client: Client, table: str, batches):
        self.handed, self.heard = 0, queue.Queue()
        self.batches, self.table = batches, table
        self.call = client.ingest.WriteStream(self._requests(), timeout=TIMEOUT_S)
        self.thread = threading.Thread(target=self._hear)
        self.thread.start()

    def _requests(self):
        yield ingest.WriteStreamRequest(open=ingest.Open(table=ingest.TableRef(table=self.table)))
        for number, payload in enumerate(self.batches, 1):
            # The library asks for the next one when it can hold it.
            self.handed = number
            yield ingest.WriteStreamRequest(batch=ingest.Batch(batch_id=number, payload=payload))

    def _hear(self):
        try:
            for answer in self.call:
                self.heard.put(answer)
            self.heard.put(None)
        except grpc.RpcError as error:
            self.heard.put(error)

    def next(self):
        """The next answer: its kind and itself; `end` when there is none, `error` with what the stream ended with."""
        answer = self.heard.get(timeout=TIMEOUT_S)
        if answer is None:
            return "end", None
        if isinstance(answer, grpc.RpcError):
            return "error", refused_call(answer)
        kind = answer.WhichOneof("msg")
        return kind, getattr(answer, kind)

    def close(self):
        self.call.cancel()
        self.thread.join(TIMEOUT_S)


class TestAcknowledgements:
    """H03: what is acknowledged is on the disk. After kill -9 what was only written is there, too, so the disk itself is made slow and broken."""

    DELAY_S = 0.2

    def test_no_answer_comes_before_its_sync(self, server, client, adbc, table):
        client.execute("CREATE TABLE at_os (id BIGINT) WITH (durability = 'os')")

        def append():
            with adbc.cursor() as cursor:
                cursor.adbc_ingest(table, pa.table({"id": pa.array([3], pa.int64())}), mode="append")

        def post():
            with Bulk(server.http) as bulk:
                status, answer = bulk.ingest(table, b'{"id": 4}')
                assert (status, answer["accepted"]) == (200, 1), answer

        def took(change) -> float:
            begin = time.monotonic()
            change()
            return time.monotonic() - begin

        with client.stream(table) as stream, syncs(server.process.pid, f"delay_enter={int(self.DELAY_S * 1e6)}"):
            for change in (
                lambda: client.write(table, rows(1)),
                # A duplicate's answer promises as much.
                lambda: client.write(table, rows(1)),
                lambda: stream.write(rows(2)),
                append,
                post,
                lambda: client.execute(f"INSERT INTO {table} VALUES (5, X'00')"),
                lambda: client.execute(f"DELETE FROM {table} WHERE id = 5"),
                lambda: client.execute(f"ALTER TABLE {table} ADD COLUMN more BIGINT"),
                lambda: client.execute(f"CREATE TABLE {table}_2 (id BIGINT)"),
                lambda: client.init_producer(table, "p"),
                lambda: client.write("at_os", ingest.Payload(json_rows=b'{"id": 1}'), durability=ingest.DURABILITY_FSYNC),
            ):
                assert took(change) >= self.DELAY_S
            # Who asks for less waits for no sync.
            at_os = [took(lambda: client.write("at_os", ingest.Payload(json_rows=b'{"id": 2}'))) for _ in range(5)]
            assert min(at_os) < self.DELAY_S

    def test_a_sync_that_fails_acknowledges_nothing(self, tmp_path):
        server = Server(tmp_path).start()
        try:
            with Client(server.grpc) as client:
                client.execute(CREATE.format(name="t"))
                who = ingest.Producer(id="p", epoch=client.init_producer("t", "p").epoch)
                unanswered = rows(4)
                for sequence in (1, 2, 3):
                    assert client.write("t", rows(sequence), producer=who, sequence=sequence).accepted == 1
                with syncs(server.process.pid, "error=EIO"):
                    with pytest.raises(Refused):
                        client.write("t", unanswered, producer=who, sequence=4)
                    assert server.ended() == EXIT_DISK
            assert "nothing is acknowledged and lost" in server.log.read_text()
            server.start()
            with Client(server.grpc) as client:
                # What has no answer may be there or not; under its number it is stored once.
                assert client.write("t", unanswered, producer=who, sequence=4).accepted == 1
                assert client.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (3,), (4,)]
        finally:
            server.kill()


class TestSlowSides:
    """H05: a client that sends more than is taken waits in the window of its connection and is told to slow down; a call without a stream
    waits for its turn, and is refused with the time to wait if that is long. Nobody has to restart anything."""

    def test_above_its_rate_a_client_waits_in_the_window(self, tmp_path):
        rate, size, n = 4 * MIB, MIB // 2, 48
        server = Server(tmp_path, settings={"limits.bytes_per_second": str(rate)}).start()
        try:
            with Client(server.grpc) as client, concurrent.futures.ThreadPoolExecutor() as pool:
                client.execute(CREATE.format(name="t"))
                flood = Flood(client, "t", (rows(i, size) for i in range(n)))
                n_answered, calls, most_waiting = 0, [], 0
                try:
                    while True:
                        kind, answer = flood.next()
                        if kind == "end":
                            break
                        assert kind in ("opened", "result", "throttle"), answer
                        if kind == "throttle":
                            assert answer.delay.ToTimedelta().total_seconds() > 0 and answer.reason
                            # Who does not stream has a turn, too.
                            calls.append(pool.submit(client.write, "t", rows(1_000 + len(calls), size)))
                        if kind == "result":
                            assert answer.status.code == 0 and answer.accepted == 1, answer
                            n_answered += 1
                        most_waiting = max(most_waiting, flood.handed - n_answered)
                finally:
                    flood.close()
                assert n_answered == n and calls
                assert all(call.result().accepted == 1 for call in calls)
                # What one second allows, what is read and waits, and a window of a mebibyte on each side.
                assert most_waiting < n // 2, most_waiting
                assert client.value("SELECT count(*) FROM t") == n + len(calls)
        finally:
            server.kill()

    def test_a_call_far_above_its_rate_is_told_when_to_come_again(self, tmp_path):
        server = Server(tmp_path, settings={"limits.bytes_per_second": str(MIB)}).start()
        try:
            with Client(server.grpc) as client:
                client.execute(CREATE.format(name="t"))
                assert client.write("t", rows(0, MIB, 15)).accepted == 15
                error = refused(client.write, "t", rows(100))
                # More than 10 s are missing. It comes back while it may wait for the rest.
                assert error.name == "RESOURCE_EXHAUSTED RATE_LIMITED" and error.retry_after > 5, error
                until(lambda: _written(client, "t", 200) == 1, "the batch is taken", PATIENCE_S)
                assert client.value("SELECT count(*) FROM t") == 16
        finally:
            server.kill()

    def test_on_a_slow_disk_a_client_waits_in_the_window(self, server, client, table):
        """Two syncs a second: what waits is bounded by the server, and many batches share a sync."""
        n, begin = 200, time.monotonic()
        with syncs(server.process.pid, "delay_enter=500000"):
            flood = Flood(client, table, (rows(i, 1 << 16) for i in range(n)))
            n_answered, most_waiting = 0, 0
            try:
                kind, opened = flood.next()
                while n_answered < n:
                    kind, answer = flood.next()
                    assert kind == "result" and answer.status.code == 0 and answer.accepted == 1, answer
                    n_answered += 1
                    most_waiting = max(most_waiting, flood.handed - n_answered)
                assert flood.next()[0] == "end"
            finally:
                flood.close()
        # Beside those that are read, as many as fit into the window and the library.
        assert opened.max_inflight_batches // 2 < most_waiting < opened.max_inflight_batches + 64, most_waiting
        assert time.monotonic() - begin < n / 4
        assert client.value(f"SELECT count(*) FROM {table}") == n

    def test_full_memory_slows_streams_down_and_refuses_none(self, tmp_path):
        """Rows come faster than a disk takes them: more than the memory for them. Nothing is lost, nothing stored twice."""
        server = Server(tmp_path, settings={"memory.limit": "512 MiB"}).start()
        size, n_senders, n_each = 8 * MIB, 4, 8
        enough, throttled, accepted = threading.Event(), threading.Event(), [0] * n_senders
        deadline = time.monotonic() + PATIENCE_S

        def send(sender: int):
            first = sender * 1_000_000
            with Client(server.grpc) as client:
                flood = Flood(client, "t", iter(lambda: None if enough.is_set() else rows(first + flood_at(), size // 8, 8), None))
                try:
                    while True:
                        kind, answer = flood.next()
                        if kind == "throttle":
                            assert answer.delay.ToTimedelta().total_seconds() > 0 and "memory" in answer.reason
                            throttled.set()
                        elif kind == "result":
                            assert answer.status.code == 0, answer
                            accepted[sender] += answer.accepted
                            if throttled.is_set() and min(accepted) >= 8 * n_each:
                                enough.set()
                        elif kind != "opened":
                            assert kind == "end", answer
                            return
                        if time.monotonic() > deadline:
                            enough.set()
                finally:
                    flood.close()

        counter = iter(range(0, 1 << 40, 8))
        lock = threading.Lock()

        def flood_at() -> int:
            with lock:
                return next(counter)

        try:
            with Client(server.grpc) as client, concurrent.futures.ThreadPoolExecutor(n_senders) as pool:
                client.execute("CREATE TABLE t (id BIGINT NOT NULL, body VARBINARY)")
                for sender in [pool.submit(send, i) for i in range(n_senders)]:
                    sender.result()
                assert throttled.is_set(), "nobody was asked to slow down"
                assert time.monotonic() < deadline, "a stream stood still"
                until(lambda: _written(client, "t", -1, size) == 1, "the batch is taken", PATIENCE_S)
                assert client.value("SELECT count(*) FROM t") == sum(accepted) + 1
        finally:
            server.kill()

    def test_a_server_that_stands_still_loses_nothing(self, server, client, table):
        """Stopped as a debugger stops it: the client's window closes, and opens again."""
        n, size = 64, MIB
        who = ingest.Producer(id="p", epoch=client.init_producer(table, "p").epoch)
        stream = client.stream(table, producer=who)
        os.kill(server.process.pid, signal.SIGSTOP)
        try:
            sent = threading.Thread(target=lambda: [stream.send(rows(i, size), i) for i in range(1, n + 1)])
            sent.start()
            # All are handed over to the library, which holds what the window does not take: no answer, no error.
            sent.join(PATIENCE_S)
            answer = threading.Thread(target=stream.result)
            answer.start()
            answer.join(1)
            assert answer.is_alive()
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        answer.join(TIMEOUT_S)
        assert [stream.result().accepted for _ in range(n - 1)] == [1] * (n - 1)
        assert stream.finish() == []
        assert client.value(f"SELECT count(*) FROM {table}") == n


def _written(client: Client, table: str, first: int, n_bytes: int = 1) -> int | None:
    """How many rows were stored; None if the server was not ready for them."""
    try:
        return client.write(table, rows(first, n_bytes)).accepted
    except Refused as error:
        assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED and error.retry_after > 0, error
        return None


class TestEndsAndChanges:
    """H09"""

    def test_a_server_that_ends_says_goodbye_and_answers_what_it_read(self, tmp_path):
        server = Server(tmp_path).start()
        try:
            with Client(server.grpc) as client:
                client.execute(CREATE.format(name="t"))
                may_end = threading.Event()

                def batches():
                    for i in range(1, 6):
                        yield rows(i)
                    may_end.wait(TIMEOUT_S)

                flood = Flood(client, "t", batches())
                assert [flood.next()[0] for _ in range(6)] == ["opened", *["result"] * 5]
                server.process.send_signal(signal.SIGTERM)
                kind, go_away = flood.next()
                assert kind == "go_away" and go_away.reason and go_away.grace.ToTimedelta().total_seconds() > 0, go_away
                kind, error = flood.next()
                assert (kind, error.name) == ("error", "UNAVAILABLE SHUTTING_DOWN")
                may_end.set()
                flood.close()
            assert server.ended() == 0
            server.start()
            with Client(server.grpc) as client:
                assert client.value("SELECT count(*) FROM t") == 5
        finally:
            server.kill()

    def test_a_stream_goes_on_when_its_table_gets_a_column(self, client, table):
        """What names a version is refused from then on; the others go on, with the new column and without."""
        version = client.schema(table).version
        with client.stream(table) as stream, client.stream(table, expected_schema_version=version) as strict:
            assert (stream.opened.schema.version, strict.opened.schema.version) == (version, version)
            assert stream.write(rows(1)).accepted == strict.write(rows(2)).accepted == 1
            client.execute(f"ALTER TABLE {table} ADD COLUMN more VARCHAR")
            assert client.schema(table).version > version
            assert "more" in pa.ipc.read_schema(pa.py_buffer(client.schema(table).arrow_schema)).names
            # Without the column, and with it.
            assert stream.write(rows(3)).accepted == 1
            wider = pa.table({"id": pa.array([4], pa.int64()), "more": ["x"]})
            assert stream.write(arrow_payload(wider)).accepted == 1
            assert refused(strict.write, rows(5)).name == "FAILED_PRECONDITION SCHEMA_VERSION_MISMATCH"
        assert client.rows(f"SELECT id, more FROM {table} ORDER BY id") == [(1, None), (2, None), (3, None), (4, "x")]

    def test_a_new_schema_is_told_before_the_first_result_under_it(self, client, table):
        may_go_on = threading.Semaphore(0)

        def batches():
            for i in range(1, 5):
                assert may_go_on.acquire(timeout=TIMEOUT_S)
                yield rows(i)

        flood = Flood(client, table, batches())
        try:
            kind, opened = flood.next()
            assert kind == "opened"
            may_go_on.release()
            assert flood.next()[0] == "result"
            version = opened.schema.version
            # With a batch behind it, which tells of it at once; and with none.
            for column, is_alone in (("more", False), ("and_more", True), ("still_more", False)):
                client.execute(f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR")
                if not is_alone:
                    may_go_on.release()
                kind, changed = flood.next()
                assert (kind, changed.schema.version) == ("schema_changed", version + 1), changed
                assert column in pa.ipc.read_schema(pa.py_buffer(changed.schema.arrow_schema)).names
                version += 1
                if not is_alone:
                    assert flood.next()[0] == "result"
            may_go_on.release()
            assert [flood.next()[0] for _ in range(2)] == ["result", "end"]
        finally:
            flood.close()

    def test_a_batch_above_the_limit_is_refused_with_the_limit(self, client, table):
        with client.stream(table) as stream:
            limit = stream.opened.max_batch_bytes
            error = refused(stream.write, rows(1, limit + 1))
            assert error.name == "INVALID_ARGUMENT BATCH_TOO_LARGE" and str(limit) in error.metadata.values(), error.metadata
            # The stream goes on, and a batch below the limit fits.
            assert stream.write(rows(2, limit - (1 << 16))).accepted == 1
        assert refused(client.write, table, rows(3, limit + 1)).name == "INVALID_ARGUMENT BATCH_TOO_LARGE"
        assert client.value(f"SELECT count(*) FROM {table}") == 1


def messages_of(client: Client, sql: str, **fields) -> list:
    """Kinds of the messages of an answer, and the messages."""
    answers = client.queries.Execute(query.QueryRequest(sql=sql, **fields), timeout=TIMEOUT_S)
    return [(answer.WhichOneof("msg"), getattr(answer, answer.WhichOneof("msg"))) for answer in answers]


class Running:
    """A query that would take for ever, from its first message on."""

    def __init__(self, client: Client, n: int, query_id: str = ""):
        self.client = client
        self.answers = client.queries.Execute(query.QueryRequest(sql=ENDLESS.format(n=n), query_id=query_id), timeout=TIMEOUT_S)
        self.started = next(self.answers).started

    def state(self) -> int:
        infos = self.client.queries.ListQueries(query.ListQueriesRequest(), timeout=TIMEOUT_S).queries
        return next(info.state for info in infos if info.query_id == self.started.query_id)

    def end(self) -> Refused:
        """What it ended with; no message comes before that."""
        with pytest.raises(grpc.RpcError) as error:
            next(self.answers)
        return refused_call(error.value)


class TestAnswers:
    """H10."""

    def test_started_comes_before_the_work(self, client):
        running = Running(client, 1)
        assert uuid.UUID(running.started.query_id) and not running.started.is_update
        schema = pa.ipc.read_schema(pa.py_buffer(running.started.arrow_schema))
        assert [column.type for column in schema] == [pa.int64()]
        until(lambda: running.state() == query.QUERY_STATE_RUNNING, "the query runs", PATIENCE_S)
        running.answers.cancel()
        # Nobody reads on, so it ends.
        until(lambda: running.state() == query.QUERY_STATE_CANCELLED, "the query is cancelled", PATIENCE_S)

    @pytest.mark.parametrize("form", [query.FORMAT_ARROW_IPC, query.FORMAT_JSON_ROWS], ids=["Arrow", "JSON"])
    @pytest.mark.parametrize("sql", [
        "SELECT 1 AS a", "SELECT 1 AS a WHERE false", "SELECT value FROM generate_series(1, 300000)", "INSERT INTO {table} VALUES (1, X'00')",
        "ALTER TABLE {table} ADD COLUMN more BIGINT", "CALL seal('{table}')", "EXPLAIN SELECT 1", "SHOW timezone",
    ])  # fmt: skip
    def test_started_is_first_and_summary_last(self, client, sql, form):
        table = f"t_{uuid.uuid4().hex}"
        client.execute(CREATE.format(name=table))
        messages = messages_of(client, sql.format(table=table), format=form)
        kinds = [kind for kind, _ in messages]
        assert kinds[0] == "started" and kinds[-1] == "summary"
        assert set(kinds[1:-1]) <= {"arrow_message" if form == query.FORMAT_ARROW_IPC else "json"}
        if form == query.FORMAT_JSON_ROWS:
            assert messages[-1][1].rows == sum(lines.count(b"\n") for _, lines in messages[1:-1])

    def test_progress_comes_every_half_second_for_who_asks(self, client):
        request = query.QueryRequest(sql=ENDLESS.format(n=4), progress=True)
        answers = client.queries.Execute(request, timeout=TIMEOUT_S)
        assert next(answers).WhichOneof("msg") == "started"
        came = []
        for _ in range(4):
            answer = next(answers)
            came.append((time.monotonic(), answer.progress.elapsed.ToTimedelta().total_seconds()))
            assert answer.WhichOneof("msg") == "progress"
            # It reads no table.
            assert (answer.progress.rows_read, answer.progress.HasField("fraction")) == (0, False)
        answers.cancel()
        assert all(after - before >= 0.5 for (_, before), (_, after) in zip(came, came[1:]))
        assert came[-1][0] - came[0][0] < 10

    def test_progress_counts_what_is_read(self, client, table_name):
        """A scan that goes on for long: rows that are read for a join which compares each of them with many."""
        n = 1_000_000
        client.execute(f"CREATE TABLE {table_name} (id BIGINT, v BIGINT)")
        client.execute(f"INSERT INTO {table_name} SELECT value, value % 1000 FROM generate_series(1, {n})")
        client.execute(f"CALL seal('{table_name}')")
        sql = f"SELECT count(*) FROM {table_name} a, generate_series(1, 30) b WHERE (a.v * b.value + a.id) % 7 = 3"
        messages = messages_of(client, sql, progress=True)
        assert [kind for kind, _ in messages if kind != "progress"] == ["started", "arrow_message", "summary"]
        progress = [message for kind, message in messages if kind == "progress"]
        assert progress, "it took less than half a second"
        read = [message.rows_read for message in progress]
        parts = [message.fraction for message in progress]
        assert read == sorted(read) and parts == sorted(parts) and all(0 <= part <= 1 for part in parts)
        assert all(rows <= n for rows in read) and messages[-1][1].rows_read_sealed == n
        assert all(message.bytes_read > 0 for message in progress if message.rows_read)

    def test_an_answer_that_breaks_has_no_summary(self, client):
        sql = "SELECT 1 / (value - 299999) FROM generate_series(1, 300000)"
        got = []
        with pytest.raises(grpc.RpcError) as error:
            for answer in client.queries.Execute(query.QueryRequest(sql=sql), timeout=TIMEOUT_S):
                got.append(answer.WhichOneof("msg"))
        assert got[0] == "started" and "summary" not in got
        assert refused_call(error.value).code == grpc.StatusCode.INVALID_ARGUMENT

    def test_a_cut_answer_says_so(self, client):
        sql = "SELECT value FROM generate_series(1, 100000)"
        for cap, is_cut in ((1, True), (99_999, True), (100_000, False), (100_001, False)):
            answer, summary = client.execute(sql, max_rows=cap, overflow_mode=query.OVERFLOW_MODE_TRUNCATE)
            assert (answer.num_rows, summary.rows, summary.truncated) == (min(cap, 100_000), min(cap, 100_000), is_cut)

    def test_a_query_is_cancelled_by_its_id(self, server, client):
        running = Running(client, 2, str(uuid.uuid4()))
        with Client(server.grpc) as other:
            cancel = query.CancelRequest(query_id=running.started.query_id)
            assert other.queries.Cancel(cancel, timeout=TIMEOUT_S).state == query.CANCEL_STATE_STOPPED
            assert running.end().name == "CANCELLED QUERY_CANCELLED"
            # As often as one likes.
            again = other.queries.Cancel(cancel, timeout=TIMEOUT_S)
            assert again.state == query.CANCEL_STATE_ALREADY
        assert running.state() == query.QUERY_STATE_CANCELLED

    def test_an_id_is_taken_while_its_query_runs(self, client):
        name = str(uuid.uuid4())
        running = Running(client, 3, name)
        assert running.started.query_id == name
        assert refused(client.execute, "SELECT 1", query_id=name).name == "ALREADY_EXISTS QUERY_EXISTS"
        assert running.state() == query.QUERY_STATE_RUNNING
        client.queries.Cancel(query.CancelRequest(query_id=name), timeout=TIMEOUT_S)
        assert running.end().name == "CANCELLED QUERY_CANCELLED"
        until(lambda: self.is_free(client, name), "the id is free", PATIENCE_S)

    def is_free(self, client, name: str) -> bool:
        """Whether a query may have this id. One that ended may be among those that run for some moments more."""
        try:
            return client.value("SELECT 1", query_id=name) == 1
        except Refused as error:
            assert error.reason == "QUERY_EXISTS", error
            return False


def connect(address: str) -> socket.socket:
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def waiting_at(address: str) -> int:
    """Connections that the system has made, and the server has not taken yet."""
    host, port = address.split(":")
    place = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{int(port):04X}"
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (queues,) = (row[4] for row in rows if row[1] == place and row[3] == "0A")
    return int(queues.partition(":")[2], 16)


def come(stack: contextlib.ExitStack, address: str, n: int) -> list[socket.socket]:
    """Connections that say nothing yet. What the system's queue does not hold it drops, to try again a second or half a minute later: each
    hundred comes when the one before was taken."""
    made = []
    while len(made) < n:
        until(lambda: waiting_at(address) == 0, "the others are taken", 2 * PATIENCE_S)
        made += [stack.enter_context(connect(address)) for _ in range(min(N_WAITING, n - len(made)))]
    return made


def crowd(stack: contextlib.ExitStack, address: str) -> list[socket.socket]:
    """They hold every place of a port, and a hundred more wait."""
    held = come(stack, address, MAX_CONNECTIONS)
    waiting = come(stack, address, N_WAITING)
    assert waiting_at(address) > 0, "all have a place"
    return held + waiting


def all_of(raw: socket.socket) -> bytes:
    """What comes until the other side closes."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while more := raw.recv(1 << 16):
            got += more
    return got


def head(address: str, method: str = "GET", path: str = "/healthz", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {address}", "Connection: close", *headers, "", ""]).encode()


def assert_serves(server):
    with connect(server.http) as raw:
        raw.sendall(head(server.http))
        assert all_of(raw).startswith(b"HTTP/1.1 200")
    with Client(server.grpc) as client:
        assert client.value("SELECT 1") == 1


class TestBadCallers:
    """Who never ends, says too much or comes too often is answered or cut off, and the others notice nothing."""

    @pytest.mark.slow
    @pytest.mark.parametrize("is_slow", [False, True], ids=["they stop", "a byte now and then"])
    def test_headers_that_never_end(self, server, is_slow):
        begin = time.monotonic()
        with connect(server.http) as raw:
            raw.sendall(head(server.http)[:-2])
            raw.settimeout(0.5)
            while time.monotonic() < begin + PATIENCE_S:
                try:
                    got = raw.recv(1024)
                    break
                except TimeoutError:
                    with contextlib.suppress(ConnectionError):
                        raw.send(b"a" if is_slow else b"")
                except ConnectionResetError:
                    got = b""
                    break
            else:
                pytest.fail("the connection is held for ever")
        assert not got or got.startswith(b"HTTP/1.1 408"), got
        assert_serves(server)

    @pytest.mark.slow
    def test_a_statement_that_never_ends(self, server):
        with connect(server.http) as raw:
            raw.settimeout(2 * PATIENCE_S)
            raw.sendall(head(server.http, "POST", "/api/v1/sql", "Content-Type: text/plain", "Content-Length: 100") + b"SELECT")
            assert all_of(raw).startswith(b"HTTP/1.1 408")
        assert_serves(server)

    @pytest.mark.slow
    def test_a_stream_without_open(self, server, client):
        silent = threading.Event()
        stream = client.ingest.WriteStream(iter(lambda: silent.wait(TIMEOUT_S) and None, None), timeout=TIMEOUT_S)
        try:
            with pytest.raises(grpc.RpcError) as error:
                next(stream)
        finally:
            silent.set()
        assert refused_call(error.value).name == "INVALID_ARGUMENT INVALID_REQUEST"
        assert_serves(server)

    def test_silent_streams_hold_nobody_up(self, server, client, table):
        """20 streams of one connection say nothing behind Open; who writes does not notice, and they go on when they like."""
        with contextlib.ExitStack() as streams, Client(server.grpc) as other:
            silent = [streams.enter_context(other.stream(table)) for _ in range(20)]
            for i in range(100):
                assert client.write(table, rows(i)).accepted == 1
            assert [stream.write(rows(1_000 + i)).accepted for i, stream in enumerate(silent)] == [1] * len(silent)

    @pytest.mark.parametrize("headers", [
        pytest.param([f"X-Much: {'x' * (1 << 20)}"], id="one of a megabyte"),
        pytest.param([f"X-{i}: {'x' * 100}" for i in range(10_000)], id="ten thousand"),
        pytest.param([f"Authorization: Bearer {'x' * 100_000}"], id="a token of 100 kB"),
    ])  # fmt: skip
    def test_huge_headers_over_http(self, server, headers):
        with connect(server.http) as raw:
            with contextlib.suppress(ConnectionError):
                raw.sendall(head(server.http, "GET", "/healthz", *headers))
            got = all_of(raw)
        assert not got or got.startswith(b"HTTP/1.1 431"), got[:200]
        assert_serves(server)

    def test_huge_headers_over_grpc(self, server, client):
        with Client(server.grpc) as other, pytest.raises(grpc.RpcError) as error:
            list(other.queries.Execute(query.QueryRequest(sql="SELECT 1"), metadata=[("x-much", "x" * (1 << 20))], timeout=PATIENCE_S))
        # The server hangs up, or says 431, for which gRPC has no code of its own.
        assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN), error.value
        assert_serves(server)

    @pytest.mark.slow
    def test_five_thousand_connections_that_ask(self, server):
        """More than are served at once: the others wait for a place, and each is answered."""

        def answered(asking: list[socket.socket]) -> int:
            for raw in asking:
                raw.sendall(head(server.http))
            return sum(all_of(raw).startswith(b"HTTP/1.1 200") for raw in asking)

        with contextlib.ExitStack() as stack:
            n = answered(crowd(stack, server.http))
            assert n == MAX_CONNECTIONS + N_WAITING
            rest = N_CONNECTIONS - n
            assert answered(come(stack, server.http, rest)) == rest
        assert_serves(server)

    @pytest.mark.slow
    @pytest.mark.parametrize("port", ["http", "grpc"])
    def test_five_thousand_connections_that_say_nothing(self, server, port):
        """They hold every place of a port until their time is up; the other port is free all along."""

        def ask(port: str):
            if port == "grpc":
                with Client(server.grpc) as client:
                    # The library itself waits for 20 s, and then has to be told to try again.
                    grpc.channel_ready_future(client.channel).result(PATIENCE_S)
                    assert client.value("SELECT 1") == 1
            else:
                with connect(server.http) as raw:
                    raw.settimeout(PATIENCE_S)
                    raw.sendall(head(server.http))
                    assert all_of(raw).startswith(b"HTTP/1.1 200")

        def took(port: str) -> float:
            begin = time.monotonic()
            ask(port)
            return time.monotonic() - begin

        with contextlib.ExitStack() as stack:
            held = crowd(stack, getattr(server, port))
            assert took("grpc" if port == "http" else "http") < 5
            # Who comes now waits until a place is free.
            assert took(port) < PATIENCE_S
            come(stack, getattr(server, port), N_CONNECTIONS - len(held))
            assert took("grpc" if port == "http" else "http") < 5
        assert_serves(server)

    def test_ten_thousand_tiny_writes(self, client, table_name):
        """One row each, many under way at a time."""
        client.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, PRIMARY KEY (id)) WITH (durability = 'os')")
        n = 10_000
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            payloads = (ingest.Payload(json_rows=json.dumps({"id": i}).encode()) for i in range(n))
            answers = pool.map(lambda payload: client.write(table_name, payload).accepted, payloads)
            assert sum(answers) == n
        assert client.rows(f"SELECT count(*), count(DISTINCT id) FROM {table_name}") == [(n, n)]
