"""Do pandas, Polars, DuckDB and plain pyarrow read and write over Flight SQL as their manuals say, without a workaround?"""

import datetime
import decimal
import warnings

import adbc_driver_flightsql.dbapi
import duckdb
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pyarrow.flight as flight
import pytest

from harness import secured

VERSIONS = {"pandas": pd, "Polars": pl, "DuckDB": duckdb, "pyarrow": pa, "adbc-driver-flightsql": adbc_driver_flightsql}
SUITE = ("Data frames over ADBC", ", ".join(f"{name} {module.__version__}" for name, module in VERSIONS.items()))

TIMEOUT_S = 60
UTC = datetime.timezone.utc
ROWS = {
    "id": [1, 2, 3],
    "name": ["a", "ü 世界", None],
    "x": [0.5, None, -1e300],
    "ok": [True, False, None],
    "day": [datetime.date(2026, 1, 31), None, datetime.date(1969, 12, 31)],
    "at": [datetime.datetime(2026, 1, 31, 12, 0, 0, 1, UTC), datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), None],
    "n": [decimal.Decimal("12.50"), decimal.Decimal("-0.01"), None],
    "raw": [b"", b"\x00\xff", None],
}
COLUMNS = "id BIGINT, name VARCHAR, x DOUBLE, ok BOOLEAN, day DATE, at TIMESTAMPTZ, n DECIMAL(10, 2), raw VARBINARY"
SCHEMA = pa.schema([
    ("id", pa.int64()), ("name", pa.string()), ("x", pa.float64()), ("ok", pa.bool_()), ("day", pa.date32()),
    ("at", pa.timestamp("us", "UTC")), ("n", pa.decimal128(10, 2)), ("raw", pa.binary()),
])  # fmt: skip
DATA = pa.table(ROWS, schema=SCHEMA)


@pytest.fixture
def uri(server):
    return f"grpc://{server.grpc}"


@pytest.fixture
def polars_uri(server):
    """Polars chooses the driver by the scheme."""
    return f"flightsql://{server.grpc}?transport=tcp"


@pytest.fixture
def table(adbc, table_name):
    with adbc.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table_name} ({COLUMNS})")
        cursor.adbc_ingest(table_name, DATA, mode="append")
    return table_name


def stored(adbc, name: str) -> pa.Table:
    with adbc.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {name} ORDER BY id")
        return cursor.fetch_arrow_table()


class TestPandas:
    def test_read_sql(self, adbc, table):
        frame = pd.read_sql(f"SELECT * FROM {table} ORDER BY id", adbc)
        assert list(frame.columns) == DATA.column_names
        assert frame["id"].tolist() == ROWS["id"]
        assert frame["name"].iloc[1] == "ü 世界" and pd.isna(frame["name"].iloc[2])
        assert frame["at"].dt.tz is not None and frame["at"].iloc[0] == pd.Timestamp("2026-01-31 12:00:00.000001Z")

    def test_read_sql_with_arrow_types(self, adbc, table):
        frame = pd.read_sql(f"SELECT * FROM {table} ORDER BY id", adbc, dtype_backend="pyarrow")
        assert pa.Table.from_pandas(frame, SCHEMA, preserve_index=False).to_pylist() == DATA.to_pylist()

    def test_read_sql_table(self, adbc, table):
        assert len(pd.read_sql_table(table, adbc)) == 3
        assert pd.read_sql_table(table, adbc, columns=["id"]).columns.tolist() == ["id"]
        # `read_sql` takes a name for a table too.
        assert len(pd.read_sql(table, adbc)) == 3

    def test_nothing_has_columns(self, adbc, table):
        frame = pd.read_sql(f"SELECT id, name FROM {table} WHERE false", adbc)
        assert (len(frame), list(frame.columns), str(frame["id"].dtype)) == (0, ["id", "name"], "int64")

    def test_to_sql(self, adbc, table_name):
        frame = pd.DataFrame({"id": [1, 2], "name": ["a", None]})
        assert frame.to_sql(table_name, adbc, index=False) == 2
        with pytest.raises(ValueError, match="already exists"):
            frame.to_sql(table_name, adbc, index=False)
        assert frame.to_sql(table_name, adbc, index=False, if_exists="append") == 2
        assert stored(adbc, table_name).num_rows == 4
        assert frame.assign(more=0.5).to_sql(table_name, adbc, index=False, if_exists="replace") == 2
        assert stored(adbc, table_name).to_pylist() == [{"id": 1, "name": "a", "more": 0.5}, {"id": 2, "name": None, "more": 0.5}]
        assert frame.assign(more=1.5).to_sql(table_name, adbc, index=False, if_exists="delete_rows") == 2
        assert stored(adbc, table_name)["more"].to_pylist() == [1.5, 1.5]

    def test_to_sql_with_an_index_and_a_schema(self, adbc, table_name):
        frame = pd.DataFrame({"name": ["a", "b"]}, index=pd.Index([7, 8], name="id"))
        assert frame.to_sql(table_name, adbc, schema="frames") == 2
        assert stored(adbc, f"frames.{table_name}").to_pylist() == [{"id": 7, "name": "a"}, {"id": 8, "name": "b"}]
        # An index without a name is a column by the name that pandas gives it.
        pd.DataFrame({"id": [1]}).to_sql(f"{table_name}_unnamed", adbc)
        assert stored(adbc, f"{table_name}_unnamed").to_pylist() == [{"id": 1, "__index_level_0__": 0}]

    def test_to_sql_of_pandas_own_types(self, adbc, table_name):
        frame = pd.DataFrame({
            "id": pd.array([1, None], dtype="Int64"),
            "kind": pd.Categorical(["a", "b"]),
            "at": pd.to_datetime(["2026-01-31 12:00:00.123456789", None]),
            "text": pd.array(["x", None], dtype="string"),
        })  # fmt: skip
        assert frame.to_sql(table_name, adbc, index=False) == 2
        assert stored(adbc, table_name).to_pylist() == [
            {"id": 1, "kind": "a", "at": datetime.datetime(2026, 1, 31, 12, 0, 0, 123_456), "text": "x"},
            {"id": None, "kind": "b", "at": None, "text": None},
        ]

    def test_a_connection_as_the_manual_opens_it(self, uri, table):
        """Without `autocommit`, the driver says once that there are no transactions."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with adbc_driver_flightsql.dbapi.connect(uri) as connection:
                assert len(pd.read_sql(f"SELECT * FROM {table}", connection)) == 3
                pd.DataFrame({"id": [1]}).to_sql(f"{table}_manual", connection, index=False)
        assert [str(warning.message) for warning in told] == ["Cannot disable autocommit; conn will not be DB-API 2.0 compliant"]

    def test_a_mistake_is_told(self, adbc):
        with pytest.raises(pd.errors.DatabaseError, match="table 'public.no_such_table' not found"):
            pd.read_sql("SELECT * FROM no_such_table", adbc)


@pytest.mark.filterwarnings("ignore:Cannot disable autocommit")
class TestPolars:
    def test_read_database(self, adbc, table):
        frame = pl.read_database(f"SELECT * FROM {table} ORDER BY id", adbc)
        polars.testing.assert_frame_equal(frame, pl.from_arrow(DATA))

    def test_read_database_in_batches(self, adbc):
        sql = "SELECT value FROM generate_series(1, 100000) AS s(value)"
        frames = list(pl.read_database(sql, adbc, iter_batches=True, batch_size=10_000))
        assert len(frames) > 1 and sum(frame["value"].sum() for frame in frames) == 100_000 * 100_001 // 2

    def test_read_database_with_parameters(self, adbc, table):
        frame = pl.read_database(f"SELECT name FROM {table} WHERE id = ?", adbc, execute_options={"parameters": [2]})
        assert frame["name"].to_list() == ["ü 世界"]

    def test_read_database_uri(self, polars_uri, table):
        frame = pl.read_database_uri(f"SELECT * FROM {table} ORDER BY id", polars_uri, engine="adbc")
        polars.testing.assert_frame_equal(frame, pl.from_arrow(DATA))

    def test_no_rows_have_columns(self, adbc, polars_uri, table):
        sql = f"SELECT * FROM {table} WHERE false"
        for frame in (pl.read_database(sql, adbc), pl.read_database_uri(sql, polars_uri, engine="adbc")):
            assert (frame.height, frame.schema) == (0, pl.from_arrow(DATA).schema)

    def test_write_database(self, adbc, table_name):
        frame = pl.from_arrow(DATA)
        assert frame.write_database(table_name, adbc, engine="adbc") == 3
        polars.testing.assert_frame_equal(pl.from_arrow(stored(adbc, table_name)), frame)
        with pytest.raises(adbc.Error, match="ALREADY_EXISTS|already exists"):
            frame.write_database(table_name, adbc, engine="adbc", if_table_exists="fail")
        assert frame.write_database(table_name, adbc, engine="adbc", if_table_exists="append") == 3
        assert stored(adbc, table_name).num_rows == 6

    def test_write_database_replaces(self, adbc, table_name):
        pl.DataFrame({"n": [1.5]}).write_database(table_name, adbc, engine="adbc")
        frame = pl.from_arrow(DATA)
        assert frame.head(1).write_database(table_name, adbc, engine="adbc", if_table_exists="replace") == 1
        polars.testing.assert_frame_equal(pl.from_arrow(stored(adbc, table_name)), frame.head(1))

    def test_append_makes_the_table(self, adbc, table_name):
        assert pl.DataFrame({"id": [1]}).write_database(table_name, adbc, engine="adbc", if_table_exists="append") == 1
        assert stored(adbc, table_name).to_pylist() == [{"id": 1}]

    def test_write_database_by_uri_and_schema(self, adbc, polars_uri, table_name):
        frame = pl.DataFrame({"id": [1, 2], "tags": [[1, None], []], "item": [{"x": 1, "y": "a"}, None]})
        assert frame.write_database(f"frames.{table_name}", polars_uri, engine="adbc") == 2
        polars.testing.assert_frame_equal(pl.from_arrow(stored(adbc, f"frames.{table_name}")), frame)

    @pytest.mark.parametrize("kind", [pl.Categorical(), pl.Enum(["a", "b"])], ids=["Categorical", "Enum"])
    def test_categories_are_text(self, adbc, table_name, kind):
        """Polars sends them as dictionaries of string views."""
        frame = pl.DataFrame({"id": [1, 2, 3], "kind": pl.Series(["a", "b", None], dtype=kind)})
        assert frame.write_database(table_name, adbc, engine="adbc") == 3
        assert stored(adbc, table_name)["kind"].to_pylist() == ["a", "b", None]

    def test_write_database_of_polars_own_types(self, adbc, table_name):
        frame = pl.DataFrame({"id": [1], "u": pl.Series([2**64 - 1], dtype=pl.UInt64), "t": [datetime.time(1, 2, 3)], "n": [None]})
        frame = frame.with_columns(
            pl.col("n").cast(pl.Int8), ms=pl.lit(datetime.datetime(2026, 1, 31, 12)).cast(pl.Datetime("ms", "Europe/Berlin"))
        )
        assert frame.write_database(table_name, adbc, engine="adbc") == 1
        (row,) = stored(adbc, table_name).to_pylist()
        assert row == {"id": 1, "u": 2**64 - 1, "t": datetime.time(1, 2, 3), "n": None, "ms": frame["ms"][0].astimezone(UTC)}


class TestDuckDB:
    def test_streams_are_tables(self, adbc, table):
        with adbc.cursor() as ours, adbc.cursor() as others, duckdb.connect() as engine:
            ours.execute(f"SELECT id, name FROM {table}")
            others.execute("SELECT value AS id FROM generate_series(2, 100000) AS s(value)")
            engine.register("ours", ours.fetch_record_batch())
            engine.register("others", others.fetch_record_batch())
            joined = engine.sql("SELECT id, name, (SELECT count(*) FROM others) AS n FROM ours WHERE id >= 2 ORDER BY id")
            assert joined.fetchall() == [(2, "ü 世界", 99_999), (3, None, 99_999)]

    def test_all_types(self, adbc, table):
        with adbc.cursor() as cursor, duckdb.connect() as engine:
            engine.execute("SET TimeZone = 'UTC'")
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            engine.register("t", cursor.fetch_record_batch())
            assert engine.sql("SELECT * FROM t ORDER BY id").to_arrow_table().to_pylist() == DATA.to_pylist()

    def test_an_answer_is_ingested(self, adbc, table_name):
        with adbc.cursor() as cursor, duckdb.connect() as engine:
            answer = engine.sql("SELECT i AS id, 'name ' || i AS name FROM range(100000) AS r(i)").to_arrow_reader()
            assert cursor.adbc_ingest(table_name, answer, mode="create") == 100_000
        assert stored(adbc, table_name)["name"][99_999].as_py() == "name 99999"


class TestPyarrow:
    """It knows Flight and not Flight SQL: the command is the statement's text."""

    @pytest.fixture
    def client(self, uri):
        with flight.connect(uri) as client:
            yield client

    def test_text_as_a_command(self, client, table):
        info = client.get_flight_info(flight.FlightDescriptor.for_command(f"SELECT * FROM {table} ORDER BY id".encode()))
        with client.do_get(info.endpoints[0].ticket).to_reader() as reader:
            assert reader.read_all() == DATA

    def test_a_table_as_a_path(self, client, table):
        for path in ([table], ["public", table], ["tidewater", "public", table]):
            info = client.get_flight_info(flight.FlightDescriptor.for_path(*path))
            assert client.do_get(info.endpoints[0].ticket).read_all().sort_by("id") == DATA

    def test_frames_of_a_stream(self, client, table):
        info = client.get_flight_info(flight.FlightDescriptor.for_command(f"SELECT id, name FROM {table} ORDER BY id".encode()))
        assert client.do_get(info.endpoints[0].ticket).read_pandas()["id"].tolist() == [1, 2, 3]

    def test_a_put_that_is_no_command_is_refused(self, client, table):
        with pytest.raises((flight.FlightError, pa.ArrowException), match="TW-"):
            writer, _ = client.do_put(flight.FlightDescriptor.for_path(table), SCHEMA)
            writer.write_table(DATA)
            writer.close()

    def test_signing_in(self, guarded):
        with flight.connect(f"grpc+tls://{guarded.server.grpc}", tls_root_certs=guarded.ca.read_bytes()) as client:
            header = client.authenticate_basic_token(guarded.user, guarded.password)
            signed_in = flight.FlightCallOptions(headers=[header], timeout=TIMEOUT_S)
            descriptor = flight.FlightDescriptor.for_command(b"SELECT 1 AS n")
            info = client.get_flight_info(descriptor, signed_in)
            assert client.do_get(info.endpoints[0].ticket, signed_in).read_all().to_pylist() == [{"n": 1}]
            with pytest.raises(flight.FlightUnauthenticatedError):
                client.get_flight_info(descriptor)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with secured.secured(tmp_path_factory.mktemp("guarded")) as guarded:
        yield guarded
