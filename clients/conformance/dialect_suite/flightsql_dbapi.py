"""Does flightsql-dbapi get along, as Superset uses it? Its dialect `datafusion+flightsql://`; the server is at TIDEWATER_URL."""

import datetime
import os

import flightsql.sqlalchemy  # noqa: F401: registers the dialect
import pandas
import pyarrow as pa
import pytest
import sqlalchemy as sa
from flightsql import FlightSQLClient

from harness import cases

HOST, PORT = os.environ["TIDEWATER_URL"].removeprefix("tidewater://").split(":")
PREPARED = "feature-sqlalchemy-prepared-statements=on"
KEYS = "feature-sqlalchemy-primary-keys=on"


def engine_with(*features: str):
    return sa.create_engine("&".join([f"datafusion+flightsql://{HOST}:{PORT}?insecure=true", *features]))


@pytest.fixture(params=["literal", "prepared"])
def engine(request):
    engine = engine_with(*([PREPARED] if request.param == "prepared" else []))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module", autouse=True)
def readings():
    engine = engine_with()
    with engine.connect() as connection:
        for statement in (
            "DROP TABLE IF EXISTS dbapi_readings",
            # Names that a pattern with _ would fit as well.
            "CREATE TABLE IF NOT EXISTS dbapixreadings (wrong BIGINT)",
            "CREATE TABLE dbapi_readings (sensor VARCHAR, at TIMESTAMP, value DOUBLE, ok BOOLEAN, n BIGINT, PRIMARY KEY (sensor, at))",
            "INSERT INTO dbapi_readings VALUES ('north', '2026-01-31 12:00:00', 1.5, true, 1), ('south', '2026-01-31 13:00:00', 2.5, false, 2), "
            "('north', '2026-02-01 12:00:00', NULL, NULL, 3)",
        ):
            connection.execute(sa.text(statement))
    yield
    with engine.connect() as connection:
        connection.execute(sa.text("DROP TABLE dbapi_readings"))
        connection.execute(sa.text("DROP TABLE dbapixreadings"))


def test_connect_and_select(engine):
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1 AS one")).fetchall() == [(1,)]


def test_names(engine):
    inspector = sa.inspect(engine)
    assert {"public", "system", "information_schema"} <= set(inspector.get_schema_names())
    assert {"dbapi_readings", "dbapixreadings"} <= set(inspector.get_table_names(schema="public"))
    assert inspector.has_table("dbapi_readings", schema="public")


def test_columns(engine):
    """It asks with the name as a pattern, and reads the first row of the answer."""
    columns = sa.inspect(engine).get_columns("dbapi_readings", schema="public")
    assert [(column["name"], str(column["type"]), column["nullable"]) for column in columns] == [
        ("sensor", "TEXT", False), ("at", "TIMESTAMP", False), ("value", "FLOAT", True), ("ok", "BOOLEAN", True), ("n", "BIGINT", True),
    ]  # fmt: skip


def test_primary_key():
    key = sa.inspect(engine_with(KEYS)).get_pk_constraint("dbapi_readings", schema="public")
    assert key["constrained_columns"] == ["sensor", "at"]


@pytest.mark.parametrize(("condition", "parameters", "answer"), [
    ("sensor = :p", {"p": "north"}, 2),
    ("n > :p", {"p": 1}, 2),
    ("value < :p", {"p": 2.0}, 1),
    ("ok = :p", {"p": True}, 1),
    ("sensor = :p AND n > :q AND value IS NULL", {"p": "north", "q": 2}, 1),
], ids=["text", "integer", "float", "boolean", "several"])  # fmt: skip
def test_parameters(engine, condition, parameters, answer):
    """Literals, or dense unions for a prepared statement."""
    with engine.connect() as connection:
        # It writes values that the expression carries; those given beside a text become NULL.
        statement = sa.text(f"SELECT count(*) AS n FROM dbapi_readings WHERE {condition}").bindparams(**parameters)
        assert connection.execute(statement).fetchall() == [(answer,)]


def test_a_selection_as_superset_writes_it(engine):
    table = sa.table("dbapi_readings", sa.column("sensor"), sa.column("at"), sa.column("value"), schema="public")
    day = sa.func.date_trunc(sa.text("'day'"), table.c["at"]).label("day")
    statement = sa.select(day, sa.func.sum(table.c.value).label("total")).where(table.c.sensor == "north").group_by(day).order_by(day).limit(10)
    with engine.connect() as connection:
        rows = connection.execute(statement).fetchall()
    assert [row[0].to_pydatetime() for row in rows] == [datetime.datetime(2026, 1, 31), datetime.datetime(2026, 2, 1)]


def test_pandas(engine):
    frame = pandas.read_sql("SELECT sensor, n FROM dbapi_readings ORDER BY n", engine)
    assert frame.to_dict("list") == {"sensor": ["north", "south", "north"], "n": [1, 2, 3]}


def test_update():
    client = FlightSQLClient(host=HOST, port=int(PORT), insecure=True)
    assert client.execute_update("CREATE TABLE IF NOT EXISTS dbapi_update (a BIGINT)") == 0
    assert client.execute_update("INSERT INTO dbapi_update VALUES (1), (2)") == 2
    assert client.execute_update("DROP TABLE dbapi_update") == 0


def test_errors(engine):
    with engine.connect() as connection, pytest.raises(Exception, match="table 'public.no_such_table' not found"):
        connection.execute(sa.text("SELECT * FROM no_such_table"))


def answer(client: FlightSQLClient, sql: str, parameters: list | None = None) -> pa.Table:
    if parameters is None:
        info = client.execute(sql)
        return client.do_get(info.endpoints[0].ticket).read_all()
    with client.prepare(sql) as prepared:
        row = {str(at): pa.array([value]) for at, value in enumerate(parameters, 1)}
        info = prepared.execute(pa.RecordBatch.from_pydict(row))
        return client.do_get(info.endpoints[0].ticket).read_all()


def affected(client: FlightSQLClient, case: dict) -> int:
    """It sends no update with parameters: what it asks instead has their number for an answer."""
    if "parameters" not in case:
        return client.execute_update(case["sql"])
    return answer(client, case["sql"], case["parameters"]).column(0)[0].as_py()


def check_rows(table: pa.Table, wanted: dict):
    got, rows = cases.texts(table), wanted["rows"]
    if wanted.get("order") == "any":
        got, rows = sorted(got, key=repr), sorted(rows, key=repr)
    assert got == rows


@pytest.mark.parametrize("case", cases.load(), ids=lambda case: case["name"])
def test_case(case):
    """What every client must see, by the client below the dialect."""
    client = FlightSQLClient(host=HOST, port=int(PORT), insecure=True)
    for statement in case.get("setup", []):
        client.execute_update(statement)
    if error := case.get("error"):
        with pytest.raises(Exception) as raised:
            answer(client, case["sql"], case.get("parameters"))
        assert error["contains"] in str(raised.value)
    elif "affected" in case:
        assert affected(client, case) == case["affected"]
    else:
        table = answer(client, case["sql"], case.get("parameters"))
        assert [[field.name, cases.type_name(field.type)] for field in table.schema] == case["columns"]
        check_rows(table, case)
    if check := case.get("check"):
        check_rows(answer(client, check["sql"]), check)
    client.close()
