"""Are answers right? Each query of the oracle must be answered as DuckDB answers it: on fresh data, while more streams in, after a
restart."""

import re
import threading

import adbc_driver_flightsql.dbapi
import pytest

from harness import data
from harness.client import Client, Loader, arrow_payload
from harness.compare import difference
from harness.oracle import QUERIES, Oracle, ours
from harness.server import Server

EVENTS = data.events()
by_name = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query["name"])


def create(client: Client):
    client.execute(data.CREATE_EVENTS.format(name="git_events"))
    client.execute(data.CREATE_REPOS)
    client.write("repos", arrow_payload(data.REPOS))


def over_flight_sql(server: Server, sql: str):
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()


class Loaded:
    """Everything is loaded; the oracle has the same."""

    @pytest.fixture(scope="class")
    def loaded(self, tmp_path_factory):
        server = Server(tmp_path_factory.mktemp("oracle")).start()
        with Client(server.grpc) as client:
            create(client)
            Loader(client, "git_events", "oracle").load(data.batches(EVENTS))
        yield self.prepared(server)
        server.kill()

    @pytest.fixture(scope="class")
    def oracle(self):
        return Oracle(EVENTS)

    @by_name
    def test_as_duckdb(self, loaded, oracle, query):
        assert difference(over_flight_sql(loaded, ours(query)), oracle.answer(query)) is None


class TestFresh(Loaded):
    def prepared(self, server):
        return server


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
        batches = data.batches(EVENTS)
        prefix, rest = batches[: len(batches) // 2], batches[len(batches) // 2 :]
        n = sum(batch.num_rows for batch in prefix)
        client = Client(server.grpc)
        create(client)
        loader = Loader(client, "git_events", "streaming")
        token = loader.load(prefix)[-1].commit_token
        last = client.value("SELECT max(_commit_seq) FROM git_events", min_commit=[token])
        columns = ", ".join(f'"{name}"' for name in EVENTS.column_names)
        client.execute(f"CREATE VIEW git_events_held AS SELECT {columns} FROM git_events WHERE _commit_seq <= {last}")
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
        yield client, token, Oracle(EVENTS.slice(0, n)), failures
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
