"""Are answers right? Each query of the oracle must be answered as DuckDB answers it: on fresh data, while more streams in, after a
restart."""

import re
import threading
import time

import adbc_driver_flightsql.dbapi
import pytest

from harness import data
from harness.client import Client, Loader, Refused, arrow_payload
from harness.compare import difference
from harness.oracle import KINDS, QUERIES, Oracle, ours
from harness.server import Server

TABLES = {"git_events": data.many_events(), "kinds": data.kinds()}
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


@pytest.fixture(scope="module")
def oracle():
    return Oracle(**TABLES)


class Loaded:
    """Everything is loaded, and most of it is sorted; the oracle has the same."""

    @pytest.fixture(scope="class")
    def loaded(self, tmp_path_factory):
        server = Server(tmp_path_factory.mktemp("oracle")).start()
        with Client(server.grpc) as client:
            create(client, *TABLES)
            for table, rows in TABLES.items():
                Loader(client, table, "oracle").load(data.batches(rows))
        server = self.prepared(server)
        with Client(server.grpc) as client:
            for table in TABLES:
                wait_for_run(client, table)
        yield server
        server.kill()

    @by_name_and_kinds
    def test_as_duckdb(self, loaded, oracle, query):
        assert difference(over_flight_sql(loaded, ours(query)), oracle.answer(query)) is None


class TestFresh(Loaded):
    def prepared(self, server):
        return server

    @pytest.mark.parametrize("sql", TOO_LARGE)
    def test_what_does_not_fit_is_refused(self, loaded, sql):
        with Client(loaded.grpc) as client, pytest.raises(Refused) as refused:
            client.execute(sql)
        assert refused.value.name == "INVALID_ARGUMENT QUERY_FAILED"
        assert "DECIMAL" in refused.value.message


class TestAfterRestart(Loaded):
    def prepared(self, server):
        server.restart()
        return server


class TestAfterKill(Loaded):
    def prepared(self, server):
        server.restart(kill=True)
        return server


class TestWhileStreaming:
    """A prefix was loaded; the rest streams in while the queries run. They are held at the prefix by its commit."""

    @pytest.fixture(scope="class")
    def held(self, tmp_path_factory):
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
            try:
                while not stop.is_set():
                    for batch in rest:
                        for start in range(0, batch.num_rows, 250):
                            if stop.is_set():
                                return
                            loader.load([batch.slice(start, 250)])
            except Exception as error:  # noqa: BLE001: told to the test below
                failures.append(error)

        thread = threading.Thread(target=stream)
        thread.start()
        yield client, token, Oracle(git_events=events.slice(0, n)), failures
        stop.set()
        thread.join()
        client.close()
        server.kill()

    @by_name
    def test_as_duckdb(self, held, query):
        client, token, oracle, failures = held
        sql = re.sub(r"\bgit_events\b", "git_events_held", ours(query))
        table, _ = client.execute(sql, min_commit=[token])
        assert difference(table, oracle.answer(query)) is None
        assert not failures
