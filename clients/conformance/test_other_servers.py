"""Do bugs that users of other Flight SQL servers reported occur here? Each test names the report; `known_bugs.toml` lists all of them."""

import base64
import concurrent.futures
import datetime
import signal
import socket
import time

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import grpc
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from adbc_driver_flightsql import DatabaseOptions, StatementOptions

from harness import http
from harness.commands import get_tables, packed
from harness.flight import bulk_append, content, messages
from harness.flight_session import SERVICE, RawClient
from harness.flight_sql import TIMEOUT_S, Wire, handshake, polled, prepared, sent, statement, trailers_of
from harness.secured import secured
from harness.server import Server
from harness.stubs import query
from harness.waiting import until

ENDLESS = "SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) WHERE (a.x * b.y) % 7 = {n}"
MAX_SESSIONS_OF_USER = 1_000
GRPC_DEFAULT_BYTES = 4 << 20
GRPC_DEFAULT_HEADER_BYTES = 8 << 10
MAX_HEADER_BYTES = 64 << 10
MAX_GROWTH = 256 << 20
"""Of a server that sends what is much larger."""
UTC = datetime.timezone.utc


@pytest.fixture
def cursor(adbc):
    with adbc.cursor() as cursor:
        yield cursor


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


@pytest.fixture
def table(cursor, table_name):
    """Three rows in files and one that is not in one yet."""
    cursor.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, name VARCHAR, price DOUBLE, at TIMESTAMP, PRIMARY KEY (id))")
    rows = "(1, 'a', 1.5, TIMESTAMP '2026-01-31 12:00:00'), (2, 'b', NULL, NULL), (3, NULL, 3.5, NULL)"
    cursor.execute(f"INSERT INTO {table_name} VALUES {rows}")
    cursor.execute(f"CALL seal('{table_name}')")
    cursor.execute(f"INSERT INTO {table_name} VALUES (4, 'd', 4.5, NULL)")
    return table_name


def check_one_schema(wire: Wire, sql: str) -> pa.Table:
    """FlightInfo, GetSchema, prepare and DoGet say the same."""
    answer = wire.answer(statement(sql))
    assert pa.ipc.read_schema(pa.py_buffer(wire.prepare(sql)[2])) == answer.schema, sql
    return answer


def named(text: str) -> query.Values:
    return query.Values(values=[query.Value(string_value=text)])


def ask_to_prepare(server, sql: str, **headers: str) -> bytes:
    """As a client that shows the status and the headers of a refusal."""
    request = packed("ActionCreatePreparedStatementRequest", content(1, sql.encode()))
    return RawClient(server, **headers).action("CreatePreparedStatement", request).body


class TestSchemas:
    AGGREGATES = [
        "min(id)", "max(id)", "min(name)", "max(price)", "min(at)", "count(*)", "count(name)", "sum(id)", "avg(price)", "stddev(price)",
        "approx_percentile_cont(price, 0.5)", "approx_distinct(name)", "approx_median(price)", "array_agg(id)",
        "first_value(id ORDER BY id)", "bool_or(id > 1)", "min(id), max(id), count(*)",
    ]  # fmt: skip

    @pytest.mark.parametrize("expression", AGGREGATES)
    def test_aggregates_over_files_have_one_schema(self, wire, cursor, table, expression):
        """Statistics of files make constants of them, which are never null.

        https://github.com/datafusion-contrib/datafusion-flight-sql-server/issues/51
        https://github.com/influxdata/influxdb_iox/issues/7723
        """
        for _ in range(2):
            for sql in (f"SELECT {expression} FROM {table}", f"SELECT {expression} FROM {table} WHERE id > 99"):
                assert check_one_schema(wire, sql).num_rows == 1
            # Now with files alone, so that the statistics are all that is needed.
            cursor.execute(f"CALL seal('{table}')")

    STATEMENTS = [
        "SELECT t.name, u.id, u.name FROM {t} t LEFT JOIN {t} u ON u.id = t.id + 1",
        "SELECT * FROM {t} t FULL JOIN {t} u ON u.id = t.id + 2",
        "SELECT CASE WHEN id > 1 THEN 'x' END, coalesce(name, 'y'), nullif(id, 1) FROM {t}", "SELECT name FROM {t} UNION ALL SELECT 'y'",
        "SELECT id FROM {t} UNION SELECT NULL", "SELECT id, sum(price) OVER (ORDER BY id), lag(id) OVER (ORDER BY id) FROM {t}",
        "SELECT 1, 'x', NULL, 1.5, true", "SELECT NULL", "SELECT now(), current_date", "EXPLAIN SELECT * FROM {t}", "SHOW timezone",
        "VALUES (1, 'a'), (NULL, 'b')", "SELECT * FROM {t} WHERE false", "SELECT * FROM {t} LIMIT 0", "SELECT id AS a, name AS a FROM {t}",
        "SELECT id + 1, upper(name), count(*) FROM {t} GROUP BY id, name", "SELECT DISTINCT name FROM {t}",
        "SELECT (SELECT max(id) FROM {t}) AS m FROM {t} WHERE id IN (SELECT id FROM {t})", "WITH c AS (SELECT id FROM {t}) SELECT * FROM c",
        "SELECT * FROM (VALUES (1)) AS v(a) CROSS JOIN {t}", "SELECT [id, NULL] AS l, named_struct('a', id, 'b', name) AS s FROM {t}",
        "SELECT name, count(DISTINCT id) FROM {t} GROUP BY GROUPING SETS ((name), ())",
        "SELECT CAST(id AS VARCHAR), CAST(price AS DECIMAL(10, 2)) FROM {t}",
    ]  # fmt: skip

    @pytest.mark.parametrize("sql", STATEMENTS)
    def test_statements_have_one_schema(self, wire, cursor, table, sql):
        """Over fresh rows as over files. https://github.com/datafusion-contrib/datafusion-flight-sql-server/issues/51"""
        schemas = []
        for _ in range(2):
            schemas.append(check_one_schema(wire, sql.format(t=table)).schema)
            cursor.execute(f"CALL seal('{table}')")
        assert schemas[0] == schemas[1]

    def test_what_is_asked_again_has_the_schema_that_it_had(self, wire, client, table):
        """https://github.com/spiceai/spiceai/issues/9482"""
        sql = f"SELECT MAX(id) AS m FROM {table}"
        answers = [check_one_schema(wire, sql) for _ in range(3)]
        client.execute(f"CALL seal('{table}')")
        answers += [check_one_schema(wire, sql) for _ in range(2)]
        client.execute(f"DELETE FROM {table} WHERE id = 4")
        answers.append(check_one_schema(wire, sql))
        assert [answer.schema for answer in answers] == [answers[0].schema] * 6
        assert [answer.to_pylist() for answer in answers] == [[{"m": 4}]] * 5 + [[{"m": 3}]]

    def test_every_column_of_an_answer_may_be_null(self, wire, table):
        """Where parts of an answer differ in what may be null, drivers refuse it.

        https://github.com/apache/arrow-adbc/issues/3134
        """

        def check(field: pa.Field, is_key: bool = False):
            assert field.nullable or is_key, field
            for i in range(field.type.num_fields):
                child = field.type.field(i)
                check(child, is_key=pa.types.is_map(field.type) and (i == 0 or not child.nullable))

        for columns in ("*", "id", "1 AS one, 'x' AS x", "count(*)", "[id, 1]", "named_struct('a', id, 'b', [1])", "row_number() OVER ()"):
            for field in check_one_schema(wire, f"SELECT {columns} FROM {table} {'GROUP BY id' if 'count' in columns else ''}").schema:
                check(field)

    STRINGS = pa.string()
    KEYS = pa.schema([
        pa.field("pk_catalog_name", STRINGS), pa.field("pk_db_schema_name", STRINGS), pa.field("pk_table_name", STRINGS, False),
        pa.field("pk_column_name", STRINGS, False), pa.field("fk_catalog_name", STRINGS), pa.field("fk_db_schema_name", STRINGS),
        pa.field("fk_table_name", STRINGS, False), pa.field("fk_column_name", STRINGS, False), pa.field("key_sequence", pa.int32(), False),
        pa.field("fk_key_name", STRINGS), pa.field("pk_key_name", STRINGS), pa.field("update_rule", pa.uint8(), False),
        pa.field("delete_rule", pa.uint8(), False),
    ])  # fmt: skip
    TABLES = [pa.field("catalog_name", STRINGS), pa.field("db_schema_name", STRINGS), pa.field("table_name", STRINGS, False),
              pa.field("table_type", STRINGS, False)]  # fmt: skip
    INTEGERS = pa.int32()
    TYPES = pa.schema([
        pa.field("type_name", STRINGS, False), pa.field("data_type", INTEGERS, False), pa.field("column_size", INTEGERS),
        pa.field("literal_prefix", STRINGS), pa.field("literal_suffix", STRINGS),
        pa.field("create_params", pa.list_(pa.field("item", STRINGS, False))), pa.field("nullable", INTEGERS, False),
        pa.field("case_sensitive", pa.bool_(), False), pa.field("searchable", INTEGERS, False), pa.field("unsigned_attribute", pa.bool_()),
        pa.field("fixed_prec_scale", pa.bool_(), False), pa.field("auto_increment", pa.bool_()), pa.field("local_type_name", STRINGS),
        pa.field("minimum_scale", INTEGERS), pa.field("maximum_scale", INTEGERS), pa.field("sql_data_type", INTEGERS, False),
        pa.field("datetime_subcode", INTEGERS), pa.field("num_prec_radix", INTEGERS), pa.field("interval_precision", INTEGERS),
    ])  # fmt: skip
    METADATA = {
        "GetCatalogs": (packed("CommandGetCatalogs"), pa.schema([pa.field("catalog_name", STRINGS, False)])),
        "GetDbSchemas": (
            packed("CommandGetDbSchemas"),
            pa.schema([pa.field("catalog_name", STRINGS), pa.field("db_schema_name", STRINGS, False)]),
        ),
        "GetTables": (get_tables(), pa.schema(TABLES)),
        "GetTables with schemas": (get_tables(include_schema=True), pa.schema([*TABLES, pa.field("table_schema", pa.binary(), False)])),
        "GetTableTypes": (packed("CommandGetTableTypes"), pa.schema([pa.field("table_type", STRINGS, False)])),
        "GetPrimaryKeys": (
            packed("CommandGetPrimaryKeys", content(3, b"keyed")),
            pa.schema([
                *TABLES[:3], pa.field("column_name", STRINGS, False), pa.field("key_sequence", INTEGERS, False),
                pa.field("key_name", STRINGS),
            ]),
        ),
        "GetExportedKeys": (packed("CommandGetExportedKeys", content(3, b"keyed")), KEYS),
        "GetImportedKeys": (packed("CommandGetImportedKeys", content(3, b"keyed")), KEYS),
        "GetCrossReference": (packed("CommandGetCrossReference", content(3, b"keyed") + content(6, b"keyed")), KEYS),
        "GetXdbcTypeInfo": (packed("CommandGetXdbcTypeInfo"), TYPES),
    }  # fmt: skip
    WITHOUT_ROWS = {"GetExportedKeys", "GetImportedKeys", "GetCrossReference"}

    @pytest.mark.parametrize("name", METADATA)
    def test_metadata_is_announced_and_sent_with_the_schema_of_its_command(self, wire, cursor, name):
        """The schema of another command, a placeholder, other nullability, or a second phase that is missing.

        https://github.com/voltrondata/sqlflite/issues/26
        https://github.com/ralforion/orionbelt-semantic-layer/pull/382
        https://github.com/apache/arrow-rs/issues/7637
        https://github.com/apache/doris/pull/66344
        https://github.com/StarRocks/starrocks/issues/72298
        """
        cursor.execute("CREATE TABLE IF NOT EXISTS keyed (id BIGINT NOT NULL, PRIMARY KEY (id))")
        command, schema = self.METADATA[name]
        answer = wire.answer(command)
        assert answer.schema == schema
        assert (answer.num_rows == 0) == (name in self.WITHOUT_ROWS)

    def test_sql_info_is_announced_and_sent_as_a_union_of_six(self, wire):
        """https://github.com/StarRocks/starrocks/issues/72298"""
        answer = wire.answer(packed("CommandGetSqlInfo"))
        assert [field.name for field in answer.schema] == ["info_name", "value"]
        value = answer.schema.field("value")
        assert not value.nullable and value.type.mode == "dense"
        children = [value.type.field(i).name for i in range(value.type.num_fields)]
        assert children == ["string_value", "bool_value", "bigint_value", "int32_bitmask", "string_list", "int32_to_int32_list_map"]
        assert answer.num_rows > 80 and answer.column("info_name").null_count == 0

    def test_schemas_of_tables_come_when_they_are_asked_for(self, wire, table):
        """https://github.com/ralforion/orionbelt-semantic-layer/issues/433
        https://github.com/influxdata/influxdb_iox/issues/7313
        """
        (plain,) = wire.answer(get_tables(table=table)).to_pylist()
        (full,) = wire.answer(get_tables(table=table, include_schema=True)).to_pylist()
        assert plain == {"catalog_name": "tidewater", "db_schema_name": "public", "table_name": table, "table_type": "TABLE"}
        assert {name: value for name, value in full.items() if name != "table_schema"} == plain
        schema = pa.ipc.read_schema(pa.py_buffer(full["table_schema"]))
        assert schema.types == wire.answer(statement(f"SELECT * FROM {table}")).schema.types
        assert schema.names == ["id", "name", "price", "at"]

    def test_the_schema_of_a_table_is_one_message(self, wire):
        """And no stream of messages with an end.

        https://github.com/ralforion/orionbelt-semantic-layer/issues/5
        """
        for row in wire.answer(get_tables(include_schema=True)).to_pylist():
            schema = row["table_schema"]
            assert schema[:4] == b"\xff\xff\xff\xff" and len(schema) == 8 + int.from_bytes(schema[4:8], "little"), row["table_name"]
            assert pa.ipc.read_message(pa.py_buffer(schema)).type == "schema"

    def test_texts_of_casts_and_system_tables_are_plain(self, wire):
        """https://github.com/apache/arrow-java/issues/110
        https://github.com/spiceai/spiceai/issues/9253
        https://github.com/columnar-tech/adbc-quickstarts/issues/109
        """
        listed = [row for row in wire.answer(get_tables()).to_pylist() if row["table_type"] == "SYSTEM TABLE"]
        names = [f"{row['db_schema_name']}.{row['table_name']}" for row in listed]
        assert "system.queries" in names and "information_schema.columns" in names
        statements = [f"SELECT * FROM {name} LIMIT 1" for name in names]
        statements += ["SELECT 1::TEXT AS a, CAST(2 AS VARCHAR) AS b, 'x' || 1 AS c, X'00' AS d, lower('X') AS e, ['a'] AS f"]
        for sql in statements:
            types = [str(field.type) for field in check_one_schema(wire, sql).schema]
            assert not [one for one in types if "view" in one or "large" in one or "dictionary" in one], (sql, types)

    DICTIONARY = "arrow_cast(name, 'Dictionary(Int32, Utf8)')"

    def test_dictionaries_are_announced_as_their_values(self, wire, table):
        """Also where no row is sent.

        https://github.com/influxdata/influxdb_iox/issues/6711
        https://github.com/datafusion-contrib/datafusion-federation/issues/74
        https://github.com/apache/arrow-rs/issues/6672
        """
        for condition, rows in (("true", 4), ("id > 99", 0), ("id = 3", 1)):
            answer = check_one_schema(wire, f"SELECT {self.DICTIONARY} AS d, [{self.DICTIONARY}] AS l FROM {table} WHERE {condition}")
            assert (answer.schema.types, answer.num_rows) == ([pa.string(), pa.list_(pa.string())], rows)

    @pytest.mark.parametrize("types", ["portable", "native", "grafana"])
    def test_no_dictionary_is_sent(self, server, cursor, table, types):
        """https://github.com/apache/arrow-rs/issues/3389
        https://github.com/apache/arrow/issues/45055
        https://github.com/apache/arrow-dotnet/issues/433
        """
        cursor.execute(f"INSERT INTO {table} SELECT value + 10, 'n' || (value % 100), 0.5, NULL FROM generate_series(1, 50000) AS s(value)")
        with Wire(server, **{"x-flight-types": types}) as wire:
            (endpoint,) = wire.info(statement(f"SELECT {self.DICTIONARY} AS d FROM {table}")).endpoints
            kinds = [kind for kind, _, _ in sent(server, endpoint.ticket.ticket)]
        assert kinds[0] == "schema" and set(kinds[1:]) == {"record batch"}

    def test_dictionaries_that_change_between_batches_are_read(self, cursor, table_name):
        """https://github.com/apache/arrow-rs/issues/4895
        https://github.com/apache/arrow-rs/issues/5488
        """
        words = [["a", "b"], ["c", "a", "b"], ["d"], ["d", "e"]]
        arrays = [pa.DictionaryArray.from_arrays(pa.array(range(len(some)), pa.int32()), pa.array(some)) for some in words]
        batches = [pa.RecordBatch.from_arrays([array], names=["word"]) for array in arrays]
        reader = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
        assert cursor.adbc_ingest(table_name, reader, mode="create") == 8
        cursor.execute(f"SELECT word, count(*) FROM {table_name} GROUP BY word ORDER BY word")
        assert cursor.fetchall() == [("a", 2), ("b", 2), ("c", 1), ("d", 2), ("e", 1)]

    def test_a_time_without_a_zone_stays_one(self, wire, cursor, table_name):
        """https://github.com/apache/doris/pull/66873
        https://github.com/apache/doris/pull/67027
        """
        cursor.execute(f"CREATE TABLE {table_name} (wall TIMESTAMP, instant TIMESTAMPTZ)")
        cursor.execute(f"INSERT INTO {table_name} VALUES (TIMESTAMP '2026-01-31 12:00:00', TIMESTAMPTZ '2026-01-31 12:00:00+01:00')")
        answer = check_one_schema(wire, f"SELECT wall, instant FROM {table_name}")
        assert answer.schema.types == [pa.timestamp("us"), pa.timestamp("us", "UTC")]
        assert answer.to_pylist() == [
            {"wall": datetime.datetime(2026, 1, 31, 12), "instant": datetime.datetime(2026, 1, 31, 11, tzinfo=UTC)},
        ]

    def test_the_zone_of_the_machine_is_nowhere(self, tmp_path):
        """https://github.com/spiceai/spiceai/issues/13903
        https://github.com/spiceai/spiceai/issues/12528
        """
        server = Server(tmp_path / "server", environment={"TZ": "Asia/Kolkata"}).start()
        try:
            with Wire(server) as wire:
                columns = """now() AS n, TIMESTAMPTZ '2026-01-31 12:00:00' AS t, CAST('2026-01-31T12:00:00' AS TIMESTAMPTZ) AS c,
                             TIMESTAMPTZ '2026-01-31 12:00:00+05:30' AS o"""
                answer = check_one_schema(wire, f"SELECT {columns}")
                assert {field.type.tz for field in answer.schema} == {"UTC"}
                (row,) = answer.to_pylist()
                noon = datetime.datetime(2026, 1, 31, 12, tzinfo=UTC)
                assert (row["t"], row["c"]) == (noon, noon)
                assert row["o"] == datetime.datetime(2026, 1, 31, 6, 30, tzinfo=UTC)
                assert abs(row["n"].timestamp() - time.time()) < 60
                for one in wire.answer(get_tables(include_schema=True)).to_pylist():
                    schema = pa.ipc.read_schema(pa.py_buffer(one["table_schema"]))
                    assert {field.type.tz for field in schema if pa.types.is_timestamp(field.type)} <= {"UTC", None}, one["table_name"]
        finally:
            server.kill()

    def test_columns_keep_their_names(self, wire, table):
        """https://github.com/StarRocks/starrocks/issues/62720
        https://github.com/StarRocks/starrocks/issues/64264
        """
        for sql, names in [
            ('SELECT id AS "An Id", name, price AS p FROM {t} AS x ORDER BY x.id', ["An Id", "name", "p"]),
            ('SELECT max(id) AS "m a x", count(*) AS n FROM {t}', ["m a x", "n"]),
            ("SELECT y FROM (SELECT id AS y FROM {t} UNION ALL SELECT id FROM {t}) AS q LIMIT 0", ["y"]),
            ("SELECT id AS größe, 1 AS \"a.b\" FROM {t} WHERE id = 2", ["größe", "a.b"]),
            ("WITH c(v, w) AS (SELECT id, name FROM {t}) SELECT v, w FROM c", ["v", "w"]),
            ("INSERT INTO {t} (id) VALUES (99)", ["count"]),
        ]:  # fmt: skip
            answer = wire.fetch(info := wire.info(statement(sql.format(t=table))))
            assert answer.schema.names == info.schema.names == names


class TestStatements:
    def test_a_bound_value_gives_its_type_to_the_answer(self, wire):
        """https://github.com/apache/arrow/issues/37061"""
        handle = wire.prepare("SELECT ? AS v")[1]
        for values in (pa.array(["x"]), pa.array([7]), pa.array([1.5])):
            wire.bind(handle, pa.RecordBatch.from_arrays([values], names=["1"]))
            answer = wire.answer(prepared(handle))
            assert (answer.schema.types, answer.column("v").to_pylist()) == ([values.type], values.to_pylist())

    def test_every_answer_has_one_endpoint_without_a_location(self, wire, table):
        """Also where it was known before it was asked: constants, counts, points, nothing, and what is asked again.

        https://github.com/apache/arrow-rs/issues/5669
        https://github.com/apache/doris/issues/67368
        """
        commands = [command for command, _ in TestSchemas.METADATA.values()]
        statements = [
            "SELECT 1", f"SELECT count(*) FROM {table}", f"SELECT * FROM {table} WHERE id = 1", f"SELECT * FROM {table} WHERE id = 99",
            f"SELECT * FROM {table} LIMIT 0", f"SELECT * FROM {table} WHERE false", f"INSERT INTO {table} (id) VALUES (50)",
            f"DELETE FROM {table} WHERE id = 50", f"CREATE TABLE {table}_2 (id BIGINT)", f"SELECT * FROM {table}_2",
            f"DROP TABLE {table}_2", "SHOW timezone",
        ]  # fmt: skip
        point = wire.prepare(f"SELECT name FROM {table} WHERE id = ?")[1]
        wire.bind(point, pa.RecordBatch.from_pydict({"1": [1]}))
        commands += [statement(sql) for sql in statements] + [prepared(point)]
        again = [statement("SELECT 1"), statement(f"SELECT * FROM {table} WHERE id = 1"), prepared(point)]
        for command in commands + again:
            info = wire.info(command)
            assert [endpoint.locations for endpoint in info.endpoints] == [[]], command
            wire.fetch(info)
        for client_info in wire.client.list_flights():
            assert [endpoint.locations for endpoint in client_info.endpoints] in ([], [[]])

    def test_a_change_runs_once_however_often_it_is_asked_about_or_fetched(self, wire, client, table_name):
        """At GetFlightInfo: GetSchema runs nothing, and DoGet tells of it again and again.

        https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1270---2026-06-02
        """
        counted = f"SELECT count(*) FROM {table_name}"
        for sql, n_rows, told in [
            (f"CREATE TABLE {table_name} (id BIGINT)", 0, []),
            (f"INSERT INTO {table_name} VALUES (1), (1), (2)", 3, [{"count": 3}]),
            (f"DELETE FROM {table_name} WHERE id = 1", 1, [{"count": 2}]),
        ]:
            for _ in range(2):
                before = client.value("SELECT count(*) FROM system.tables WHERE name = $1", positional=named(table_name))
                n_before = client.value(counted) if before else None
                assert wire.schema(statement(sql)).names == []
                assert client.value("SELECT count(*) FROM system.tables WHERE name = $1", positional=named(table_name)) == before
                assert not before or client.value(counted) == n_before
            info = wire.info(statement(sql))
            assert info.schema.names == [name for row in told for name in row] and info.total_records == sum(row["count"] for row in told)
            for _ in range(3):
                assert wire.fetch(info).to_pylist() == told
                assert client.value(counted) == n_rows

    def test_the_first_message_of_a_put_is_not_lost(self, server, client, table_name):
        """It has the descriptor and the schema, without which the others cannot be read.

        https://github.com/apache/arrow-rs/issues/4658
        """
        client.execute(f"CREATE TABLE {table_name} (id BIGINT)")
        batches = [pa.RecordBatch.from_pydict({"id": [1, 2]}), pa.RecordBatch.from_pydict({"id": [3]})]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        parts = messages(sink.getvalue().to_pybytes())
        assert len(parts) == 3
        bulk_append(server.grpc, table_name, parts)
        assert client.rows(f"SELECT count(*), sum(id) FROM {table_name}") == [(3, 6)]

    @pytest.mark.parametrize("sql", ["SELECT * FROM {t} WHERE id = ?", "SELECT $1 AS v", "INSERT INTO {t} (id) VALUES (?)"])
    def test_parameters_that_nobody_binds_are_told(self, wire, table, sql):
        """ODBC sends a statement with a placeholder as it is.

        https://github.com/sqlpage/SQLPage/issues/1474
        """
        with pytest.raises(pa.ArrowInvalid, match="parameter"):
            wire.info(statement(sql.format(t=table)))

    def test_a_bulk_append_needs_no_transaction(self, server, table_name):
        """https://github.com/gizmodata/gizmosql/issues/155"""
        with pytest.warns(UserWarning, match="(?i)autocommit"):
            connection = adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=False)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            for mode in ("create", "append", "append"):
                assert cursor.adbc_ingest(table_name, pa.table({"id": [1, 2]}), mode=mode) == 2
            cursor.execute(f"SELECT count(*) FROM {table_name}")
            assert cursor.fetchall() == [(6,)]

    def test_a_temporary_table_is_refused_as_often_as_it_is_asked_for(self, cursor, table_name):
        """And there is none afterwards.

        https://github.com/gizmodata/gizmosql/issues/158
        """
        for _ in range(2):
            for mode in ("create", "create_append", "replace"):
                with pytest.raises(adbc_driver_manager.NotSupportedError, match="temporary"):
                    cursor.adbc_ingest(table_name, pa.table({"id": [1]}), mode=mode, temporary=True)
        with pytest.raises(adbc_driver_manager.ProgrammingError, match="not found"):
            cursor.execute(f"SELECT * FROM {table_name}")

    def test_statements_of_one_connection_do_not_meet(self, adbc, table_name):
        """https://github.com/StarRocks/starrocks/issues/65889"""
        with adbc.cursor() as first, adbc.cursor() as second:
            first.execute("SELECT value FROM generate_series(1, 100000) AS s(value)")
            head = first.fetchmany(10)
            second.execute(f"CREATE TABLE {table_name} AS SELECT 7 AS n")
            second.execute(f"SELECT n FROM {table_name}")
            assert second.fetchall() == [(7,)]
            rows = head + first.fetchall()
            assert [value for (value,) in rows] == list(range(1, 100_001))

        def ask(n: int) -> list[tuple]:
            with adbc.cursor() as cursor:
                cursor.execute("SELECT ? + value FROM generate_series(1, 2000) AS s(value) ORDER BY 1", (n,))
                return cursor.fetchall()

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for n, answer in enumerate(pool.map(ask, range(40))):
                assert answer == [(n + value,) for value in range(1, 2001)]

    def test_a_query_may_be_polled(self, server, adbc):
        """It is planned when the first answer comes, so there is nothing to ask for again.

        https://github.com/apache/arrow/issues/39574
        https://github.com/apache/arrow/issues/37524
        https://github.com/apache/arrow-rs/issues/6346
        """
        info = polled(server, statement("SELECT 7 AS n"))
        assert 2 not in info
        with Wire(server) as wire:
            assert wire.fetch(flight.FlightInfo.deserialize(info[1])).to_pylist() == [{"n": 7}]
        with adbc.cursor() as cursor:
            cursor.adbc_statement.set_options(**{StatementOptions.QUEUE_SIZE.value: "1", "adbc.statement.exec.incremental": "true"})
            partitions, schema = cursor.adbc_execute_partitions("SELECT 8 AS n")
            assert len(partitions) == 1 and schema.names == ["n"]
            cursor.adbc_read_partition(partitions[0])
            assert cursor.fetchall() == [(8,)]


class TestAnswers:
    def test_large_rows_come_in_messages_that_every_client_takes(self, server, wire, cursor, table_name):
        """https://github.com/apache/arrow-adbc/issues/2078
        https://github.com/PostHog/duckgres/issues/190
        https://github.com/ModelarData/ModelarDB-RS/issues/108
        https://github.com/apache/doris-website/issues/1122
        """
        texts = ["x" * 3_000_000 if n % 5_000 == 7 else "small" for n in range(20_000)]
        cursor.adbc_ingest(table_name, pa.table({"n": range(20_000), "t": texts}), mode="create")
        (endpoint,) = wire.info(statement(f"SELECT n, t FROM {table_name}")).endpoints
        found = sent(server, endpoint.ticket.ticket)
        assert max(size for _, size, _ in found) <= GRPC_DEFAULT_BYTES
        schema = pa.ipc.read_schema(found[0][2])
        batches = [pa.ipc.read_record_batch(message, schema) for kind, _, message in found if kind == "record batch"]
        rows = {row["n"]: row["t"] for batch in batches for row in batch.to_pylist()}
        assert sum(batch.num_rows for batch in batches) == 20_000 and rows == dict(enumerate(texts))

    def test_a_message_may_have_64_mib_and_who_sends_more_is_told_the_limit(self, server, table_name):
        """https://github.com/apache/arrow-adbc/issues/400"""

        def text(n_mb: int) -> pa.Table:
            return pa.table({"t": ["x" * 1_000_000] * n_mb})

        options = {DatabaseOptions.WITH_MAX_MSG_SIZE.value: str(100 << 20)}
        with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", options, autocommit=True) as connection:
            with connection.cursor() as cursor:
                assert cursor.adbc_ingest(table_name, text(60), mode="create") == 60
                with pytest.raises(adbc_driver_manager.Error, match="limit is: 67108864 bytes"):
                    cursor.adbc_ingest(table_name, text(70), mode="append")
                cursor.execute(f"SELECT count(*), sum(length(t)) FROM {table_name}")
                assert cursor.fetchall() == [(60, 60_000_000)]

    def test_a_row_that_fits_into_no_message_is_an_error(self, wire, client):
        """And the one that just fits is sent."""
        assert wire.answer(statement("SELECT repeat('x', 3500000) AS t")).column("t").to_pylist() == ["x" * 3_500_000]
        with pytest.raises((pa.ArrowException, flight.FlightError), match="TW-1110"):
            wire.fetch(wire.info(statement("SELECT repeat('x', 5242880) AS t")))
        assert client.value("SELECT 1") == 1

    def test_rows_of_two_thousand_columns_come_in_messages_that_every_client_takes(self, server, wire, cursor, table_name):
        n_rows, n_columns = 400, 2_000
        columns = {f"c{i}": range(i, i + n_rows) for i in range(n_columns)}
        assert cursor.adbc_ingest(table_name, pa.table(columns), mode="create") == n_rows
        (endpoint,) = wire.info(statement(f"SELECT * FROM {table_name} ORDER BY c0")).endpoints
        found = sent(server, endpoint.ticket.ticket)
        assert max(size for _, size, _ in found) <= GRPC_DEFAULT_BYTES
        schema = pa.ipc.read_schema(found[0][2])
        answer = pa.Table.from_batches([pa.ipc.read_record_batch(message, schema) for kind, _, message in found if kind == "record batch"])
        assert answer.num_rows == n_rows and answer.column_names == list(columns)
        assert all(answer.column(i).to_pylist() == list(range(i, i + n_rows)) for i in (0, 999, 1_999))

    @pytest.mark.slow
    def test_a_large_answer_that_is_read_slowly_holds_no_memory_and_nobody_up(self, tmp_path):
        """Two gigabytes: of what is not read the server makes a few messages in advance, and no more."""
        n, width = 2_000_000, 1_000
        server = Server(tmp_path / "server").start()
        try:
            with Wire(server) as wire, Wire(server) as other:
                tables = f"generate_series(1, 1000) AS a(x), generate_series(1, {n // 1000}) AS b(y)"
                info = wire.info(statement(f"SELECT x, repeat('x', {width}) AS t FROM {tables}"))
                reader, before, n_read = wire.client.do_get(info.endpoints[0].ticket), server.forget_peak(), 0
                for chunk in reader:
                    n_read += chunk.data.num_rows
                    if n_read < n // 10:
                        # The others are answered while it waits to be read.
                        assert other.answer(statement("SELECT 1 AS n")).to_pylist() == [{"n": 1}]
                assert n_read == n
                assert server.peak_memory_bytes() - before < MAX_GROWTH
        finally:
            server.kill()

    def test_an_error_in_the_middle_is_no_short_answer(self, wire):
        """https://github.com/StarRocks/starrocks/issues/65089
        https://github.com/apache/doris/pull/60282
        """
        info = wire.info(statement("SELECT 1 / (value - 299999) AS v FROM generate_series(1, 300000) AS s(value)"))
        reader = wire.client.do_get(info.endpoints[0].ticket, wire.options)
        n = 0
        with pytest.raises(pa.ArrowInvalid, match="(?i)divi.* by zero"):
            while True:
                n += reader.read_chunk().data.num_rows
        assert 0 < n < 300_000

    def test_memory_that_is_used_up_is_an_error(self, tmp_path):
        """https://github.com/StarRocks/starrocks/issues/65089"""
        server = Server(tmp_path / "server", settings={"memory.limit": "512 MiB", "query.spill": "1 MiB"}).start()
        try:
            with Wire(server) as wire:
                rows = "generate_series(1, 5000) AS a(x), generate_series(1, 5000) AS b(y)"
                sql = f"SELECT md5((x * 5000 + y)::TEXT) AS k FROM {rows} ORDER BY k"
                with pytest.raises((pa.ArrowException, flight.FlightError), match="(?i)resource exhausted.*TW-110"):
                    wire.fetch(wire.info(statement(sql)))
                assert wire.answer(statement("SELECT 1 AS n")).to_pylist() == [{"n": 1}]
        finally:
            server.kill()

    def test_no_row_is_missing_from_an_answer_that_ends_well(self, wire, client, table_name):
        """https://github.com/apache/doris/pull/60282"""
        client.execute(f"CREATE TABLE {table_name} (id BIGINT NOT NULL, PRIMARY KEY (id))")
        client.execute(f"INSERT INTO {table_name} SELECT value FROM generate_series(1, 200000) AS s(value)")
        client.execute(f"CALL seal('{table_name}')")
        client.execute(f"INSERT INTO {table_name} SELECT value FROM generate_series(200001, 250000) AS s(value)")
        joined = f"{table_name} a JOIN {table_name} b ON a.id = b.id"
        for sql in (f"SELECT id FROM {table_name}", f"SELECT a.id FROM {joined} ORDER BY a.id DESC"):
            ids = wire.answer(statement(sql)).column("id").to_pylist()
            assert len(ids) == 250_000 and set(ids) == set(range(1, 250_001))

    def test_errors_fit_into_the_headers_that_clients_take(self, server):
        """https://github.com/gizmodata/gizmosql/issues/164"""
        long = "x" * 200_000
        many = "no_such_column, " * 5_000
        for sql in (f"SELECT {long}", f"SELECT * FROM {long}", f"SELEC {long}", f"SELECT '{long}' + 1", f"SELECT {many} 1"):
            with pytest.raises(grpc.RpcError) as error:
                ask_to_prepare(server, sql)
            assert error.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), error.value
            assert error.value.details() and trailers_of(error.value) < GRPC_DEFAULT_HEADER_BYTES

    def test_headers_of_forty_kilobytes_are_taken(self, server):
        """https://github.com/gizmodata/gizmosql/issues/164"""
        assert ask_to_prepare(server, "SELECT 1", **{"x-trace": "x" * 40_000})


    def test_headers_beyond_64_kib_are_refused_and_the_connection_goes_on(self, server):
        request = packed("ActionCreatePreparedStatementRequest", content(1, b"SELECT 1"))
        body = content(1, b"CreatePreparedStatement") + content(2, request)
        with grpc.insecure_channel(server.grpc, options=[("grpc.max_metadata_size", MAX_HEADER_BYTES)]) as channel:
            prepare = channel.unary_stream(SERVICE + "DoAction", lambda message: message, lambda message: message)
            for n_bytes, is_taken in [(60 << 10, True), (70 << 10, False), (60 << 10, True)]:
                call = prepare(body, metadata=[("x-trace", "x" * n_bytes)], timeout=TIMEOUT_S)
                if is_taken:
                    assert len(list(call)) == 1
                    continue
                # HTTP's own status, for which gRPC has none.
                with pytest.raises(grpc.RpcError, match="status: 431"):
                    list(call)


class TestBrowsing:
    def test_without_a_filter_tables_of_every_schema_are_told(self, server, cursor, table_name):
        """Whatever the caller's own schema is.

        https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1224---2026-04-27
        """
        cursor.execute(f"CREATE TABLE public.{table_name} (id BIGINT)")
        cursor.execute(f"CREATE TABLE elsewhere.{table_name} (id BIGINT)")
        for headers in ({}, {"schema": "elsewhere"}, {"database": "tidewater"}):
            with Wire(server, **headers) as wire:
                found = wire.answer(get_tables(table=table_name)).to_pylist()
                assert sorted(row["db_schema_name"] for row in found) == ["elsewhere", "public"], headers

    def test_browsing_runs_no_query(self, wire, client, table):
        """https://github.com/influxdata/influxdb_iox/issues/7341
        https://github.com/influxdata/influxdb_iox/issues/7325
        """
        count = "SELECT count(*) FROM system.queries"
        assert client.value(count) + 1 <= client.value(count), "statements are not counted here"
        before = client.value(count)
        for command, _ in TestSchemas.METADATA.values():
            wire.answer(command)
        wire.answer(packed("CommandGetSqlInfo"))
        # The counts themselves are two.
        assert client.value(count) == before + 1

    def test_health_and_browsing_do_not_wait_for_queries(self, tmp_path):
        """https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1330---2026-07-07"""
        server = Server(tmp_path / "server", settings={"query.max_running": "1"}).start()
        try:
            with Wire(server) as wire:
                tickets = [wire.info(statement(ENDLESS.format(n=n))).endpoints[0].ticket for n in range(3)]
                readers = [wire.client.do_get(ticket, wire.options) for ticket in tickets]
                until(lambda: "tidewater_queries_waiting 2\n" in http.get(server.http, "/metrics")[1], "two wait")
                assert server.is_healthy()
                assert [http.get(server.http, path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
                assert wire.answer(get_tables(include_schema=True)).num_rows > 10
                assert "tidewater_queries_waiting 2\n" in http.get(server.http, "/metrics")[1]
                for reader in readers:
                    reader.cancel()
        finally:
            server.kill()


    # Children of the union by id, in the order in which tools read some of them by their place.
    TEXT, FLAG, LONG, MASK, LIST, MAP = range(6)
    OTHERS = {
        TEXT: [0, 1, 2, 6, 7, 504, 513, 514, 529, 530, 531],
        LONG: [503, 505, 507, *range(541, 556), *range(557, 563)],
        MASK: [8, 522, 525, 526, 528, 533, 534, 535, 538, 540, 564, *range(567, 572), 100, 101],
        LIST: range(508, 513),
        MAP: [517],
    }
    SQL_INFO = [*range(9), *range(500, 577), 9, 10, 11, 100, 101]

    def test_sql_info_is_complete(self, wire):
        """What is missing, or stands in the wrong child, is an exception in JDBC and in tools on top of it.

        https://github.com/voltrondata/sqlflite/issues/9
        """
        answer = wire.answer(packed("CommandGetSqlInfo"))
        ids, values = answer.column("info_name").to_pylist(), answer.column("value").combine_chunks()
        assert ids == self.SQL_INFO
        child = {number: kind for kind, numbers in self.OTHERS.items() for number in numbers}
        assert values.type_codes.to_pylist() == [child.get(number, self.FLAG) for number in ids]
        told = dict(zip(ids, values.to_pylist()))
        assert (told[0], told[3], told[8], told[504]) == ("Tidewater", False, 0, '"')
        assert all(told[number] for number in self.OTHERS[self.LIST])


class TestLives:
    @pytest.mark.slow
    def test_who_begins_too_many_sessions_ends_their_oldest(self, tmp_path):
        """https://github.com/gizmodata/gizmosql/pull/185"""
        server = Server(tmp_path / "server").start()
        try:
            known = []
            for _ in range(MAX_SESSIONS_OF_USER + 1):
                refused, answer = RawClient(server).set(max_rows=5)
                assert refused == {}
                known.append(RawClient(server, cookie=answer.cookie))
            with pytest.raises(grpc.RpcError, match="session expired"):
                known[0].get()
            assert [client.get()["max_rows"] for client in (known[1], known[-1])] == [5, 5]
        finally:
            server.kill()

    @pytest.mark.slow
    def test_a_connection_that_is_silent_is_pinged(self, server):
        """Balancers cut what says nothing for minutes.

        https://github.com/gizmodata/gizmosql/commit/2eee00247bf7090364023ba26efbf7fa0436e3aa
        """
        host, port = server.grpc.split(":")
        with socket.create_connection((host, int(port)), timeout=60) as raw:
            # HTTP/2's preface and empty SETTINGS, and nothing more.
            raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            frames = raw.makefile("rb")
            kind = None
            while kind != 6:
                head = frames.read(9)
                assert len(head) == 9, "it was cut"
                kind = head[3]
                frames.read(int.from_bytes(head[:3], "big"))

    @pytest.mark.slow
    def test_a_query_that_never_ends_does_not_hold_a_server_that_is_to_end(self, tmp_path):
        """https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1311---2026-06-18"""
        server = Server(tmp_path / "server").start()
        try:
            with Wire(server) as wire:
                reader = wire.client.do_get(wire.info(statement(ENDLESS.format(n=3))).endpoints[0].ticket, wire.options)
                until(lambda: "tidewater_queries_running 1\n" in http.get(server.http, "/metrics")[1], "it runs")
                assert server.stop() == 0
                with pytest.raises((pa.ArrowException, flight.FlightError)):
                    while True:
                        reader.read_chunk()
            server.start()
        finally:
            server.kill()


    @pytest.mark.slow
    def test_an_answer_without_rows_for_long_has_signs_of_life(self, wire):
        """Balancers cut streams that say nothing: an empty batch comes in between.

        https://github.com/gizmodata/gizmosql/commit/2eee00247bf7090364023ba26efbf7fa0436e3aa
        """
        reader = wire.client.do_get(wire.info(statement(ENDLESS.format(n=5))).endpoints[0].ticket, wire.options)
        assert [reader.read_chunk().data.num_rows for _ in range(2)] == [0, 0]
        reader.cancel()

    @pytest.mark.slow
    def test_an_answer_that_is_on_its_way_comes_to_its_end_when_the_server_stops(self, tmp_path):
        """What is new is told to go elsewhere meanwhile.

        https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1311---2026-06-18
        """
        n_rows = 1_000_000
        server = Server(tmp_path / "server").start()
        try:
            with Wire(server) as wire:
                sql = f"SELECT value, repeat('x', 100) AS t FROM generate_series(1, {n_rows}) AS s(value)"
                reader = wire.client.do_get(wire.info(statement(sql)).endpoints[0].ticket, wire.options)
                n = reader.read_chunk().data.num_rows
                server.process.send_signal(signal.SIGTERM)
                server.wait_for_log("shutting down")
                with pytest.raises((pa.ArrowException, flight.FlightError), match="(?i)unavailable|TW-1403"):
                    wire.info(statement("SELECT 1"))
                n += sum(chunk.data.num_rows for chunk in reader)
                assert n == n_rows
            assert server.ended() == 0
        finally:
            server.kill()


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    with secured(tmp_path_factory.mktemp("secure")) as secure:
        yield secure


def basic(secure, *, padded: bool = True, password: str | None = None) -> str:
    text = base64.b64encode(f"{secure.user}:{password or secure.password}".encode()).decode()
    return "Basic " + (text if padded else text.rstrip("="))


def is_known(secure, authorization: str) -> bool:
    try:
        return bool(ask_to_prepare(secure.server, "SELECT 1", authorization=authorization))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAUTHENTICATED, error
        return False


class TestAccess:
    def test_tools_that_log_in_one_after_the_other_stay_logged_in(self, secure):
        """https://github.com/voltrondata/sqlflite/issues/11
        https://github.com/apache/doris/issues/59742
        """
        first, _ = handshake(secure.server, authorization=basic(secure))
        second, _ = handshake(secure.server, authorization=basic(secure))
        assert first != second
        for _ in range(2):
            for bearer in (first, second, first):
                assert is_known(secure, bearer)
            # One of them ends what it began.
            RawClient(secure.server, authorization=first).close()
            assert is_known(secure, second) and is_known(secure, first)
            secure.server.restart()

    @pytest.mark.parametrize("password", ["correct horse", "wrong"])
    def test_names_and_passwords_are_read_without_padding(self, secure, password):
        """As Go's clients send them.

        https://github.com/gizmodata/gizmosql/commit/4546cb81f4fcc91c5357d75336b1521bd9007fdf
        """
        headers = {basic(secure, padded=padded, password=password) for padded in (True, False)}
        assert len(headers) == 2, "nothing is padded here"
        for header in headers:
            assert is_known(secure, header) == (password == secure.password)
            if password == secure.password:
                assert is_known(secure, handshake(secure.server, authorization=header)[0])
                continue
            with pytest.raises(grpc.RpcError) as error:
                handshake(secure.server, authorization=header)
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED

    def test_who_is_not_asked_gets_a_bearer_all_the_same(self, server):
        """Java's client logs in wherever it connects."""
        for payloads, headers in [((), {}), ((b"",), {}), ((), {"authorization": "Basic " + base64.b64encode(b"u:p").decode()})]:
            bearer, _ = handshake(server, *payloads, **headers)
            assert bearer.startswith("Bearer ")
            assert ask_to_prepare(server, "SELECT 1", authorization=bearer)

    def test_who_is_refused_gets_no_bearer(self, secure):
        with secure.server.channel() as channel:
            do = channel.stream_stream(SERVICE + "Handshake", lambda message: message, lambda message: message)
            call = do(iter(()), metadata=[("authorization", basic(secure, password="wrong"))], timeout=TIMEOUT_S)
            with pytest.raises(grpc.RpcError) as refused:
                list(call)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        told = [name for name, _ in (*(call.initial_metadata() or ()), *(call.trailing_metadata() or ()))]
        assert "authorization" not in told

    def test_every_client_has_its_own_handshake(self, secure):
        """https://github.com/influxdata/flightsql-dbapi/issues/10

        Who sends no message gets none: https://github.com/apache/arrow-go/issues/755
        """
        login = content(2, secure.user.encode()) + content(3, secure.password.encode())
        ways = {
            "Go and pyarrow: a header and no message": ((), {"authorization": basic(secure)}),
            "Java: a header and an empty message": ((b"",), {"authorization": basic(secure)}),
            "C++: BasicAuth in the message": ((login,), {}),
            "JDBC with a token": ((), {"authorization": f"Bearer {secure.token}"}),
        }
        for way, (payloads, headers) in ways.items():
            bearer, answers = handshake(secure.server, *payloads, **headers)
            assert bearer and bearer.startswith("Bearer ") and len(answers) == len(payloads), way
            assert is_known(secure, bearer), way
        for payloads, headers in [((), {}), ((b"",), {}), ((b"\xff\xff",), {}), ((), {"authorization": "Bearer x"})]:
            with pytest.raises(grpc.RpcError) as error:
                handshake(secure.server, *payloads, **headers)
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
