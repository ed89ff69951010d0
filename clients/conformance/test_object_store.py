"""Are tables on an S3-compatible store safe? Commits whose answers are lost, refused, late or doubled, a store that is away, one that
cannot do conditional puts: each range of rows is committed exactly once, and rows are taken meanwhile."""

import json
import threading
import time
import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from harness import data, http
from harness.client import Client, Refused, arrow_payload
from harness.compare import difference
from harness.delta import HIDDEN, Log, stored
from harness.engines import ENGINES
from harness.sealing import build, places, rows_by_place, seal
from harness.server import Server
from harness.store import Moto, access
from harness.store_relay import COMMIT, FILE, StoreRelay
from harness.stubs import ingest
from harness.waiting import until

EVENTS = data.events()
CREATE = "CREATE TABLE t (id BIGINT NOT NULL, body VARCHAR, PRIMARY KEY (id))"
N = 1_000
# A seal that the store disturbs ends within this, once the store is back; the server waits between its attempts.
SEAL_TIMEOUT_S = 90
# No acknowledgement waits for the store; a debug build on a busy machine is slow, though.
ACK_S = 5
# What a caller is told whose statement needs the store while it is away.
AWAY = "UNAVAILABLE STORE_UNAVAILABLE"


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    moto = Moto(tmp_path_factory.mktemp("moto"))
    yield moto
    moto.stop()


@pytest.fixture
def bucket(moto):
    return moto.bucket(f"bucket-{uuid.uuid4()}")


@pytest.fixture
def relay(moto):
    with StoreRelay(moto.address) as relay:
        yield relay


@pytest.fixture
def server(tmp_path, relay, bucket):
    server = Server(tmp_path / "server", settings={"storage.url": f"s3://{bucket.name}/a/prefix"}, environment=access(relay.address))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def client(server):
    with Client(server.grpc) as client:
        yield client


def rows(part: int, n: int = N) -> pa.Table:
    return pa.table({"id": pa.array(range(part * N, part * N + n), pa.int64()), "body": [f"{part}: {i % 7} ä😀" for i in range(n)]})


def write(client: Client, part: int, n: int = N):
    result = client.write("t", arrow_payload(rows(part, n)), producer=ingest.Producer(id="p"), sequence=part + 1)
    assert result.accepted == n


def is_answered(client: Client, sql: str, wanted) -> bool:
    """Whether it is; while the store is away it is refused, and with that alone."""
    try:
        return client.value(sql) == wanted
    except Refused as refused:
        assert refused.name == AWAY, refused
        return False


def until_summed(client: Client, parts: int):
    """All rows of that many parts are answered."""
    what = f"the sum of {parts} parts"
    until(lambda: is_answered(client, "SELECT sum(id) FROM t", sum(range(parts * N))), what, SEAL_TIMEOUT_S)


class Sealing:
    """A seal on its way, in a thread: it ends when the store lets it. What is told to a caller meanwhile is that the store is away."""

    def __init__(self, server: Server, table: str = "t"):
        self.server, self.table = server, table
        self.moved, self.error, self.given_up = None, None, threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        deadline = time.monotonic() + SEAL_TIMEOUT_S
        try:
            with Client(self.server.grpc) as client:
                while self.moved is None and not self.given_up.is_set():
                    try:
                        self.moved = seal(client, self.table)
                    except Refused as refused:
                        if refused.name != AWAY or time.monotonic() > deadline:
                            raise
                        time.sleep(0.1)
        except Exception as error:  # noqa: BLE001: told by `end`
            self.error = error

    def end(self):
        self.thread.join(SEAL_TIMEOUT_S)
        assert not self.thread.is_alive(), "the seal does not end"
        if self.error:
            raise self.error
        return self.moved

    def give_up(self):
        """The server is killed; what the thread says then does not matter."""
        self.given_up.set()
        self.thread.join(SEAL_TIMEOUT_S)


def assert_whole(client: Client, bucket, expected: pa.Table, table: str = "t"):
    """Every row once, for us and for others, all of them sealed, and a log without a range or a file that is there twice."""
    answer, _ = client.execute(f"SELECT * FROM {table}")
    assert difference(answer, expected) is None
    # Files may be merged at any time: the server and the log are asked about one version.
    found, log = of_one_version(client, bucket, table)
    assert (found.realtime, found.built, found.sealed) == (0, 0, expected.num_rows)
    log.assert_sound()
    assert (log.live_rows(), len(log.live())) == (expected.num_rows, found.files)
    assert_read_by_others(client, bucket, table, found, log)
    return log


def of_one_version(client: Client, bucket, table: str):
    """What the server says of the table, and the log that it is in."""
    answers = []

    def ask() -> bool:
        found = places(client, table)
        answers[:] = [found, Log.of_bucket(bucket, found.location)]
        return answers[1].version == found.version

    until(ask, "the server says the version that the log has")
    return answers


def assert_read_by_others(client: Client, bucket, table: str, found, log: Log):
    ours, _ = client.execute(f"SELECT *, {HIDDEN} FROM {table}")
    for engine in (ENGINES["deltalake"](None), ENGINES["deltalake-query"](None), ENGINES["polars"](None)):
        if engine.can_read(log):
            read = engine.read(found.location, log.version, options=access(bucket.address))
            assert difference(read, stored(ours)) is None


def test_create_seal_read_delete_and_restart(server, client, bucket, relay):
    table = "events"
    client.execute(data.CREATE_EVENTS.format(name=table))
    half = EVENTS.num_rows // 2
    assert client.write(table, arrow_payload(EVENTS.slice(0, half))).accepted == half
    moved = seal(client, table)
    assert moved.rows == half and moved.location.startswith(f"s3://{bucket.name}/a/prefix/{table}-")
    assert_whole(client, bucket, EVENTS.slice(0, half), table)
    # Every commit was a put that only succeeds if the version is not there.
    assert relay.commits() and all(headers.get("if-none-match") == "*" for _, headers, _ in relay.commits())

    server.restart(kill=True)
    with Client(server.grpc) as client:
        assert_whole(client, bucket, EVENTS.slice(0, half), table)
        # Keys are known, wherever their rows are.
        assert client.write(table, arrow_payload(EVENTS.slice(0, 100))).accepted == 0
        assert client.write(table, arrow_payload(EVENTS.slice(half))).accepted == EVENTS.num_rows - half
        assert seal(client, table).delta_version > moved.delta_version
        assert_whole(client, bucket, EVENTS, table)

        client.execute(f"DELETE FROM {table} WHERE change = 'deleted'")
        left = EVENTS.filter(pc.not_equal(EVENTS["change"], "deleted"))
        # NULL is not 'deleted'.
        left = pa.concat_tables([left, EVENTS.filter(EVENTS["change"].is_null())])
        seal(client, table)
        assert_whole(client, bucket, left, table)
        server.restart()
    with Client(server.grpc) as client:
        log = assert_whole(client, bucket, left, table)
        assert any(add.get("deletionVector") for add in log.live().values())
        # Nothing is left out because it is elsewhere.
        checks = {check: (ok, detail) for check, ok, detail in client.rows(f"CALL verify('{table}')")}
        assert all(ok for ok, _ in checks.values()) and str(left.num_rows) in checks["keys"][1], checks
        client.execute(f"TRUNCATE TABLE {table}")
        assert client.write(table, arrow_payload(EVENTS.slice(0, 100))).accepted == 100
        seal(client, table)
        assert_whole(client, bucket, EVENTS.slice(0, 100), table)


# What happens to the put of a commit.
DISTURBED = {
    "the answer is lost": {},
    "the answers of three attempts are lost": {"times": 3},
    "it is executed and answered 500": {"answer": 500},
    "it is executed and answered 409": {"answer": 409},
    "it is executed and answered 412": {"answer": 412},
    "it is not executed and answered 409": {"answer": 409, "executed": False},
    "it is not executed and answered 412": {"answer": 412, "executed": False},
    "it is not executed and answered 503": {"answer": 503, "executed": False},
    "it never arrives": {"executed": False},
    "it arrives late": {"held": True},
}
# Each waits for time-outs of a real client: `make test` has the first, `make conformance` all of them.
disturbed = pytest.mark.parametrize(
    "how",
    [
        pytest.param(how, id=name, marks=[] if name == "the answer is lost" else [pytest.mark.slow])
        for name, how in DISTURBED.items()
    ],
)


@disturbed
def test_a_commit_that_is_disturbed(server, client, bucket, relay, how):
    client.execute(CREATE)
    write(client, 0)
    seal(client, "t")
    write(client, 1)
    fault = relay.fault(**how)
    moved = Sealing(server).end()
    assert fault.fired.is_set() and moved.rows == 2 * N
    # The late one finds its version taken.
    assert all(status in (409, 412) for status in relay.release())
    log = assert_whole(client, bucket, pa.concat_tables([rows(0), rows(1)]))
    # Two rounds, two commits with files: nothing was committed twice, under the same name or under another.
    assert [len([a for a in actions if "add" in a]) > 0 for actions in log.commits.values()].count(True) == 2
    write(client, 2)
    seal(client, "t")
    server.restart(kill=True)
    with Client(server.grpc) as client:
        assert_whole(client, bucket, pa.concat_tables([rows(0), rows(1), rows(2)]))


MORE = ["the answer is lost", "it never arrives", "it arrives late"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "more"),
    [pytest.param(how, False, id=name) for name, how in DISTURBED.items()]
    + [pytest.param(DISTURBED[name], True, id=f"{name} and more rows come") for name in MORE],
)
def test_a_kill_before_a_commit_is_settled(server, client, bucket, relay, how, more):
    """The process ends when it does not know what became of its commit; the next one finds out. Rows that came since then are not
    committed under the old one's name."""
    client.execute(CREATE)
    write(client, 0)
    seal(client, "t")
    write(client, 1)
    fault = relay.fault(**how, then_away="gone")
    sealing = Sealing(server)
    assert fault.fired.wait(SEAL_TIMEOUT_S), "no commit was sent"
    if more:
        write(client, 2)
    server.kill()
    sealing.give_up()
    relay.go_on()
    server.start()
    expected = pa.concat_tables([rows(part) for part in range(3 if more else 2)])
    with Client(server.grpc) as client:
        Sealing(server).end()
        assert all(status in (409, 412) for status in relay.release())
        assert_whole(client, bucket, expected)
        # Keys and positions of producers are as they were.
        assert client.write("t", arrow_payload(rows(1)), producer=ingest.Producer(id="p"), sequence=2).repeated
        assert client.write("t", arrow_payload(rows(1))).accepted == 0
        assert_whole(client, bucket, expected)


@pytest.mark.slow
@pytest.mark.parametrize("upload", [False, True], ids=["commit", "upload"])
def test_a_late_commit_lands_first(server, client, bucket, relay, upload):
    """What a process that is gone had sent reaches the store after the next process has started, but before that one sends its own."""
    client.execute(CREATE)
    write(client, 0)
    fault = relay.fault(held=True, path=FILE if upload else COMMIT, then_away="gone")
    sealing = Sealing(server)
    assert fault.fired.wait(SEAL_TIMEOUT_S)
    server.kill()
    sealing.give_up()
    server.start()
    assert relay.release() == [200]
    relay.go_on()
    with Client(server.grpc) as client:
        write(client, 1)
        Sealing(server).end()
        assert_whole(client, bucket, pa.concat_tables([rows(0), rows(1)]))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", "silent", 503])
def test_rows_are_taken_while_the_store_is_away(server, client, bucket, relay, how):
    client.execute(CREATE)
    write(client, 0)
    seal(client, "t")
    part, slowest = 1, 0.0
    with relay.absent(how):
        write(client, part)
        sealing = Sealing(server)
        for part in range(2, 40):
            begin = time.monotonic()
            write(client, part)
            slowest = max(slowest, time.monotonic() - begin)
            # They are there at once, and are built without the store.
            assert client.value("SELECT count(*) FROM t") == (part + 1) * N
            assert client.value(f"SELECT body FROM t WHERE id = {part * N + 3}") == f"{part}: 3 ä😀"
            if part % 10 == 0:
                build(client, "t")
                found = rows_by_place(client, "t")
                assert found == (0, part * N, N), "built rows wait, the others are in memory"
        assert slowest < ACK_S
        assert sealing.moved is None and sealing.thread.is_alive()
        assert Log.of_bucket(bucket, places(client, "t").location).live_rows() == N
        # What needs the sealed rows is answered rightly, or not at all.
        try:
            assert client.value("SELECT sum(id) FROM t") == sum(range((part + 1) * N))
        except Refused as refused:
            assert refused.name == AWAY
    sealing.end()
    expected = pa.concat_tables([rows(i) for i in range(part + 1)])
    until_summed(client, part + 1)
    seal(client, "t")
    assert_whole(client, bucket, expected)
    server.restart(kill=True)
    with Client(server.grpc) as client:
        assert_whole(client, bucket, expected)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", 503])
def test_a_start_without_the_store(server, client, bucket, relay, how):
    """Ingest opens; fresh rows are answered; what needs sealed rows says why it cannot, until it can."""
    client.execute(CREATE)
    write(client, 0)
    seal(client, "t")
    write(client, 1)
    build(client, "t")
    write(client, 2)
    with relay.absent(how):
        server.restart(kill=True)
        with Client(server.grpc) as client:
            write(client, 3)
            assert client.write("t", arrow_payload(rows(0)), producer=ingest.Producer(id="p"), sequence=1).repeated
            assert client.write("t", arrow_payload(rows(0))).accepted == 0
            assert client.value("SELECT count(*) FROM t") == 4 * N
            assert client.value(f"SELECT count(body) FROM t WHERE id >= {2 * N}") == 2 * N
            try:
                assert client.value("SELECT sum(id) FROM t") == sum(range(4 * N))
            except Refused as refused:
                assert refused.name == AWAY
            assert http.get(server.http, "/healthz") == (200, "ok\n")
    with Client(server.grpc) as client:
        until_summed(client, 4)
        Sealing(server).end()
        assert_whole(client, bucket, pa.concat_tables([rows(part) for part in range(4)]))


@pytest.mark.slow
def test_deletes_and_changes_go_on_while_the_store_is_away(server, client, bucket, relay):
    """They are entries of the log; the Delta table has them when the store is back."""
    client.execute(CREATE)
    write(client, 0)
    seal(client, "t")
    write(client, 1)
    build(client, "t")
    with relay.absent("gone"):
        write(client, 2)
        # A condition on built and fresh rows needs no sealed file.
        _, summary = client.execute(f"DELETE FROM t WHERE id >= {N} AND id % 2 = 0")
        assert summary.affected_rows == N
        client.execute("ALTER TABLE t ADD COLUMN more BIGINT")
        write(client, 3)
        expected = pa.concat_tables([rows(part) for part in range(4)])
        gone = pc.and_(pc.less(expected["id"], 3 * N), pc.greater_equal(expected["id"], N))
        even = pc.equal(pc.bit_wise_and(expected["id"], 1), 0)
        expected = expected.filter(pc.invert(pc.and_(gone, even)))
        expected = expected.append_column("more", pa.nulls(expected.num_rows, pa.int64()))
        assert client.value("SELECT count(*) FROM t") == expected.num_rows
        server.restart(kill=True)
    with Client(server.grpc) as client:
        Sealing(server).end()
        assert_whole(client, bucket, expected)
        with relay.absent("gone"):
            client.execute("TRUNCATE TABLE t")
            assert client.value("SELECT count(*) FROM t") == 0
            assert client.write("t", arrow_payload(rows(0))).accepted == N
        Sealing(server).end()
        assert_whole(client, bucket, expected.slice(0, N))


def test_the_version_is_anothers(server, client, bucket):
    """A commit of somebody else takes the version that was meant: ours goes behind it."""
    client.execute(CREATE)
    write(client, 0)
    moved = seal(client, "t")
    folder = moved.location.removeprefix(f"s3://{bucket.name}/")
    info = {"commitInfo": {"timestamp": int(time.time() * 1000), "operation": "MANUAL UPDATE", "operationParameters": {}}}
    for version in (moved.delta_version + 1, moved.delta_version + 2):
        bucket.put(f"{folder}/_delta_log/{version:020}.json", json.dumps(info).encode())
    # An empty file is an empty version.
    bucket.put(f"{folder}/_delta_log/{moved.delta_version + 3:020}.json", b"")
    write(client, 1)
    assert Sealing(server).end().delta_version == moved.delta_version + 4
    log = assert_whole(client, bucket, pa.concat_tables([rows(0), rows(1)]))
    assert log.foreign_versions() == [moved.delta_version + i for i in (1, 2, 3)]


def test_a_store_without_conditional_puts_is_refused(server, client, bucket, relay):
    relay.stripped = {"if-none-match"}
    with pytest.raises(Refused) as refused:
        client.execute(CREATE)
    assert refused.value.reason == "STORE_UNSUITABLE", refused.value
    assert client.value("SELECT count(*) FROM system.tables WHERE name = 't'") == 0
    assert bucket.names() == [], "the attempt left something behind"
    relay.stripped = set()
    client.execute(CREATE)
    write(client, 0)
    seal(client, "t")
    assert_whole(client, bucket, rows(0))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["gone", 503])
def test_no_table_is_made_while_the_store_is_away(server, client, bucket, relay, how):
    with relay.absent(how), pytest.raises(Refused) as refused:
        client.execute(CREATE)
    assert refused.value.name == AWAY
    assert client.value("SELECT count(*) FROM system.tables WHERE name = 't'") == 0
    client.execute(CREATE)
    write(client, 0)
    seal(client, "t")
    assert_whole(client, bucket, rows(0))


def test_a_bucket_that_is_not_there(tmp_path, relay):
    server = Server(tmp_path / "server", settings={"storage.url": "s3://nobody-made-this"}, environment=access(relay.address)).start()
    try:
        with Client(server.grpc) as client, pytest.raises(Refused) as refused:
            client.execute(CREATE)
        assert refused.value.reason in ("STORE_UNSUITABLE", "STORE_UNAVAILABLE") and "nobody-made-this" in refused.value.message
    finally:
        server.kill()


@pytest.mark.parametrize("url", ["gs://bucket/prefix", "http://127.0.0.1/bucket", "s3://", "tables", "s3:/bucket"])
def test_a_url_that_is_no_store_is_refused_at_start(tmp_path, url):
    server = Server(tmp_path / "server", settings={"storage.url": url})
    code, said = server.refused()
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 64 and url in line and "s3://" in line, said


def test_two_servers_share_a_bucket(server, client, bucket, relay, tmp_path):
    """The same name in both is two tables in two folders. The place of the store may also be a setting."""
    settings = {
        "storage.url": f"s3://{bucket.name}/a/prefix/", "storage.endpoint": f"http://{relay.address}", "storage.region": "us-east-1",
    }  # fmt: skip
    environment = {**access("127.0.0.1:1"), "AWS_REGION": ""}
    other = Server(tmp_path / "other", settings=settings, environment=environment).start()
    try:
        with Client(other.grpc) as other_client:
            for each, part in ((client, 0), (other_client, 1)):
                each.execute(CREATE)
                each.write("t", arrow_payload(rows(part)))
            for each in (client, other_client):
                seal(each, "t")
            assert_whole(client, bucket, rows(0))
            assert_whole(other_client, bucket, rows(1))
            assert places(client, "t").location != places(other_client, "t").location
    finally:
        other.kill()
