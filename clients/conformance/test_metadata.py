"""Do tools find catalog, schemas, tables, columns and types? What drivers ask for by themselves, whatever the names and however many."""

import importlib.metadata
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from harness import commands, http
from harness.client import Client
from harness.server import Server
from harness.waiting import until

SUITE = (
    "Flight SQL metadata and descriptors",
    f"pyarrow {pa.__version__}, adbc-driver-flightsql {importlib.metadata.version('adbc-driver-flightsql')}",
)

HOSTILE = ["a_b", "axb", "a%b", "a'b", 'a"b', "a\\b", "a\\_b", "größe", "世界", "🚀", "UPPER", "select", "a.b", "--", "%", "_"]
N_TABLES = 1_500
DEPTHS = ["catalogs", "db_schemas", "tables", "columns"]
ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) WHERE (a.x * b.y) % 7 = 3"
AT_MOST_S = 2
"""For what takes milliseconds and must not wait; generous, as the machine may have others at work."""

METADATA = {
    "catalogs": commands.descriptor("CommandGetCatalogs"),
    "schemas": commands.descriptor("CommandGetDbSchemas"),
    "tables": flight.FlightDescriptor.for_command(commands.get_tables()),
    "tables with columns": flight.FlightDescriptor.for_command(commands.get_tables(include_schema=True)),
    "table types": commands.descriptor("CommandGetTableTypes"),
    "primary keys": commands.descriptor("CommandGetPrimaryKeys", commands.text(3, "plain")),
    "exported keys": commands.descriptor("CommandGetExportedKeys", commands.text(3, "plain")),
    "imported keys": commands.descriptor("CommandGetImportedKeys", commands.text(3, "plain")),
    "cross reference": commands.descriptor("CommandGetCrossReference", commands.text(3, "plain") + commands.text(6, "plain")),
    "sql info": commands.get_sql_info(),
    "types": commands.descriptor("CommandGetXdbcTypeInfo"),
}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With tables of every kind of name."""
    server = Server(tmp_path_factory.mktemp("server")).start()
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE plain (id BIGINT NOT NULL, n DECIMAL(10, 2) COMMENT 'the price', PRIMARY KEY (id))")
        cursor.execute("CREATE VIEW seen AS SELECT id FROM plain")
        for i, name in enumerate(HOSTILE):
            cursor.execute(f"CREATE TABLE hostile.{quoted(name)} ({quoted(name)} BIGINT, c{i} VARCHAR)")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(server):
    with flight.connect(f"grpc://{server.grpc}") as client:
        yield client


def tables_of(connection, depth="tables", **filters) -> dict[str, dict]:
    """By name."""
    catalogs = connection.adbc_get_objects(depth=depth, **filters).read_all().to_pylist()
    schemas = itertools.chain.from_iterable(catalog["catalog_db_schemas"] for catalog in catalogs)
    return {table["table_name"]: table for schema in schemas for table in schema["db_schema_tables"]}


class TestObjects:
    """`adbc_get_objects` and `adbc_get_table_schema`."""

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names(self, adbc, name):
        found = tables_of(adbc, "columns", db_schema_filter="hostile")
        assert set(found) == set(HOSTILE)
        assert [column["column_name"] for column in found[name]["table_columns"]] == [name, f"c{HOSTILE.index(name)}"]

    @pytest.mark.parametrize("name", HOSTILE)
    def test_the_schema_is_that_of_the_table_with_exactly_this_name(self, adbc, name):
        assert adbc.adbc_get_table_schema(name, db_schema_filter="hostile").names == [name, f"c{HOSTILE.index(name)}"]

    def test_the_schema_of_no_table(self, adbc):
        for name in ("no_such_table", "a_", "axb%", ""):
            with pytest.raises(adbc_driver_manager.ProgrammingError) as missing:
                adbc.adbc_get_table_schema(name)
            assert missing.value.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND

    def test_patterns(self, adbc):
        def found(pattern: str) -> set[str]:
            return set(tables_of(adbc, db_schema_filter="hostile", table_name_filter=pattern))

        assert found("%") == set(HOSTILE)
        assert found("a_b") == {"a_b", "axb", "a%b", "a'b", 'a"b', "a\\b", "a.b"}
        # A name that is the pattern's own text is found too.
        assert found("a\\_b") == {"a_b", "a\\_b"}
        assert found("a\\%b") == {"a%b"}
        assert found("_") == {"🚀", "%", "_"}
        assert found("upper") == found("") == set()

    def test_columns_say_their_type(self, adbc):
        columns = tables_of(adbc, "columns", table_name_filter="plain")["plain"]["table_columns"]
        assert [(column["column_name"], column["ordinal_position"], column["xdbc_type_name"]) for column in columns] == [
            ("id", 1, "BIGINT"),
            ("n", 2, "DECIMAL"),
        ]

    def test_none_and_many(self, tmp_path):
        server = Server(tmp_path / "server").start()
        try:
            with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection:
                for depth in DEPTHS:
                    (catalog,) = connection.adbc_get_objects(depth=depth).read_all().to_pylist()
                    assert catalog["catalog_name"] == "tidewater"
                assert tables_of(connection, "columns", db_schema_filter="public") == {}
                create_many(server)
                assert set(tables_of(connection, db_schema_filter="public")) == {f"t{i:04}" for i in range(N_TABLES)}
                found = tables_of(connection, "columns", db_schema_filter="public")
                assert all([column["column_name"] for column in found[f"t{i:04}"]["table_columns"]] == [f"c{i}"] for i in range(N_TABLES))
                assert connection.adbc_get_table_schema("t1499").names == ["c1499"]
            # Drivers read the first batch alone of what they ask for by a name, in which `_` stands for any sign.
            with flight.connect(f"grpc://{server.grpc}") as client:
                assert batches_of(client, "t____") == [N_TABLES]
                assert sum(batches_of(client, "t%")) == N_TABLES
        finally:
            server.kill()


def batches_of(client: flight.FlightClient, pattern: str) -> list[int]:
    """How many tables each batch has."""
    info = client.get_flight_info(flight.FlightDescriptor.for_command(commands.get_tables(schema="public", table=pattern)))
    return [chunk.data.num_rows for chunk in client.do_get(info.endpoints[0].ticket)]


def create_many(server: Server):
    def create(part: int):
        with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection, connection.cursor() as cursor:
            for i in range(part, N_TABLES, 4):
                cursor.executescript(f"CREATE TABLE t{i:04} (c{i} BIGINT)")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(create, range(4)))


class TestCommands:
    @pytest.mark.parametrize("name", METADATA)
    def test_what_is_announced_is_sent(self, client, name):
        info = client.get_flight_info(METADATA[name])
        assert info.schema == client.get_schema(METADATA[name]).schema
        # Once more: metadata may be fetched as often as one likes.
        for _ in range(2):
            assert client.do_get(info.endpoints[0].ticket).read_all().schema.equals(info.schema)

    @pytest.mark.parametrize("name", [*METADATA, "a statement", "plain text", "a prepared statement", "no rows", "a path"])
    def test_one_endpoint_without_a_location(self, client, name):
        """Grafana takes one, ODBC connects anew to any location."""
        wanted = (
            METADATA.get(name)
            or {
                "a statement": commands.descriptor("CommandStatementQuery", commands.text(1, "SELECT 1 AS n")),
                "plain text": flight.FlightDescriptor.for_command(b"SELECT 1 AS n"),
                "a prepared statement": commands.prepared_query(commands.prepare(client, "SELECT 1 AS n")[1]),
                "no rows": flight.FlightDescriptor.for_command(b"SELECT 1 AS n WHERE false"),
                "a path": flight.FlightDescriptor.for_path("plain"),
            }[name]
        )
        info = client.get_flight_info(wanted)
        (endpoint,) = info.endpoints
        assert endpoint.locations == []
        assert (info.total_records, info.total_bytes) == (-1, -1)
        assert info.descriptor == wanted
        assert client.do_get(endpoint.ticket).read_all().schema.equals(info.schema)

    @pytest.mark.parametrize("how", ["plain text", "a statement", "a prepared statement", "no rows"])
    def test_a_query_says_its_id(self, client, server, how):
        sql = f"SELECT 4711 AS marked, '{how}' AS how" + " WHERE false" * (how == "no rows")
        wanted = {
            "plain text": lambda: flight.FlightDescriptor.for_command(sql.encode()),
            "no rows": lambda: flight.FlightDescriptor.for_command(sql.encode()),
            "a statement": lambda: commands.descriptor("CommandStatementQuery", commands.text(1, sql)),
            "a prepared statement": lambda: commands.prepared_query(commands.prepare(client, sql)[1]),
        }[how]
        info = client.get_flight_info(wanted())
        client.do_get(info.endpoints[0].ticket).read_all()
        with Client(server.grpc) as asking:
            marked = f"4711 AS marked, ''{how}''"
            ids = asking.rows(f"SELECT query_id FROM system.queries WHERE sql LIKE '%{marked}%' AND interface = 'flight_sql'")
        assert info.app_metadata.decode() in [query_id for (query_id,) in ids]

    def test_types_of_tables(self, client):
        def found(*types: str) -> set[tuple[str, str]]:
            rows = commands.answer(client, commands.get_tables(types=types)).to_pylist()
            return {(row["table_name"], row["table_type"]) for row in rows}

        everything = found()
        assert {("plain", "TABLE"), ("seen", "VIEW"), ("tables", "SYSTEM TABLE")} <= everything
        # Grafana asks for these two.
        assert {kind for _, kind in found("BASE TABLE", "table")} == {"TABLE"}
        assert found("view") == {("seen", "VIEW")}
        assert found("TABLE", "VIEW", "SYSTEM TABLE") == everything
        assert found("SYNONYM") == set()

    def test_catalogs_of_tables(self, client):
        def n_rows(**filters) -> int:
            return commands.answer(client, commands.get_tables(**filters)).num_rows

        assert n_rows() == n_rows(catalog="tidewater") > len(HOSTILE)
        assert n_rows(catalog="") == n_rows(catalog="other") == n_rows(catalog="tidew%") == 0
        assert n_rows(schema="hostile") == n_rows(schema="host%", catalog="tidewater") == len(HOSTILE)
        assert n_rows(schema="") == n_rows(table="") == 0

    def test_a_statement_as_a_pattern(self, client):
        statement = "SELECT '%_\\' FROM t WHERE a LIKE 'x%' " + "AND (b = 'it''s') " * 5_600
        began = time.monotonic()
        assert commands.answer(client, commands.get_tables(table=statement, include_schema=True)).num_rows == 0
        assert time.monotonic() - began < AT_MOST_S

    @pytest.mark.parametrize("name", ["a_b", "axb", "%", "_", "a\\_b"])
    def test_the_table_of_exactly_this_name_is_first(self, client, name):
        """Grafana and flightsql-dbapi read the first row alone."""
        rows = commands.answer(client, commands.get_tables(schema="hostile", table=name, include_schema=True)).to_pylist()
        assert rows[0]["table_name"] == name
        rest = [row["table_name"] for row in rows[1:]]
        assert rest == sorted(rest)

    def test_the_schema_of_a_table_is_one_message(self, client):
        (row,) = commands.answer(client, commands.get_tables(table="plain", include_schema=True)).to_pylist()
        for schema in (pa.ipc.read_schema(pa.py_buffer(row["table_schema"])), pa.ipc.open_stream(row["table_schema"]).schema):
            assert (schema.names, schema.types) == (["id", "n"], [pa.int64(), pa.decimal128(10, 2)])
            assert [field.nullable for field in schema] == [False, True]
            told = {key.removeprefix(b"ARROW:FLIGHT:SQL:").decode(): value.decode() for key, value in schema.field("n").metadata.items()}
            assert told.items() >= {
                "CATALOG_NAME": "tidewater", "DB_SCHEMA_NAME": "public", "TABLE_NAME": "plain", "TYPE_NAME": "DECIMAL",
                "PRECISION": "10", "SCALE": "2", "IS_AUTO_INCREMENT": "0", "IS_SEARCHABLE": "1", "REMARKS": "the price",
            }.items()  # fmt: skip

    def test_sql_info(self, client):
        everything = commands.answer(client, commands.get_sql_info())
        ids = everything["info_name"].to_pylist()
        # Grafana reads rows 17 to 21 by their place; JDBC fails over ids that it does not know.
        assert ids[17:22] == [508, 509, 510, 511, 512]
        assert len(ids) == len(set(ids)) and max(ids) < 10_000 and {0, 1, 2, 3, 8, 100, 504, 562, 576} <= set(ids)
        (transactions,) = commands.answer(client, commands.get_sql_info(8)).to_pylist()
        assert transactions == {"info_name": 8, "value": 0}
        assert commands.answer(client, commands.get_sql_info(424_242)).num_rows == 0
        assert commands.answer(client, commands.get_sql_info(0, 424_242)).to_pylist() == [
            {"info_name": 0, "value": everything["value"][0].as_py()}
        ]

    def test_types(self, client):
        rows = commands.answer(client, METADATA["types"]).to_pylist()
        assert [(row["data_type"], row["type_name"]) for row in rows] == sorted((row["data_type"], row["type_name"]) for row in rows)
        assert {"BOOLEAN", "BIGINT", "DECIMAL", "DOUBLE", "VARCHAR", "VARBINARY", "DATE", "TIME", "TIMESTAMP"} <= {
            row["type_name"] for row in rows
        }
        only = commands.answer(client, commands.descriptor("CommandGetXdbcTypeInfo", b"\x08\x0c")).to_pylist()
        assert only == [row for row in rows if row["data_type"] == 12]


UNKNOWN_ANY = commands.packed("CommandOfTomorrow")
WHOLE = commands.packed("CommandStatementQuery", commands.text(1, "SELECT 1 AS n"))


class TestDescriptors:
    """What is no command is refused with its name, and nothing hangs."""

    @pytest.mark.parametrize(("command", "contains"), [
        (b"\xff\xfe\x00garbage\x80", "TW-"),
        (b"", "TW-"),
        (UNKNOWN_ANY, "CommandOfTomorrow"),
        (WHOLE[: len(WHOLE) // 2], "TW-"),
        (commands.packed("CommandStatementQuery", b"\x0a\xff"), "CommandStatementQuery"),
        (b"SELECT " + b"1 + " * 2_600_000 + b"1", "TW-"),
        (WHOLE + b"\x00" * (10 << 20), "TW-"),
    ], ids=["garbage", "empty", "unknown", "truncated", "wrong content", "10 MiB of text", "10 MiB more than a command"])  # fmt: skip
    def test_refused(self, client, command, contains):
        for ask in (client.get_flight_info, client.get_schema):
            with pytest.raises(pa.ArrowInvalid, match=contains):
                ask(flight.FlightDescriptor.for_command(command))
        with pytest.raises((pa.ArrowInvalid, KeyError)):
            client.do_get(flight.Ticket(command)).read_all()
        assert commands.answer(client, flight.FlightDescriptor.for_command(b"SELECT 1 AS n")).to_pylist() == [{"n": 1}]

    def test_a_path_of_no_table(self, client):
        with pytest.raises(KeyError, match="no_such_table"):
            client.get_flight_info(flight.FlightDescriptor.for_path("no_such_table"))
        with pytest.raises(pa.ArrowInvalid):
            client.get_flight_info(flight.FlightDescriptor.for_path("a", "b", "c", "d"))


class TestAtOnce:
    def test_cursors_of_one_connection(self, adbc):
        """Twenty that all fetch at once: each has its own rows."""
        cursors = [adbc.cursor() for _ in range(20)]
        try:
            for i, cursor in enumerate(cursors):
                cursor.execute(f"SELECT {i} AS i, value FROM generate_series(1, 20000) AS s(value)")
            with ThreadPoolExecutor(len(cursors)) as threads:
                answers = list(threads.map(lambda cursor: cursor.fetch_arrow_table(), cursors))
            for i, answer in enumerate(answers):
                assert (answer.num_rows, set(answer["i"].to_pylist()), sum(answer["value"].to_pylist())) == (20_000, {i}, 200_010_000)
        finally:
            for cursor in cursors:
                cursor.close()

    @pytest.mark.slow
    def test_many_connections(self, server):
        """Two hundred that are open together, each with what a dashboard asks."""
        connections = [adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) for _ in range(200)]

        def dashboard(i: int):
            connection = connections[i]
            with connection.cursor() as cursor:
                cursor.execute("SELECT ? + value AS n FROM generate_series(1, 3) AS s(value)", (i * 10,))
                assert cursor.fetchall() == [(i * 10 + n,) for n in (1, 2, 3)]
                cursor.execute(f"SELECT '{i}' AS name")
                assert cursor.fetchall() == [(str(i),)]
            if i % 10 == 0:
                assert set(tables_of(connection, db_schema_filter="hostile")) == set(HOSTILE)

        try:
            with ThreadPoolExecutor(20) as threads:
                list(threads.map(dashboard, range(len(connections))))
        finally:
            for connection in connections:
                connection.close()

    def test_metadata_does_not_wait_for_queries(self, tmp_path):
        """One query runs for ever, one waits, and no other may: who browses tables is answered."""
        server = Server(tmp_path / "server", settings={"query.max_running": "1", "query.max_waiting": "1"}).start()
        try:
            with flight.connect(f"grpc://{server.grpc}") as client:
                endless = flight.FlightDescriptor.for_command(ENDLESS.encode())
                running = [client.do_get(client.get_flight_info(endless).endpoints[0].ticket) for _ in range(2)]
                until(lambda: "tidewater_queries_waiting 1\n" in http.get(server.http, "/metrics")[1], "one waits")
                with pytest.raises((pa.ArrowException, flight.FlightError), match="TW-1108"):
                    commands.answer(client, endless)
                for name, wanted in METADATA.items():
                    began = time.monotonic()
                    assert commands.answer(client, wanted).schema.names
                    assert time.monotonic() - began < AT_MOST_S, name
                assert "tidewater_queries_waiting 1\n" in http.get(server.http, "/metrics")[1]
                for reader in running:
                    reader.cancel()
        finally:
            server.kill()
