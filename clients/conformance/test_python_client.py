"""Does the Python client store each row once, whatever happens to the server, and hand back what it does not take?"""

import asyncio
import concurrent.futures
import datetime
import decimal
import itertools
import os
import pathlib
import re
import subprocess
import sys
import venv

import grpc
import polars
import pyarrow as pa
import pytest

import tidewater
from harness.client import Client
from harness.relay import Relay
from harness.secured import secured
from harness.server import Server, binary
from harness.waiting import until
from tidewater.__main__ import main
from tidewater.errors import of_rpc
from tidewater.ingest.dead_letters import DeadLetterFile
from tidewater.ingest.v1 import ingest_pb2 as pb
from tidewater.ingest.v1.ingest_pb2_grpc import IngestStub
from tidewater.testing import FakeServer

SUITE = ("Python client, ingest", tidewater.__version__)
PACKAGE = pathlib.Path(__file__).parents[1] / "python"
TIMEOUT_S = 60
QUICK = {"flush_interval_s": 0.01, "retry_max_delay_s": 0.2}


@pytest.fixture
def url(server):
    return f"tidewater://{server.grpc}"


@pytest.fixture
def table(client, table_name):
    """Without a primary key: nothing but the numbers keeps a row from being stored twice."""
    client.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, name VARCHAR)")
    return table_name


@pytest.fixture
def own(tmp_path):
    """A server that the test may kill, with a table t without a key."""
    server = Server(tmp_path / "own").start()
    with Client(server.grpc) as client:
        client.execute("CREATE TABLE t (id BIGINT NOT NULL, name VARCHAR)")
    yield server
    server.kill()


def rows(first: int, n: int) -> list[dict]:
    return [{"id": number, "name": f"name {number}"} for number in range(first, first + n)]


def ids(client, table: str) -> list[int]:
    return [row[0] for row in client.rows(f"SELECT id FROM {table} ORDER BY id")]


def ledger(client, table: str) -> dict[str, int]:
    found, _ = client.execute(
        "SELECT sum(received) AS received, sum(accepted) AS accepted, sum(repeated) AS repeated, sum(rejected) AS rejected "
        f"FROM system.ledger l JOIN system.tables t ON t.id = l.table_id WHERE t.name = '{table}'"
    )
    return {name: int(value) for name, value in found.to_pylist()[0].items()}


def test_a_query_with_the_token_sees_the_rows(client, url, table):
    with tidewater.Producer(table, "p", url) as producer:
        producer.send(rows(0, 100))
        token = producer.flush()
        found, _ = client.execute(f"SELECT count(*) AS n FROM {table}", min_commit=[token])
    assert found.to_pylist() == [{"n": 100}]


def test_every_row_once_through_lost_answers(server, client, table):
    with Relay(server.grpc) as relay:
        with tidewater.Producer(table, "p", f"tidewater://{relay.address}", batch_max_rows=50, **QUICK) as producer:
            producer.send(rows(0, 5000))
        assert relay.n_broken > 0
        statistics = producer.statistics
    assert ids(client, table) == list(range(5000))
    assert statistics.rows_acknowledged == 5000 and statistics.batches_repeated == statistics.batches_acknowledged >= 100
    # The server remembers the counts of the last batches only.
    assert statistics.rows_accepted + statistics.rows_repeated == 5000
    assert ledger(client, table)["accepted"] == 5000


def test_every_row_once_through_kills_and_restarts(own):
    sent = itertools.count()

    def send_all(producer):
        for _ in range(400):
            producer.send(rows(20 * next(sent), 20))

    with tidewater.Producer("t", "p", f"tidewater://{own.grpc}", batch_max_rows=20, buffer_max_rows=200, **QUICK) as producer:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send_all, producer)
            for number, kill in enumerate((True, False, True), 1):
                with Client(own.grpc) as client:
                    while not sending.done() and client.value("SELECT count(*) FROM t") < 1500 * number:
                        pass
                own.restart(kill=kill)
            sending.result(TIMEOUT_S)
        producer.flush(TIMEOUT_S)
        # Whatever the others met: this one finds nobody.
        own.kill()
        producer.send(rows(8000, 20))
        until(lambda: producer.statistics.n_failures > 0, "the producer fails", TIMEOUT_S)
        own.start()
        producer.flush(TIMEOUT_S)
    with Client(own.grpc) as client:
        assert ids(client, "t") == list(range(8020))


def test_a_program_that_dies_goes_on_where_it_stopped(client, url, table):
    """Batches of the program's own making: their numbers say which of them are stored."""
    program = (
        "import os, sys, tidewater\n"
        "table, url = sys.argv[1:]\n"
        "producer = tidewater.Producer(table, 'p', url)\n"
        "for number in range(producer.last_sequence, 10):\n"
        "    producer.send_batch([{'id': 10 * number + i} for i in range(10)]).result()\n"
        "    if number in (3, 7): os._exit(9)\n"
        "producer.close()\n"
    )
    ends = [subprocess.run([sys.executable, "-c", program, table, url], timeout=TIMEOUT_S).returncode for _ in range(3)]
    assert ends == [9, 9, 0]
    assert ids(client, table) == list(range(100))


def test_the_older_of_two_producers_is_fenced(client, url, table):
    older, newer = (tidewater.Producer(table, "p", url) for _ in range(2))
    older.send(rows(0, 5))
    with pytest.raises(tidewater.ProducerStoppedError) as stopped:
        older.flush()
    assert (stopped.value.reason, stopped.value.__cause__.code) == ("PRODUCER_FENCED", "TW-1207")
    newer.send(rows(5, 5))
    newer.close()
    assert ids(client, table) == [5, 6, 7, 8, 9]


def test_rejected_rows_come_back_with_their_reasons(client, url, table_name):
    client.execute(f"CREATE TABLE {table_name} (id BIGINT PRIMARY KEY, v SMALLINT)")
    told = []
    with tidewater.Producer(table_name, "p", url, on_rejected=lambda rows, reasons: told.append((rows, reasons))) as producer:
        producer.send([{"id": 1, "v": 10}, {"id": 2, "v": 100_000}, {"id": None, "v": 1}, {"id": 1, "v": 11}, {"id": 3, "nope": 1}])
    ((bad, reasons),) = told
    assert bad == [{"id": 2, "v": 100_000}, {"id": None, "v": 1}, {"id": 3, "nope": 1}]
    assert [(reason.row, reason.column, reason.code) for reason in reasons] == [
        (0, "v", "OUT_OF_RANGE"), (1, "id", "NULL_VIOLATION"), (2, None, "MALFORMED"),
    ]  # fmt: skip
    statistics = producer.statistics
    assert (statistics.rows_accepted, statistics.rows_duplicate, statistics.rows_rejected) == (1, 1, 3)
    kept = client.rows(
        f"SELECT code FROM system.rejected r JOIN system.tables t ON t.id = r.table_id WHERE t.name = '{table_name}' ORDER BY \"row\""
    )
    assert [code for (code,) in kept] == ["OUT_OF_RANGE", "NULL_VIOLATION", "MALFORMED"]


def test_a_batch_with_a_bad_row_may_be_refused_whole(client, url, table_name):
    client.execute(f"CREATE TABLE {table_name} (id BIGINT PRIMARY KEY, v SMALLINT)")
    with pytest.raises(tidewater.ProducerStoppedError), tidewater.Producer(table_name, "p", url, on_row_error="abort") as producer:
        answer = producer.send_batch([{"id": 1, "v": 10}, {"id": 2, "v": 100_000}])
        with pytest.raises(tidewater.InvalidRequestError) as refused:
            answer.result(TIMEOUT_S)
        assert refused.value.reason == "BAD_ROWS"
        assert [(row.row, row.column, row.code) for row in refused.value.row_errors] == [(1, "v", "OUT_OF_RANGE")]
        producer.flush()
    assert ids(client, table_name) == []


def test_a_refused_frame_waits_in_the_dead_letter_file(client, url, table, tmp_path, monkeypatch, capsys):
    path = str(tmp_path / "dead.ndjson")
    with tidewater.Producer(table, "p", url, dead_letter=path) as producer:
        producer.send(rows(0, 10))
        producer.send(pa.table({"id": [10, 11], "extra": [1, 2]}))
        producer.send(rows(12, 10))
        with pytest.raises(tidewater.ConflictError, match="a batch of 2 rows was refused and is in"):
            producer.flush()
        assert (producer.last_sequence, producer.statistics.rows_dead) == (2, 2)
    assert ids(client, table) == [*range(10), *range(12, 22)]
    result = tidewater.replay(path, url)
    assert (result.batches_left, [error.reason for error in result.errors]) == (1, ["SCHEMA_MISMATCH"])
    client.execute(f"ALTER TABLE {table} ADD COLUMN extra BIGINT")
    monkeypatch.setattr("sys.argv", ["tidewater", "replay", path, "--server", url.removeprefix("tidewater://")])
    assert main() == 0 and "1 batches stored: 2 rows accepted" in capsys.readouterr().out
    assert ids(client, table) == list(range(22)) and not pathlib.Path(path).exists()


def test_what_was_given_up_is_replayed_once(own, tmp_path):
    """The answers of some batches were lost and the server was killed: whether they are stored, only their numbers tell."""
    path = str(tmp_path / "dead.ndjson")
    with Relay(own.grpc) as relay:
        url = f"tidewater://{relay.address}"
        producer = tidewater.Producer("t", "p", url, dead_letter=path, retry_deadline_s=0.5, batch_max_rows=10, **QUICK)
        producer.send(rows(0, 100))
        producer.flush()
        own.kill()
        producer.send(rows(100, 50))
        with pytest.raises(tidewater.ProducerStoppedError, match="given up after"):
            producer.flush()
    assert producer.statistics.rows_dead == 50 and sum(letter.n_rows for letter in DeadLetterFile(path).read()) == 50
    own.start()
    for expected in (50, 0):
        result = tidewater.replay(path, f"tidewater://{own.grpc}")
        assert (result.rows_accepted, result.batches_left) == (expected, 0)
    with Client(own.grpc) as client:
        assert ids(client, "t") == list(range(150))
    with tidewater.Producer("t", "p", f"tidewater://{own.grpc}", dead_letter=path) as again:
        again.send(rows(150, 10))
    with Client(own.grpc) as client:
        assert ids(client, "t") == list(range(160))


def test_stored_batches_of_a_producer_that_gave_up_are_not_stored_again(own, tmp_path):
    path = str(tmp_path / "dead.ndjson")
    with Relay(own.grpc) as relay:
        # Each first answer is lost, and there is no second try.
        producer = tidewater.Producer("t", "p", f"tidewater://{relay.address}", dead_letter=path, retry_deadline_s=0.0, **QUICK)
        producer.send(rows(0, 10))
        with pytest.raises(tidewater.ProducerStoppedError):
            producer.flush()
    with Client(own.grpc) as client:
        assert ids(client, "t") == list(range(10))
        (letter,) = DeadLetterFile(path).read()
        assert (letter.sequence, letter.epoch) == (1, 1)
        result = tidewater.replay(path, f"tidewater://{own.grpc}")
        assert (result.batches_stored, result.batches_left) == (1, 0)
        assert ids(client, "t") == list(range(10))


def gives_up_what_is_stored(server, path: str, table: str) -> None:
    """A producer whose only batch is stored, which it does not learn."""
    with Relay(server.grpc) as relay:
        url = f"tidewater://{relay.address}"
        producer = tidewater.Producer(table, "p", url, dead_letter=path, retry_deadline_s=0.0, **QUICK)
        producer.send(rows(0, 10))
        with pytest.raises(tidewater.ProducerStoppedError):
            producer.flush()


def test_a_reset_stores_nothing_again(server, client, url, table, tmp_path):
    path = str(tmp_path / "dead.ndjson")
    gives_up_what_is_stored(server, path, table)
    with tidewater.Producer(table, "p", url, dead_letter=path, reset=True) as producer:
        producer.send(rows(10, 10))
    assert tidewater.replay(path, url).batches_left == 0
    assert ids(client, table) == list(range(20))


def by_command_line(server, path: pathlib.Path, *flags: str) -> subprocess.CompletedProcess:
    command = [binary(), "ingest", "--replay", path, "--server", server.grpc, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)


def test_the_command_line_and_the_package_replay_the_same_letters_once(server, client, url, table, tmp_path):
    """A letter that is stored, under its number, and one that was refused, under its key; no key of the table keeps rows apart."""
    path = tmp_path / "dead.ndjson"
    gives_up_what_is_stored(server, str(path), table)
    with tidewater.Producer(table, "q", url, dead_letter=str(path)) as producer:
        producer.send(pa.table({"id": [10, 11], "extra": [1, 2]}))
        with pytest.raises(tidewater.ConflictError):
            producer.flush()
    lines = path.read_bytes()
    refused = by_command_line(server, path)
    assert refused.returncode == 1 and "left: SCHEMA_MISMATCH" in refused.stderr and "1 batch stored: 10 rows accepted" in refused.stdout
    assert path.read_bytes() == lines.splitlines(keepends=True)[1]
    client.execute(f"ALTER TABLE {table} ADD COLUMN extra BIGINT")
    for _ in range(2):
        path.write_bytes(lines)
        done = by_command_line(server, path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{path}: 2 batches stored: 12 rows accepted, 0 duplicate, 0 rejected; 0 batches dropped, 0 left\n"
        assert ids(client, table) == list(range(12)) and not path.exists()
        path.write_bytes(lines)
        assert tidewater.replay(path, url).batches_stored == 2
        assert ids(client, table) == list(range(12)) and not path.exists()
    assert (gone := by_command_line(server, path)).returncode == 0 and f"there is no file {path}" in gone.stderr


def test_the_command_line_asks_what_becomes_of_letters_of_which_nobody_can_tell(server, client, url, table, tmp_path):
    path = tmp_path / "dead.ndjson"
    gives_up_what_is_stored(server, str(path), table)
    with tidewater.Producer(table, "p", url) as other:
        other.send(rows(10, 1))
    lines = path.read_bytes()
    kept = by_command_line(server, path)
    assert kept.returncode == 1 and "nobody can tell whether batch 1 of p is stored" in kept.stderr and "PRODUCER_FENCED" in kept.stderr
    assert path.read_bytes() == lines
    dropped = by_command_line(server, path, "--unsettled", "drop")
    assert dropped.returncode == 0 and "1 batch dropped, 0 left" in dropped.stdout and not path.exists()
    assert ids(client, table) == list(range(11))
    for _ in range(2):
        path.write_bytes(lines)
        assert by_command_line(server, path, "--unsettled", "send").returncode == 0
        assert ids(client, table) == sorted([*range(11), *range(10)])


def test_a_table_that_is_made_anew_takes_no_letter_for_one_of_its_own(server, client, url, table, tmp_path):
    """Its producers begin at epoch 1 and number 1 again, as those of the old one did."""
    path = str(tmp_path / "dead.ndjson")
    gives_up_what_is_stored(server, path, table)
    client.execute(f"DROP TABLE {table}")
    client.execute(f"CREATE TABLE {table} (id BIGINT NOT NULL, name VARCHAR)")
    with tidewater.Producer(table, "p", url, dead_letter=path) as producer:
        assert tidewater.replay(path, url).batches_left == 1
        producer.send(rows(10, 10))
    assert ids(client, table) == list(range(10, 20))
    assert tidewater.replay(path, url, unsettled="send").batches_stored == 1
    assert ids(client, table) == list(range(20))


WRITES = [
    ("no such producer", {"epoch": 1, "sequence": 1}),
    ("begin", None),
    ("first", {"epoch": 1, "sequence": 1}),
    ("again", {"epoch": 1, "sequence": 1}),
    ("other rows", {"epoch": 1, "sequence": 1, "first": 5}),
    ("a gap", {"epoch": 1, "sequence": 3}),
    ("more acknowledged than stored", {"epoch": 1, "sequence": 2, "last_acked": 2}),
    ("next", {"epoch": 1, "sequence": 2, "last_acked": 1}),
    ("an epoch that never was", {"epoch": 2, "sequence": 3}),
    ("begin", None),
    ("fenced", {"epoch": 1, "sequence": 3}),
    ("goes on", {"epoch": 2, "sequence": 3}),
    ("reset", True),
    ("fenced by a reset", {"epoch": 2, "sequence": 4}),
    ("anywhere", {"epoch": 3, "sequence": 7, "last_acked": 3}),
    ("before it", {"epoch": 3, "sequence": 6}),
    ("behind it", {"epoch": 3, "sequence": 8}),
    ("with a key", {"key": "k"}),
    ("with the key again", {"key": "k"}),
    ("with another", {"key": "l"}),
    ("too large", {"epoch": 3, "sequence": 9, "n": 400_000}),
]


def answers(url: str, table: str) -> list:
    """What a server says to all of it."""
    found, name = [], pb.TableRef(table=table)
    with tidewater.Connection.parse(url).channel() as channel:
        stub = IngestStub(channel)
        for what, given in WRITES:
            if given is None or given is True:
                state = stub.InitProducer(pb.InitProducerRequest(table=name, producer_id="p", reset=bool(given)))
                found.append((what, state.epoch, state.last_sequence, state.known))
                continue
            lines = "".join(f'{{"id":{number},"name":"{"x" * 30}"}}\n' for number in range(given.get("first", 0), given.get("n", 2) + 5))
            request = pb.WriteRequest(table=name, payload=pb.Payload(json_rows=lines.encode()), sequence=given.get("sequence", 0))
            if "key" in given:
                request.idempotency_key = given["key"]
            else:
                request.producer.CopyFrom(pb.Producer(id="p", epoch=given["epoch"], last_acked=given.get("last_acked")))
            try:
                result = stub.Write(request).result
                found.append((what, result.sequence, result.repeated, result.received, result.accepted, bool(result.commit_token)))
            except grpc.RpcError as error:
                found.append((what, of_rpc(error).status, of_rpc(error).reason))
    return found


def test_the_fake_server_answers_as_the_server_does(url, table):
    with FakeServer() as fake:
        assert answers(fake.url, table) == answers(url, table)


def test_a_row_that_is_too_large_is_told(client, url, table, tmp_path):
    path = str(tmp_path / "dead.ndjson")
    with tidewater.Producer(table, "p", url, dead_letter=path) as producer:
        producer.send({"id": 0})
        producer.send({"id": 1, "name": "x" * (17 << 20)})
        producer.send({"id": 2})
        with pytest.raises(tidewater.InvalidRequestError) as refused:
            producer.flush()
        assert refused.value.reason == "BATCH_TOO_LARGE"
    assert ids(client, table) == [0, 2]


def test_a_small_buffer_holds_back_a_quick_program(client, url, table):
    most = 0

    def look(statistics):
        nonlocal most
        most = max(most, statistics.rows_buffered)

    with tidewater.Producer(table, "p", url, buffer_max_rows=100, batch_max_rows=10, on_progress=look) as producer:
        producer.send(rows(0, 3000))
    assert 0 < most <= 100 and ids(client, table) == list(range(3000))


def test_asyncio(client, url, table):
    async def one(number):
        async with tidewater.AsyncProducer(table, f"p{number}", url, buffer_max_rows=50, **QUICK) as producer:
            for first in range(0, 200, 20):
                await producer.send(rows(1000 * number + first, 20))
            token = await producer.flush()
            cancelled = asyncio.create_task(producer.flush())
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
            await producer.send(rows(1000 * number + 200, 1))
        return token

    async def all_of_them():
        return await asyncio.gather(*(one(number) for number in range(4)))

    assert all(asyncio.run(all_of_them()))
    assert ids(client, table) == [1000 * number + i for number in range(4) for i in range(201)]


VALUES = {
    "i": ("BIGINT", 2**62),
    "u": ("UBIGINT", 2**64 - 1),
    "d": ("DOUBLE", 0.1),
    "n": ("DECIMAL(38,10)", decimal.Decimal("1234567890123456789012345678.0123456789")),
    "t": ("VARCHAR", "ä\n'\"\\ \U0001f600"),
    "b": ("VARBINARY", b"\x00\xff"),
    "f": ("BOOLEAN", False),
    "day": ("DATE", datetime.date(2026, 1, 31)),
    "at": ("TIMESTAMP", datetime.datetime(2026, 1, 31, 12, 0, 0, 1)),
    "inst": ("TIMESTAMPTZ", datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)),
    "l": ("BIGINT[]", [1, None, 3]),
    "s": ("STRUCT<a BIGINT, b VARCHAR>", {"a": 1, "b": None}),
    "nul": ("BIGINT", None),
}
VALUE_ROW = {name: value for name, (_, value) in VALUES.items()}


@pytest.mark.parametrize("form", ["dict", "pyarrow", "polars"])
def test_values_of_every_kind_arrive_as_they_were(client, url, table_name, form):
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in VALUES.items())
    client.execute(f"CREATE TABLE {table_name} (id BIGINT PRIMARY KEY, {columns})")
    schema, _ = client.execute(f"SELECT {', '.join(VALUES)} FROM {table_name}")
    frame = pa.Table.from_pylist([VALUE_ROW], schema.schema).add_column(0, "id", pa.array([1], pa.int64()))
    sent = {"dict": {"id": 1, **VALUE_ROW}, "pyarrow": frame, "polars": polars.DataFrame(frame)}[form]
    with tidewater.Producer(table_name, "p", url) as producer:
        producer.send(sent)
    found, _ = client.execute(f"SELECT {', '.join(VALUES)} FROM {table_name}")
    assert producer.statistics.rows_rejected == 0 and found.to_pylist() == [VALUE_ROW]


def test_infinity_and_nan(client, url, table_name):
    client.execute(f"CREATE TABLE {table_name} (id BIGINT PRIMARY KEY, v DOUBLE)")
    with tidewater.Producer(table_name, "p", url) as producer:
        producer.send([{"id": 1, "v": float("inf")}, {"id": 2, "v": float("-inf")}, {"id": 3, "v": float("nan")}])
    assert [str(value) for (value,) in client.rows(f"SELECT v FROM {table_name} ORDER BY id")] == ["inf", "-inf", "nan"]


def test_a_schema_of_its_own(client, url, table_name):
    client.execute(f"CREATE TABLE sales.{table_name} (id BIGINT)")
    for options, schema_url in (({"schema": "sales"}, url), ({}, f"{url}/sales")):
        with tidewater.Producer(table_name, "p", schema_url, **options) as producer:
            producer.send({"id": 1})
    assert ids(client, f"sales.{table_name}") == [1, 1]


def test_a_table_that_is_not_there(url):
    with pytest.raises(tidewater.NotFoundError) as missing:
        tidewater.Producer("nowhere", "p", url)
    assert (missing.value.reason, missing.value.code) == ("TABLE_NOT_FOUND", "TW-1010") and missing.value.hint


def test_who_asks_and_over_what(tmp_path):
    with secured(tmp_path) as one:
        name = one.password.replace(" ", "%20")
        by_password, by_token = (
            f"tidewater://{who}127.0.0.1:{one.server.grpc.partition(':')[2]}?ca={one.ca}" for who in (f"{one.user}:{name}@", "")
        )
        with tidewater.connect(by_password) as client:
            client.execute("CREATE TABLE t (id BIGINT NOT NULL)")
        for number, url in enumerate((by_password, f"{by_token}&token={one.token}")):
            with tidewater.Producer("t", f"p{number}", url) as producer:
                producer.send({"id": number})
                token = producer.flush()
        with tidewater.connect(by_password) as client:
            assert client.query("SELECT id FROM t ORDER BY id", wait_for=token).rows() == [(0,), (1,)]
        with pytest.raises(tidewater.AuthenticationError):
            tidewater.Producer("t", "p", by_token)
        with pytest.raises(tidewater.AuthenticationError):
            tidewater.Producer("t", "p", by_password.replace(name, "wrong"))
        with pytest.raises(tidewater.GivenUpError, match="given up after"):
            # Nobody is trusted whose certificate nobody vouches for.
            tidewater.Producer("t", "p", f"tidewater://{one.server.grpc}?tls=on&token={one.token}", connect_timeout_s=0.3)


def new_environment(folder: pathlib.Path, *packages: str) -> pathlib.Path:
    """The interpreter of a new environment with these packages, from the registry, without a compiler in reach."""
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "--disable-pip-version-check"]
    environment = {**os.environ, "CC": "/nowhere/cc", "CXX": "/nowhere/cc"}
    subprocess.run([*pip, "install", "--quiet", *packages], check=True, timeout=600, env=environment)
    return folder / "bin/python"


def ran(python: pathlib.Path, program: str, *arguments: str) -> str:
    found = subprocess.run([python, "-c", program, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


WITH_POLARS = """
import importlib.util, sys, polars, tidewater
table, url = sys.argv[1:]
assert not [name for name in ("pyarrow", "pandas", "numpy") if importlib.util.find_spec(name)]
with tidewater.Producer(table, "p", url) as producer:
    producer.send(polars.DataFrame({"id": [1, 2], "name": ["a", None]}))
    producer.send({"id": 3, "name": "c"})
    token = producer.flush()
with tidewater.connect(url) as client:
    frame = client.query(f"SELECT id, name FROM {table} ORDER BY id", wait_for=token).polars()
print(frame.rows())
"""

WITH_PANDAS = """
import sys, pandas, tidewater
table, url = sys.argv[1:]
with tidewater.Producer(table, "p", url) as producer:
    # An index that has a name is a column; others are left out.
    producer.send(pandas.DataFrame({"name": ["a"]}, index=pandas.Index([1], name="id")))
    producer.send(pandas.DataFrame({"id": [2], "name": [None]}, index=[7]))
    token = producer.flush()
with tidewater.connect(url) as client:
    frame = client.query(f"SELECT id, name FROM {table} ORDER BY id", wait_for=token).pandas()
print([tuple(None if pandas.isna(value) else value for value in row) for row in frame.itertuples(index=False)])
"""


@pytest.mark.slow
@pytest.mark.parametrize("extra, program, n_rows", [("polars", WITH_POLARS, 3), ("pandas", WITH_PANDAS, 2)])
def test_in_a_new_environment(url, table, tmp_path, extra, program, n_rows):
    python = new_environment(tmp_path / "venv", f"{PACKAGE}[{extra}]")
    assert ran(python, program, table, url) == f"{[(1, 'a'), (2, None), (3, 'c')][:n_rows]}\n"


WITH_THE_OLDEST = (
    WITH_POLARS
    + """
import asyncio
async def ask():
    async with await tidewater.connect_async(url) as client:
        return await (await client.query(f"SELECT count(*) FROM {table}")).value()
with tidewater.connect(url) as client:
    inserted = client.bulk_insert(table, polars.DataFrame({"id": [4, 5], "name": ["d", None]}))
    changed = client.execute_many(f"INSERT INTO {table} VALUES (?, ?)", [[6, "f"], [7, None]])
    heights = [batch.height for batch in client.query(f"SELECT id FROM {table} WHERE id > ?", [3])]
    try:
        client.query("SELECT * FROM nowhere")
    except tidewater.NotFoundError as error:
        print(inserted, changed, sum(heights), error.code, asyncio.run(ask()))
"""
)


def oldest_of(text: str, start: str) -> list[str]:
    """The packages of a list in pyproject.toml that begins so, each in its oldest version."""
    return re.findall(r'"([\w-]+)>=([\d.]+)"', text.split(start)[1].partition("]")[0])


@pytest.mark.slow
def test_with_the_oldest_packages_that_it_allows(url, table, tmp_path):
    """The client's own tests, those of its half that writes; and questions, with Polars alone."""
    text = (PACKAGE / "pyproject.toml").read_text()
    core, polars_extra = oldest_of(text, "\ndependencies = ["), oldest_of(text, "\npolars = [")
    assert (len(core), len(polars_extra)) == (5, 2)
    oldest = [f"{name}=={version}" for name, version in core + polars_extra]
    python = new_environment(tmp_path / "venv", str(PACKAGE), "pytest", *oldest)
    tests = [PACKAGE / "tests" / f"test_{name}.py" for name in ("producer", "async_producer", "dead_letters", "connection")]
    found = subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
    answer = ran(python, WITH_THE_OLDEST, table, url)
    assert answer == f"{[(1, 'a'), (2, None), (3, 'c')]}\n2 2 4 TW-1010 7\n"
