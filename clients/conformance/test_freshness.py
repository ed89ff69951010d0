"""Does every answer say how fresh it is, and does a query wait until it is fresh enough? Commit tokens, watermarks, rows read."""

import base64
import concurrent.futures
import datetime
import http.client
import json

import grpc
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from harness.client import OPTIONS, TIMEOUT_S, Client, Refused, json_payload
from harness.flight import content
from harness.server import Server
from harness.stubs import ingest

N_TOKENS = 1_000
TOKEN, WATERMARK = "x-tidewater-commit-token", "x-tidewater-watermark"
GET = "/arrow.flight.protocol.FlightService/DoGet"
MIN_COMMIT = b"x-tidewater-min-commit"
CREATE = "CREATE TABLE {name} (id BIGINT NOT NULL, at TIMESTAMP NOT NULL, PRIMARY KEY (id)) WITH (time_column = 'at')"
# Far longer than any query here, and shorter than any time-out.
DEADLINE_S = 1


class Heard(flight.ClientMiddleware):
    """Keeps what the server says beside its messages, each in the order in which it came."""

    def __init__(self, calls: list):
        self.said = {}
        calls.append(self.said)

    def received_headers(self, headers):
        for name, values in headers.items():
            self.said.setdefault(name, []).extend(values)


class HeardFactory(flight.ClientMiddlewareFactory):
    def __init__(self):
        self.calls = []

    def start_call(self, info):
        return Heard(self.calls)


class Flight:
    """Flight without Flight SQL: a statement as the bytes of a descriptor."""

    def __init__(self, address: str):
        self.heard = HeardFactory()
        self.client = flight.connect(f"grpc://{address}", middleware=[self.heard])

    def close(self):
        self.client.close()

    def info(self, sql: str, tokens=(), timeout=TIMEOUT_S) -> flight.FlightInfo:
        headers = [(MIN_COMMIT, ",".join(tokens).encode())] if tokens else []
        options = flight.FlightCallOptions(timeout=timeout, headers=headers)
        return self.client.get_flight_info(flight.FlightDescriptor.for_command(sql.encode()), options)

    def fetch(self, info: flight.FlightInfo, tokens=()) -> tuple[list[tuple], dict]:
        """Rows, and what the last message says."""
        headers = [(MIN_COMMIT, ",".join(tokens).encode())] if tokens else []
        rows, last = [], None
        for chunk in self.client.do_get(info.endpoints[0].ticket, flight.FlightCallOptions(timeout=TIMEOUT_S, headers=headers)):
            assert last is None, "more came behind the last message"
            rows += [tuple(row.values()) for row in chunk.data.to_pylist()]
            last = chunk.app_metadata and json.loads(chunk.app_metadata.to_pybytes())
        return rows, last

    def ask(self, sql: str, tokens=()) -> tuple[list[tuple], dict]:
        return self.fetch(self.info(sql, tokens), tokens)

    def said(self, name: str) -> list[str]:
        """The values of a header or trailer of the last call."""
        return self.heard.calls[-1].get(name, [])


@pytest.fixture
def wire(server):
    wire = Flight(server.grpc)
    yield wire
    wire.close()


@pytest.fixture
def table(client, table_name):
    client.execute(CREATE.format(name=table_name))
    return table_name


def text(token: bytes) -> str:
    return base64.b64encode(token).decode()


def later(token: bytes, by: int = 1) -> bytes:
    """A token of a commit that is still to come. Opaque to clients; here its last eight bytes are known to be the place in the log."""
    return token[:-8] + (int.from_bytes(token[-8:], "big") + by).to_bytes(8, "big")


def row(i: int, at: str = "2026-01-01T00:00:00Z") -> ingest.Payload:
    return json_payload([{"id": i, "at": at}])


def write(client, table: str, i: int, producer: str = "", at: str = "2026-01-01T00:00:00Z") -> bytes:
    """Stores a row and returns the commit's token."""
    if not producer:
        return client.write(table, row(i, at)).commit_token
    state = client.init_producer(table, producer)
    who = ingest.Producer(id=producer, epoch=state.epoch)
    return client.write(table, row(i, at), producer=who, sequence=state.last_sequence + 1).commit_token


class TestTokens:
    """A query that names a commit sees it."""

    def test_a_query_with_the_token_of_a_write_sees_the_row(self, client, wire, table):
        for i in range(N_TOKENS):
            token = text(write(client, table, i))
            (rows, said) = wire.ask(f"SELECT count(*), max(id) FROM {table}", [token])
            assert rows == [(i + 1, i)]
            assert [one["commit_token"] for one in said["tables"]] == [token]

    def test_a_query_waits_for_the_commit(self, client, wire, table):
        to_come = text(later(write(client, table, 1)))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asking = pool.submit(wire.ask, f"SELECT id FROM {table} ORDER BY id", [to_come])
            with pytest.raises(concurrent.futures.TimeoutError):
                asking.result(timeout=DEADLINE_S)
            assert text(write(client, table, 2)) == to_come
            assert asking.result(timeout=TIMEOUT_S)[0] == [(1,), (2,)]

    @pytest.mark.slow
    def test_a_commit_that_does_not_come_is_an_error(self, client, wire, table):
        never = later(write(client, table, 1), 100)
        with pytest.raises(pa.ArrowInvalid) as refused:
            wire.info("SELECT 1", [text(never)])
        with pytest.raises(Refused) as other:
            client.execute("SELECT 1", min_commit=[never])
        assert other.value.name == "FAILED_PRECONDITION NOT_YET_VISIBLE"
        # The same sentence, whichever way it was asked.
        assert other.value.message in str(refused.value)

    def test_the_deadline_of_the_call_ends_the_wait(self, client, wire, table):
        never = text(later(write(client, table, 1), 100))
        with pytest.raises(flight.FlightTimedOutError):
            wire.info("SELECT 1", [never], timeout=DEADLINE_S)

    @pytest.mark.parametrize("token", ["nonsense", "AQE=", "A" * 60, "%"])
    def test_what_is_no_token_is_refused(self, server, wire, token):
        with pytest.raises(pa.ArrowInvalid, match="commit token"):
            wire.info("SELECT 1", [token])
        status, _, answer = post(server, {"sql": "SELECT 1"}, {"x-tidewater-min-commit": token})
        assert (status, answer["title"]) == (400, "INVALID_COMMIT_TOKEN"), answer

    def test_tokens_come_in_every_alphabet(self, client, wire, table):
        for i in range(20):
            token = write(client, table, i)
            forms = [text(token), text(token).rstrip("="), base64.urlsafe_b64encode(token).decode()]
            assert wire.ask(f"SELECT count(*) FROM {table}", forms)[0] == [(i + 1,)]

    def test_the_token_of_a_table_that_is_gone(self, client, wire, table):
        token = text(write(client, table, 1))
        client.execute(f"DROP TABLE {table}")
        with pytest.raises(KeyError, match="no table"):
            wire.info("SELECT 1", [token])

    def test_changes_say_where_they_stand(self, client, wire, table):
        for sql in (f"INSERT INTO {table} VALUES (1, TIMESTAMP '2026-01-01 00:00:00')", f"DELETE FROM {table} WHERE id = 1"):
            wire.info(sql)
            (token,) = wire.said(TOKEN)
            assert text(client.execute(f"SELECT * FROM {table}")[1].commit_tokens[0]) == token
            assert wire.ask(f"SELECT count(*) FROM {table}", [token])[1]["tables"][0]["commit_token"] == token

    def test_a_result_is_that_of_its_plan(self, client, wire, table):
        info = wire.info(f"SELECT id FROM {table}")
        token = text(write(client, table, 1))
        with pytest.raises(pa.ArrowInvalid, match="planned before"):
            wire.fetch(info, [token])
        info = wire.info(f"SELECT id FROM {table}")
        assert wire.fetch(info, [token])[0] == [(1,)]

    def test_a_token_outlives_a_restart(self, tmp_path):
        server = Server(tmp_path).start()
        try:
            with Client(server.grpc) as client:
                client.execute(CREATE.format(name="t"))
                token = text(write(client, "t", 1))
            server.kill()
            server.start()
            wire = Flight(server.grpc)
            assert wire.ask("SELECT id FROM t", [token])[0] == [(1,)]
            wire.close()
        finally:
            server.kill()


class TestFreshness:
    """What an answer says of itself."""

    def test_the_id_of_the_query_stays_alone(self, wire):
        info = wire.info("SELECT 1 AS a")
        (query_id,) = wire.said("x-query-id")
        assert info.app_metadata == query_id.encode()
        assert json.loads(info.endpoints[0].app_metadata) == {"query_id": query_id, "tables": []}
        rows, said = wire.fetch(info)
        assert (rows, said) == ([(1,)], {"query_id": query_id, "tables": [], "rows_read": {"realtime": 0, "built": 0, "sealed": 0}})

    def test_rows_are_counted_where_they_are(self, server, client, wire, table):
        n = 1_000
        ids = list(range(n))
        client.write(table, json_payload([{"id": i, "at": "2026-01-01T00:00:00Z"} for i in ids]))
        sql = f"SELECT id FROM {table} WHERE id % 10 = 3"

        def read() -> dict:
            """By all interfaces, which agree."""
            rows, said = wire.ask(sql)
            assert len(rows) == sum(i % 10 == 3 for i in ids)
            read = said["rows_read"]
            said = trailers_of(server.grpc, wire.info(sql).endpoints[0].ticket)
            assert {half: int(said[f"x-tidewater-rows-{half}"]) for half in read} == read
            summary = client.execute(sql)[1]
            files = summary.rows_read_sealed - summary.rows_read_built
            assert {"realtime": summary.rows_read_realtime, "built": summary.rows_read_built, "sealed": files} == read
            statistics = post(server, {"sql": sql})[2]["statistics"]
            assert (statistics["rows_read_realtime"], statistics["rows_read_built"]) == (read["realtime"], read["built"])
            assert statistics["rows_read_sealed"] == read["built"] + read["sealed"]
            assert said[TOKEN] == text(summary.commit_tokens[0]) == statistics["commit_tokens"][0]
            return read

        assert read() == {"realtime": n, "built": 0, "sealed": 0}
        client.execute(f"CALL seal('{table}')")
        assert read() == {"realtime": 0, "built": 0, "sealed": n}
        ids += range(n, n + 7)
        client.write(table, json_payload([{"id": i, "at": "2026-01-01T00:00:00Z"} for i in ids[n:]]))
        assert read() == {"realtime": 7, "built": 0, "sealed": n}

    def test_every_table_is_named_once(self, client, wire, table):
        other = f"{table}_2"
        client.execute(CREATE.format(name=other))
        tokens = [text(write(client, name, 1)) for name in (table, other)]
        _, said = wire.ask(f"SELECT * FROM {other} b JOIN {table} a ON a.id = b.id JOIN {table} c ON c.id = a.id")
        assert [(one["schema"], one["name"], one["commit_token"]) for one in said["tables"]] == [
            ("public", table, tokens[0]), ("public", other, tokens[1]),
        ]  # fmt: skip
        assert wire.said(TOKEN)[-1] == ",".join(tokens)
        # As it comes it is taken.
        assert wire.ask("SELECT 1 AS a", wire.said(TOKEN)[-1].split(","))[0] == [(1,)]

    def test_headers_over_http(self, server, client, table):
        token = text(write(client, table, 1, "p"))
        for accept in ("application/json", "text/csv", "application/vnd.apache.arrow.stream"):
            status, headers, _ = post(server, {"sql": f"SELECT id FROM {table}"}, {"Accept": accept, "x-tidewater-min-commit": token})
            assert (status, headers[TOKEN], headers[WATERMARK]) == (200, token, "2026-01-01T00:00:00.000000Z")
        statement = {"sql": f"INSERT INTO {table} VALUES (2, TIMESTAMP '2026-01-01 00:00:00')"}
        status, headers, answer = post(server, statement)
        assert (status, headers[TOKEN]) == (200, answer["commit_token"])

    def test_the_watermark_is_that_of_the_slowest_producer(self, client, wire, table):
        def watermark():
            sql = f"SELECT count(*) FROM {table} WHERE id > 0"
            _, said = wire.ask(sql)
            (one,) = said["tables"]
            started = client.execute(sql)[1].tables[0]
            at = started.watermark.ToDatetime(datetime.timezone.utc) if started.HasField("watermark") else None
            assert (at and at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == one["watermark"]
            assert wire.said(WATERMARK)[-1:] == ([one["watermark"]] if one["watermark"] else [])
            return one["watermark"]

        # Who writes without a producer does not say how far it is.
        write(client, table, 1)
        assert watermark() is None
        write(client, table, 2, "fast", "2026-01-02T00:00:00Z")
        assert watermark() == "2026-01-02T00:00:00.000000Z"
        write(client, table, 3, "slow", "2025-12-31T00:00:00Z")
        assert watermark() == "2025-12-31T00:00:00.000000Z"
        # A late row does not bring it back.
        write(client, table, 4, "slow", "2026-01-01T12:00:00.5Z")
        write(client, table, 5, "slow", "2025-01-01T00:00:00Z")
        assert watermark() == "2026-01-01T12:00:00.500000Z"

    def test_the_watermark_is_never_ahead_of_the_rows(self, client, wire, table):
        """While rows come in, each answer has all that its watermark speaks of."""
        n = 200
        state = client.init_producer(table, "p")
        who = ingest.Producer(id="p", epoch=state.epoch)
        first = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)

        def load():
            with client.stream(table, producer=who) as stream:
                for i in range(1, n + 1):
                    stream.send(row(i, (first + datetime.timedelta(seconds=i)).isoformat()), i)
                return sum(stream.result().accepted for _ in range(n))

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            loading = pool.submit(load)
            is_done = False
            while not is_done:
                is_done = loading.done()
                ((last,),), said = wire.ask(f"SELECT max(at) FROM {table}")
                if watermark := said["tables"][0]["watermark"]:
                    assert datetime.datetime.fromisoformat(watermark) <= last.replace(tzinfo=datetime.timezone.utc)
            assert loading.result(timeout=TIMEOUT_S) == n
        assert wire.ask(f"SELECT max(at) FROM {table}")[1]["tables"][0]["watermark"] == "2026-01-01T00:03:20.000000Z"


def trailers_of(address: str, ticket: flight.Ticket) -> dict[str, str]:
    """What stands behind the last message of a result. The client of Arrow does not show it."""
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        answer = channel.unary_stream(GET, lambda message: message, lambda message: message)(content(1, ticket.ticket), timeout=TIMEOUT_S)
        assert sum(1 for _ in answer) >= 2, "a schema and a last message"
        return dict(answer.trailing_metadata())


def post(server, body: dict, headers=None) -> tuple[int, dict, dict | None]:
    """Status, headers in lower case and, if it is JSON, the answer of a statement over HTTP."""
    host, port = server.http.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/api/v1/sql", json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    said = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, said, json.loads(content) if "json" in said.get("content-type", "") else None
