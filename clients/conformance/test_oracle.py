"""Are answers right? Each query of the oracle must be answered as DuckDB answers it, wherever the rows are: in memory, built, sealed, in
all three, after DELETEs, merged, after a restart, while more streams in and is sealed."""

import re
import threading
import time

import adbc_driver_flightsql.dbapi
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from harness import data
from harness.client import Client, Loader, Refused, arrow_payload
from harness.compare import difference
from harness.disk import SmallDisk
from harness.oracle import KINDS, QUERIES, Oracle, ours
from harness.sealing import Places, build, compact, places, rows_by_place, seal
from harness.server import Server

TABLES = {"git_events": data.many_events(), "kinds": data.kinds()}
KEYS = {"git_events": "event_id", "kinds": "id"}
CREATE = {"git_events": data.CREATE_EVENTS.format(name="git_events"), "kinds": data.CREATE_KINDS}

# Of a sorted run a query for one of its values reads little, of rows as they came all.
NARROW = {
    "git_events": "SELECT max(path) FROM git_events WHERE repo = 'apache/arrow-rs'",
    "kinds": "SELECT max(s) FROM kinds WHERE u16 = 17",
}
SORT_TIMEOUT_S = 60

# DuckDB adds BIGINT up in 128 bits and refuses the others.
TOO_LARGE = [
    "SELECT sum(event_id) AS a FROM git_events WHERE event_id > 0",
    "SELECT repo, sum(event_id) AS a FROM git_events WHERE event_id < 0 GROUP BY repo",
    "SELECT sum(event_id) OVER (ORDER BY event_id) AS a FROM git_events",
    "SELECT count(*) AS n FROM git_events WHERE event_id * 3 > 5",
    "SELECT max(event_id + 9223372036854775807) AS a FROM git_events WHERE event_id > 0",
]

# The same on DuckDB. A condition that is NULL takes no row.
DELETES = [
    "DELETE FROM git_events WHERE repo = 'apache/arrow-rs~1' AND change = 'modified'",
    "DELETE FROM git_events WHERE authored_at BETWEEN TIMESTAMPTZ '2021-06-01 00:00:00+00' AND TIMESTAMPTZ '2021-06-15 00:00:00+00'",
    "DELETE FROM git_events AS e WHERE e.path LIKE '%.md' AND e.repo IN (SELECT repo FROM repos WHERE language = 'C++')",
    "DELETE FROM git_events WHERE event_id IN (SELECT max(event_id) FROM git_events GROUP BY author)",
    "DELETE FROM git_events WHERE false",
    "DELETE FROM kinds WHERE u16 = 17",
    "DELETE FROM kinds WHERE flag AND NOT (i8 > 0)",
    "DELETE FROM kinds WHERE id % 7 = 0",
    "DELETE FROM kinds WHERE ts IS NULL AND u8 IS NULL",
    "DELETE FROM kinds WHERE s = 'nobody has this'",
    "DELETE FROM kinds WHERE id % 7 = 0",
]

by_name = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query["name"])
by_name_and_kinds = pytest.mark.parametrize("query", QUERIES + KINDS, ids=lambda query: query["name"])


def create(client: Client, *tables: str):
    for table in tables:
        client.execute(CREATE[table])
    client.execute(data.CREATE_REPOS)
    client.write("repos", arrow_payload(data.REPOS))


def wait_for_run(client: Client, table: str):
    """Runs are made in the background, soon after there are enough rows for one."""
    deadline = time.monotonic() + SORT_TIMEOUT_S
    # A narrow query skips most of a run; what is not in runs yet it reads whole.
    n_rows = client.value(f"SELECT count(*) FROM {table}")
    while client.execute(NARROW[table])[1].rows_read_realtime > n_rows - data.RUN_ROWS // 2:
        assert time.monotonic() < deadline, f"the rows of {table} were not sorted"
        time.sleep(0.05)


def over_flight_sql(server: Server, sql: str):
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()


# All rows in parts: half of them is sealed, a quarter built, a quarter in memory where the state is mixed.
PARTS = 8
N_SEALED, N_BUILT = 4, 6
# With DELETEs the last part comes when they are done.
N_DELETED_FROM = 7


def part(table: str, begin: int = 0, end: int = PARTS) -> list[pa.RecordBatch]:
    """Each part has rows of every time, and in every repository."""
    batches = data.batches(TABLES[table])
    return [batch for i in range(begin, end) for batch in batches[i::PARTS]]


class Rows:
    """What DuckDB answers, and how many rows each DELETE took."""

    def __init__(self, *, delete: bool = False):
        self.n_deleted = []
        if delete:
            before = {table: pa.Table.from_batches(part(table, 0, N_DELETED_FROM)) for table in TABLES}
            self.oracle = Oracle(**before)
            self.n_deleted = [self.oracle.execute(statement) for statement in DELETES]
            for table in TABLES:
                self.oracle.insert(table, pa.Table.from_batches(part(table, N_DELETED_FROM)))
        else:
            self.oracle = Oracle(**TABLES)
        self.known = {}

    def answer(self, query: dict) -> pa.Table:
        """Each is asked once, for all states."""
        if query["name"] not in self.known:
            self.known[query["name"]] = self.oracle.answer(query)
        return self.known[query["name"]]

    def places(self, realtime: int, built: int) -> dict[str, tuple[int, int, int]]:
        """How many rows are in memory, built and sealed, when the parts from `realtime` and from `built` on are there."""
        found = {}
        for table, key in KEYS.items():
            left = self.oracle.connection.sql(f"SELECT {key} FROM {table}").to_arrow_table()[key].combine_chunks()
            ranges = (realtime, PARTS), (built, realtime), (0, built)
            ids = [[batch.column(key) for batch in part(table, *parts)] for parts in ranges]
            found[table] = tuple(sum(pc.sum(pc.is_in(column, left)).as_py() for column in columns) for columns in ids)
        return found


class Own:
    """A server of a state's own, and what brings it there. The Delta tables are on a disk of their own if publishing is to be held."""

    def __init__(self, folder, *, hold: bool):
        self.disk = SmallDisk(folder / "disk", 2 << 30) if hold else None
        settings, wrapper = {}, ()
        if self.disk:
            (self.disk.path / "tables").mkdir()
            settings, wrapper = {"storage.url": (self.disk.folder / "tables").as_uri()}, self.disk.wrapper
        self.server = Server(folder / "server", settings=settings, wrapper=wrapper)

    def __enter__(self) -> "Own":
        self.server.start()
        with Client(self.server.grpc) as client:
            create(client, *TABLES)
        return self

    def __exit__(self, *_):
        self.server.kill()
        if self.disk:
            self.disk.close()

    def load(self, begin: int = 0, end: int = PARTS):
        with Client(self.server.grpc) as client:
            for table in TABLES:
                Loader(client, table, "oracle").load(part(table, begin, end))

    def wait_for_runs(self):
        with Client(self.server.grpc) as client:
            for table in TABLES:
                wait_for_run(client, table)

    def each(self, move):
        """Builds or seals everything, the dimension too."""
        with Client(self.server.grpc) as client:
            for table in [*TABLES, "repos"]:
                move(client, table)

    def hold_publishing(self):
        """From now on the Delta tables can only be read: what is built stays built."""
        self.disk.set_writable(False)

    def delete(self) -> list[int]:
        """How many rows each took. What comes again afterwards is a duplicate, also of a row that went."""
        with Client(self.server.grpc) as client:
            n_deleted = [client.execute(statement)[1].affected_rows for statement in DELETES]
            for table in TABLES:
                answers = Loader(client, table, "again").load(part(table, 0, 1))
                assert {answer.accepted for answer in answers} == {0}
        return n_deleted

    def figures(self) -> dict[str, Places]:
        with Client(self.server.grpc) as client:
            return {table: places(client, table) for table in TABLES}

    def places(self) -> dict[str, tuple[int, int, int]]:
        with Client(self.server.grpc) as client:
            return {table: rows_by_place(client, table) for table in TABLES}


# The states. Each function brings a server there and returns from which part on rows are in memory, and from which on they are built.


def fresh(own: Own, rows: Rows):
    own.load()
    own.wait_for_runs()
    return 0, 0


def restarted(own: Own, rows: Rows):
    own.load()
    own.server.restart()
    own.wait_for_runs()
    return 0, 0


def killed(own: Own, rows: Rows):
    own.load()
    own.server.restart(kill=True)
    own.wait_for_runs()
    return 0, 0


def built(own: Own, rows: Rows):
    own.hold_publishing()
    own.load()
    own.each(build)
    return PARTS, 0


def sealed(own: Own, rows: Rows):
    own.load()
    own.each(seal)
    return PARTS, PARTS


def sealed_in_parts_and_killed(own: Own, rows: Rows):
    for i in range(PARTS):
        own.load(i, i + 1)
        own.each(seal)
    own.server.restart(kill=True)
    return PARTS, PARTS


def mixed(own: Own, rows: Rows):
    own.load(0, N_SEALED)
    own.each(seal)
    own.hold_publishing()
    own.load(N_SEALED, N_BUILT)
    own.each(build)
    own.load(N_BUILT, PARTS)
    return N_BUILT, N_SEALED


def mixed_and_killed(own: Own, rows: Rows):
    mixed(own, rows)
    own.server.restart(kill=True)
    return N_BUILT, N_SEALED


def deleted(own: Own, rows: Rows):
    """From sealed rows, of which the Delta table does not know yet, from built ones, and from some that were in memory until then."""
    own.load(0, N_SEALED)
    own.each(seal)
    own.hold_publishing()
    own.load(N_SEALED, N_BUILT)
    own.each(build)
    own.load(N_BUILT, N_DELETED_FROM)
    assert own.delete() == rows.n_deleted
    own.load(N_DELETED_FROM, PARTS)
    return N_DELETED_FROM, N_SEALED


def deleted_and_killed(own: Own, rows: Rows):
    places = deleted(own, rows)
    own.server.restart(kill=True)
    return places


def deleted_and_sealed(own: Own, rows: Rows):
    deleted(own, rows)
    own.disk.set_writable(True)
    own.each(seal)
    return PARTS, PARTS


def deleted_and_compacted(own: Own, rows: Rows):
    """Of small files, from which rows were deleted, few are left: rows are in other files than they came in, without those that went."""
    for i in range(N_DELETED_FROM):
        own.load(i, i + 1)
        own.each(seal)
    assert own.delete() == rows.n_deleted
    own.load(N_DELETED_FROM, PARTS)
    own.each(seal)
    before = own.figures()
    own.each(compact)
    after = own.figures()
    for table in TABLES:
        assert after[table].files < before[table].files, before
        assert after[table].deleted < before[table].deleted, before
    return PARTS, PARTS


def deleted_from_sealed_and_killed(own: Own, rows: Rows):
    """Each deletion vector is published before the next DELETE comes."""
    own.load(0, N_DELETED_FROM)
    own.each(seal)
    n_deleted = []
    with Client(own.server.grpc) as client:
        for statement in DELETES:
            n_deleted.append(client.execute(statement)[1].affected_rows)
            own.each(seal)
    assert n_deleted == rows.n_deleted
    own.load(N_DELETED_FROM, PARTS)
    own.server.restart(kill=True)
    return N_DELETED_FROM, N_DELETED_FROM


WITHOUT_HOLD = (fresh, restarted, killed, sealed, sealed_in_parts_and_killed, deleted_and_compacted, deleted_from_sealed_and_killed)
WITH_HOLD = (built, mixed, mixed_and_killed, deleted, deleted_and_killed, deleted_and_sealed)


@pytest.fixture(scope="module")
def all_rows():
    return Rows()


@pytest.fixture(scope="module")
def rows_after_deletes():
    return Rows(delete=True)


@pytest.fixture(scope="module", params=[*WITHOUT_HOLD, *WITH_HOLD], ids=lambda state: state.__name__)
def state(request, tmp_path_factory):
    """A server in a state, and the rows that it has."""
    bring = request.param
    rows = request.getfixturevalue("rows_after_deletes" if bring.__name__.startswith("deleted") else "all_rows")
    with Own(tmp_path_factory.mktemp(bring.__name__), hold=bring in WITH_HOLD) as own:
        expected = rows.places(*bring(own, rows))
        assert own.places() == expected
        yield own.server, rows
        # It was this state to the end.
        assert own.places() == expected


@by_name_and_kinds
def test_as_duckdb(state, query):
    server, rows = state
    assert difference(over_flight_sql(server, ours(query)), rows.answer(query)) is None


@pytest.mark.parametrize("sql", TOO_LARGE)
def test_what_does_not_fit_is_refused(state, sql):
    server, _ = state
    with Client(server.grpc) as client, pytest.raises(Refused) as refused:
        client.execute(sql)
    assert refused.value.name == "INVALID_ARGUMENT QUERY_FAILED"
    assert "DECIMAL" in refused.value.message


# The steps of a seal, as table/commit.rs has them: rows that are being built are in memory, and then they are built until the commit is on
# record, whatever the Delta table says already.
BUILDING = ("build.names_recorded", "build.file_written", "build.layer_written", "build.files_synced")
PUBLISHING = (
    "publish.file_brought",
    "publish.files_brought",
    "publish.before_send",
    "publish.after_send",
    "publish.settled",
)


@pytest.fixture(scope="module", params=[*BUILDING, *PUBLISHING])
def held_seal(request, tmp_path_factory, all_rows):
    """A server of which a part is sealed, and a seal of the rest held at one of its steps."""
    point = request.param
    with Own(tmp_path_factory.mktemp(point), hold=False) as own:
        own.load(0, N_SEALED)
        own.each(seal)
        own.server.environment["TIDEWATER_FAIL_POINTS"] = f"{point}=hold:1"
        own.server.restart()
        own.load(N_SEALED, PARTS)

        def ask():
            with Client(own.server.grpc) as client, pytest.raises(Exception):  # noqa: B017: it ends with the server
                seal(client, "git_events")

        asking = threading.Thread(target=ask)
        asking.start()
        own.server.wait_for_log("held at a fail point", point)
        expected = all_rows.places(PARTS if point in PUBLISHING else N_SEALED, N_SEALED)["git_events"]
        assert own.places()["git_events"] == expected
        yield own.server
        assert own.places()["git_events"] == expected
        own.server.kill()
        asking.join()


@pytest.mark.slow
@by_name
def test_as_duckdb_while_a_seal_is_held(held_seal, all_rows, query):
    assert difference(over_flight_sql(held_seal, ours(query)), all_rows.answer(query)) is None


# Those at which deletion vectors are in the store.
WITH_VECTORS = ("publish.files_brought", "publish.after_send", "publish.settled")


@pytest.fixture(scope="module", params=WITH_VECTORS)
def held_vectors(request, tmp_path_factory, rows_after_deletes):
    """A server that publishes deletion vectors by itself after its start, of sealed rows and of built ones, held at a step of that."""
    point, table, rows = request.param, "git_events", rows_after_deletes
    with Own(tmp_path_factory.mktemp(point), hold=False) as own:
        with Client(own.server.grpc) as client:
            loader = Loader(client, table, "oracle")
            loader.load(part(table, 0, N_SEALED))
            seal(client, table)
            loader.load(part(table, N_SEALED, N_DELETED_FROM))
            for statement, n_deleted in zip(DELETES, rows.n_deleted, strict=True):
                if statement.startswith(f"DELETE FROM {table}"):
                    assert client.execute(statement)[1].affected_rows == n_deleted
        own.server.environment["TIDEWATER_FAIL_POINTS"] = f"{point}=hold:1"
        own.server.restart(kill=True)
        own.server.wait_for_log("held at a fail point", point)
        with Client(own.server.grpc) as client:
            Loader(client, table, "oracle").load(part(table, N_DELETED_FROM))
        expected = rows.places(N_DELETED_FROM, N_SEALED)[table]
        assert own.places()[table] == expected
        yield own.server
        assert own.places()[table] == expected


@pytest.mark.slow
@by_name
def test_as_duckdb_while_deletion_vectors_are_held(held_vectors, rows_after_deletes, query):
    assert difference(over_flight_sql(held_vectors, ours(query)), rows_after_deletes.answer(query)) is None


@pytest.fixture(scope="module", params=["in_memory", "sealed_meanwhile"])
def held(request, tmp_path_factory):
    """A prefix was loaded; the rest streams in while the queries run, and moves to files if it is sealed meanwhile. The queries are held at
    the prefix by its commit."""
    server = Server(tmp_path_factory.mktemp("streaming")).start()
    events = TABLES["git_events"]
    batches = data.batches(events)
    # Enough for a sorted run.
    n_prefix = len(batches) * 9 // 10
    prefix, rest = batches[:n_prefix], batches[n_prefix:]
    n = sum(batch.num_rows for batch in prefix)
    client = Client(server.grpc)
    create(client, "git_events")
    loader = Loader(client, "git_events", "streaming")
    token = loader.load(prefix)[-1].commit_token
    last = client.value("SELECT max(_commit_seq) FROM git_events", min_commit=[token])
    columns = ", ".join(f'"{name}"' for name in events.column_names)
    client.execute(f"CREATE VIEW git_events_held AS SELECT {columns} FROM git_events WHERE _commit_seq <= {last}")
    wait_for_run(client, "git_events")
    stop, failures = threading.Event(), []

    def stream():
        """The rest in small batches, and once through, again and again: then every row is a duplicate."""
        while True:
            for batch in rest:
                for start in range(0, batch.num_rows, 250):
                    if stop.is_set():
                        return
                    loader.load([batch.slice(start, 250)])

    def move():
        with Client(server.grpc) as own_client:
            while not stop.is_set():
                build(own_client, "git_events")
                seal(own_client, "git_events")

    def run(work):
        try:
            work()
        except Exception as error:  # noqa: BLE001: told to the test below
            failures.append(error)

    work = [stream, move] if request.param == "sealed_meanwhile" else [stream]
    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    yield client, token, Oracle(git_events=events.slice(0, n)), failures
    stop.set()
    for thread in threads:
        thread.join()
    # More came, and moved.
    assert client.value("SELECT count(*) FROM git_events") > n
    assert (rows_by_place(client, "git_events")[2] > 0) == (request.param == "sealed_meanwhile")
    client.close()
    server.kill()


@by_name
def test_as_duckdb_while_more_comes(held, query):
    client, token, oracle, failures = held
    sql = re.sub(r"\bgit_events\b", "git_events_held", ours(query))
    table, _ = client.execute(sql, min_commit=[token])
    assert difference(table, oracle.answer(query)) is None
    assert not failures
