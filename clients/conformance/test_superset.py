"""Does Apache Superset get along? Connect, list, SQL Lab, a dataset, a chart's data; by our dialect, and by flightsql-dbapi."""

import json
import os
import pathlib
import subprocess
import sys

import adbc_driver_flightsql.dbapi
import pytest

from harness import results
from harness.dialects import version_of
from harness.pages import DOCS, GRPC, blocks

pytestmark = pytest.mark.superset

PYTHON = os.environ.get("TIDEWATER_SUPERSET_PYTHON")
SUITE = ("Apache Superset", version_of(PYTHON, "apache-superset") if PYTHON else "", True)
NOT_THERE = "TIDEWATER_SUPERSET_PYTHON is not set: `clients/conformance/venv.sh superset` prints it"
WORKER = pathlib.Path(__file__).parent / "harness/workers/superset_app.py"
CLIENT = pathlib.Path(__file__).parents[1] / "python"
# The URIs that the page of clients tells people to enter.
URIS = [block.text.strip() for block in blocks(DOCS / "clients.md") if "superset" in block.words]
DIALECTS = dict(zip(("tidewater", "flightsql-dbapi"), URIS, strict=True))
SETUP = (
    "CREATE TABLE superset_events (id BIGINT, at TIMESTAMP NOT NULL, instant TIMESTAMPTZ, item VARCHAR, amount DOUBLE, price DECIMAL(10,2), "
    "day DATE, ok BOOLEAN, count_u UBIGINT, PRIMARY KEY (id)) WITH (time_column = 'at')",
    "INSERT INTO superset_events VALUES (1, '2026-01-31 12:00:00', '2026-01-31 12:00:00Z', 'bus', 1.5, '10.25', '2026-01-31', true, 1), "
    "(2, '2026-01-31 18:30:00', '2026-01-31 18:30:00Z', 'bus', 2.5, '0.75', '2026-01-31', false, 2), "
    "(3, '2026-02-01 00:00:00', '2026-02-01 00:00:00Z', 'car', 4, '1.00', '2026-02-01', NULL, 3)",
    "CREATE VIEW superset_view AS SELECT item, count(*) AS n FROM superset_events GROUP BY item",
    # flightsql-dbapi knows no decimals and no unsigned numbers, and Superset makes no dataset of a column without a type.
    "CREATE VIEW superset_plain AS SELECT id, at, instant, item, amount, CAST(price AS DOUBLE) AS price, day, ok FROM superset_events",
    "CREATE TABLE superset_x.elsewhere (a BIGINT)",
)


class Superset:
    """The application, in a Python and a folder of its own."""

    def __init__(self, folder: pathlib.Path):
        # Entry points are found where a package is installed, not where its sources are.
        installed = folder / "client"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation",
             "--target", installed, CLIENT], check=True, timeout=120,
        )  # fmt: skip
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [PYTHON, WORKER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=os.environ | {"PYTHONPATH": str(installed)},
        )  # fmt: skip
        assert self._answer()["body"] == "ready"
        # As the dialog does in which a database is added; it is what loads the dialect of flightsql-dbapi.
        self.available = {entry["engine"]: entry for entry in self.ask("GET", "/api/v1/database/available/")["databases"]}

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        assert line, pathlib.Path(self.log.name).read_text(errors="replace")[-4000:]
        return json.loads(line)

    def ask(self, method: str, path: str, body: dict | None = None, status: int = 200):
        self.process.stdin.write(json.dumps({"method": method, "path": path, "body": body}) + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        assert answer["status"] == status, answer
        return answer["body"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.log.close()


@pytest.fixture(scope="module")
def superset(tmp_path_factory):
    if not PYTHON:
        results.not_run(*SUITE[:2], NOT_THERE)
        pytest.skip(f"NOT CHECKED: {NOT_THERE}")
    superset = Superset(tmp_path_factory.mktemp("superset"))
    yield superset
    superset.close()


@pytest.fixture(scope="module")
def events(server):
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection, connection.cursor() as cursor:
        for statement in SETUP:
            cursor.execute(statement)


class Database:
    """A connection that Superset has, by one of the dialects."""

    def __init__(self, superset: Superset, dialect: str, uri: str):
        self.superset, self.dialect = superset, dialect
        made = superset.ask("POST", "/api/v1/database/", {"database_name": dialect, "sqlalchemy_uri": uri, "expose_in_sqllab": True}, 201)
        self.id = made["id"]
        self.table = "superset_events" if dialect == "tidewater" else "superset_plain"
        dataset = {"database": self.id, "schema": "public", "table_name": self.table}
        self.dataset = superset.ask("POST", "/api/v1/dataset/", dataset, 201)["id"]

    def sql(self, sql: str, status: int = 200):
        body = {"database_id": self.id, "sql": sql, "schema": "public", "runAsync": False}
        return self.superset.ask("POST", "/api/v1/sqllab/execute/", body, status)

    def chart(self, **query) -> list[dict]:
        """The rows of a chart."""
        body = {"datasource": {"id": self.dataset, "type": "table"}, "queries": [query], "result_format": "json", "result_type": "full", "force": True}
        (result,) = self.superset.ask("POST", "/api/v1/chart/data", body)["result"]
        assert not result["error"], result
        return result["data"]


@pytest.fixture(scope="module", params=DIALECTS)
def database(request, superset, server, events):
    return Database(superset, request.param, DIALECTS[request.param].replace(GRPC, server.grpc))


def test_is_offered(superset):
    assert superset.available["tidewater"]["name"] == "Tidewater"
    assert "adbc" in superset.available["tidewater"]["available_drivers"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_connection_is_tried(superset, server, dialect):
    """The button of the dialog: a server that answers, and one that does not."""
    ask = {"database_name": f"tried {dialect}", "impersonate_user": False}
    uri = DIALECTS[dialect].replace(GRPC, server.grpc)
    superset.ask("POST", "/api/v1/database/test_connection/", ask | {"sqlalchemy_uri": uri})
    # What listens there is no Flight server.
    nobody = DIALECTS[dialect].replace(GRPC, server.http)
    superset.ask("POST", "/api/v1/database/test_connection/", ask | {"sqlalchemy_uri": nobody}, 400)


def test_lists_schemas_and_tables(superset, database):
    schemas = superset.ask("GET", f"/api/v1/database/{database.id}/schemas/")["result"]
    assert {"public", "system", "superset_x"} <= set(schemas)
    found = superset.ask("GET", f"/api/v1/database/{database.id}/tables/?q=(schema_name:public)")["result"]
    kinds = {entry["value"]: entry["type"] for entry in found}
    assert kinds["superset_events"] == "table"
    # flightsql-dbapi does not tell one from the other.
    assert kinds["superset_view"] == ("view" if database.dialect == "tidewater" else "table")
    elsewhere = superset.ask("GET", f"/api/v1/database/{database.id}/tables/?q=(schema_name:superset_x)")["result"]
    assert [entry["value"] for entry in elsewhere] == ["elsewhere"]


def test_shows_a_table(superset, database):
    shown = superset.ask("GET", f"/api/v1/database/{database.id}/table_metadata/?name={database.table}&schema=public")
    names = ["id", "at", "instant", "item", "amount", "price", "day", "ok"]
    assert [column["name"] for column in shown["columns"]] == names + ["count_u"] * (database.dialect == "tidewater")


def test_sql_lab(database):
    answer = database.sql("SELECT item, count(*) AS n, sum(price) AS total FROM superset_events GROUP BY item ORDER BY item")
    assert [(row["item"], row["n"], float(row["total"])) for row in answer["data"]] == [("bus", 2, 11.0), ("car", 1, 1.0)]


def test_sql_lab_shows_the_servers_error(database):
    answer = database.sql("SELECT * FROM no_such_table", 500)
    assert "table 'public.no_such_table' not found" in json.dumps(answer)


def test_dataset_knows_its_columns(superset, database):
    columns = {column["column_name"]: column for column in superset.ask("GET", f"/api/v1/dataset/{database.dataset}")["result"]["columns"]}
    assert {name for name, column in columns.items() if column["is_dttm"]} == {"at", "instant", "day"}
    if database.dialect == "tidewater":
        assert (columns["price"]["type"], columns["instant"]["type"], columns["count_u"]["type"]) == ("DECIMAL(10, 2)", "TIMESTAMPTZ", "UBIGINT")


def test_chart_of_a_group(database):
    metric = {"expressionType": "SIMPLE", "column": {"column_name": "amount"}, "aggregate": "SUM", "label": "total"}
    rows = database.chart(columns=["item"], metrics=[metric, "count"], orderby=[["count", False]], row_limit=10)
    assert [(row["item"], row["total"], row["count"]) for row in rows] == [("bus", 4.0, 2), ("car", 4.0, 1)]


def test_chart_with_filters_and_a_time_range(database):
    rows = database.chart(
        columns=["id"], metrics=[], orderby=[["id", True]], row_limit=10, granularity="at", time_range="2026-01-31T00:00:00 : 2026-02-01T00:00:00",
        filters=[{"col": "item", "op": "IN", "val": ["bus", "x'y"]}, {"col": "price", "op": ">", "val": 0.5}],
    )  # fmt: skip
    assert [row["id"] for row in rows] == [1, 2]


def grains(superset: Superset, database: Database) -> list[str | None]:
    """That a chart of the dataset may have; our dialect always has some."""
    found = [grain for grain, _ in superset.ask("GET", f"/api/v1/dataset/{database.dataset}")["result"]["time_grain_sqla"] or []]
    assert found or database.dialect != "tidewater"
    return found


@pytest.mark.parametrize(("grain", "counts"), [("P1D", [2, 1]), ("PT1H", [1, 1, 1]), ("PT30M", [1, 1, 1]), ("P1W", [3]), ("P1M", [2, 1])])
def test_chart_by_time(superset, database, grain, counts):
    if not grains(superset, database):
        pytest.skip("flightsql-dbapi brings no time grains to Superset")
    rows = database.chart(columns=[], metrics=["count"], granularity="at", is_timeseries=True, extras={"time_grain_sqla": grain}, row_limit=100)
    assert [row["count"] for row in sorted(rows, key=lambda row: row["__timestamp"])] == counts


def test_every_time_grain_runs(database, superset):
    if not grains(superset, database):
        pytest.skip("flightsql-dbapi brings no time grains to Superset")
    assert len(grains(superset, database)) >= 15
    for grain in grains(superset, database):
        for column in ("at", "instant"):
            extras = {"time_grain_sqla": grain} if grain else {}
            rows = database.chart(columns=[], metrics=["count"], granularity=column, is_timeseries=True, extras=extras, row_limit=100)
            assert sum(row["count"] for row in rows) == 3, (grain, column)
