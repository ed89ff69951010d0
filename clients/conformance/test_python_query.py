"""Does the half of clients/python that asks do what it says: cases, frames, parameters, deadlines, cancelling, asyncio, tokens, errors?"""

import asyncio
import datetime
import decimal
import pathlib
import subprocess
import threading
import venv

import pandas
import polars
import pyarrow as pa
import pytest

import tidewater
from harness import cases
from tidewater import dbapi

SUITE = ("Python client, queries", tidewater.__version__)
PACKAGE = pathlib.Path(__file__).parents[1] / "python"
STATUS = {
    "NOT_FOUND": tidewater.NotFoundError,
    "INVALID_ARGUMENT": tidewater.InvalidRequestError,
    "ALREADY_EXISTS": tidewater.ConflictError,
}
SLOW = "SELECT count(*) AS n FROM generate_series(1, 100000) AS a(x), generate_series(1, 100000) AS b(y) WHERE (a.x * b.y) % 7 = 3"
VALUES = [
    7, 2**64 - 1, -(2**63), 0.5, "Grüße", "", b"\x00\xff", True, datetime.date(2024, 2, 29), datetime.time(12, 0, 0, 1),
    decimal.Decimal("12.50"), datetime.datetime(2024, 2, 29, 1, 2, 3, 456_789), datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
    [1, None, 3],
]  # fmt: skip


@pytest.fixture(scope="module")
def url(server):
    return f"tidewater://{server.grpc}"


@pytest.fixture
def client(url):
    with tidewater.connect(url) as client:
        yield client


@pytest.fixture
def table(client, table_name):
    client.execute(f"CREATE TABLE {table_name} (id BIGINT, name VARCHAR, at TIMESTAMP, PRIMARY KEY (id))")
    yield table_name
    client.execute(f"DROP TABLE {table_name}")


@pytest.mark.parametrize("case", cases.load(), ids=lambda case: case["name"])
def test_case(client, case):
    for statement in case.get("setup", []):
        client.execute(statement)
    if error := case.get("error"):
        with pytest.raises(STATUS[error["status"]]) as raised:
            client.query(case["sql"], case.get("parameters")).arrow()
        assert error["contains"] in str(raised.value)
        return
    if "affected" in case:
        assert client.execute(case["sql"], case.get("parameters")) == case["affected"]
    else:
        table = client.query(case["sql"], case.get("parameters")).arrow()
        assert [[field.name, cases.type_name(field.type)] for field in table.schema] == case["columns"]
        same_rows(cases.texts(table), case)
    if check := case.get("check"):
        same_rows(cases.texts(client.query(check["sql"]).arrow()), check)


def same_rows(got, wanted):
    if wanted.get("order") == "any":
        assert sorted(got, key=repr) == sorted(wanted["rows"], key=repr)
    else:
        assert got == wanted["rows"]


@pytest.mark.parametrize("value", [*VALUES, None], ids=repr)
def test_parameters_come_back(client, value):
    assert client.query("SELECT ? AS v", [value]).value() == value


def test_each_form_of_an_answer(client):
    sql = "SELECT v, CAST(v AS VARCHAR) AS t FROM (VALUES (1), (2)) AS x(v) ORDER BY v"
    rows = [(1, "1"), (2, "2")]
    assert client.query(sql).rows() == rows
    assert client.query(sql).dicts() == [{"v": 1, "t": "1"}, {"v": 2, "t": "2"}]
    assert client.query(sql).arrow().to_pydict() == {"v": [1, 2], "t": ["1", "2"]}
    assert client.query(sql).polars().rows() == rows
    assert client.query(sql).pandas().to_dict("list") == {"v": [1, 2], "t": ["1", "2"]}
    assert polars.DataFrame(client.query(sql)).rows() == rows
    assert pa.table(client.query(sql)).num_rows == 2


def test_a_reader_outlives_the_result(client):
    reader = pa.RecordBatchReader.from_stream(client.query("SELECT value FROM generate_series(1, 300000) AS s(value)"))
    assert sum(batch.num_rows for batch in reader) == 300_000


def test_batches(client):
    batches = list(client.query("SELECT value FROM generate_series(1, 50000) AS s(value)"))
    assert len(batches) > 1 and sum(batch.num_rows for batch in batches) == 50_000


def test_rows_are_read_once(client):
    result = client.query("SELECT 1 AS one")
    assert result.rows() == [(1,)]
    with pytest.raises(tidewater.ConflictError, match="read already"):
        result.rows()


def test_statements_that_change_something(client, table):
    assert client.execute(f"INSERT INTO {table} (id, name) VALUES (?, ?)", [1, "a"]) == 1
    assert client.execute_many(f"INSERT INTO {table} (id, name) VALUES (?, ?)", [(2, None), (3, "c")]) == 2
    assert client.execute_many(f"INSERT INTO {table} (id, name) VALUES (?, ?)", []) == 0
    assert client.execute_many(f"INSERT INTO {table} (id, name) VALUES (?, ?)", polars.DataFrame({"a": [4], "b": ["d"]})) == 1
    assert client.execute(f"DELETE FROM {table} WHERE id > 2") == 2
    assert client.query(f"SELECT id, name FROM {table} ORDER BY id").rows() == [(1, "a"), (2, None)]


@pytest.mark.parametrize("frame", [
    pa.table({"id": [1, 2], "name": ["a", None]}),
    pa.record_batch({"id": [1, 2], "name": ["a", None]}),
    pa.table({"id": [1, 2], "name": ["a", None]}).to_reader(),
    polars.DataFrame({"id": [1, 2], "name": ["a", None]}),
    polars.DataFrame({"id": [1, 2], "name": ["a", None], "at": [None, None]}),
    pandas.DataFrame({"id": [1, 2], "name": ["a", None]}),
    [{"id": 1, "name": "a"}, {"id": 2}],
], ids=["table", "batch", "reader", "polars", "polars with a column of nulls", "pandas", "dicts"])  # fmt: skip
def test_bulk_insert(client, table, frame):
    assert client.bulk_insert(table, frame) == 2
    assert client.query(f"SELECT id, name FROM {table} ORDER BY id").rows() == [(1, "a"), (2, None)]


def test_modes_of_bulk_insert(client, table_name):
    frame = pa.table({"id": [1]})
    with pytest.raises(tidewater.NotFoundError):
        client.bulk_insert(table_name, frame)
    assert client.bulk_insert(table_name, frame.slice(0, 0), mode="create") == 0
    with pytest.raises(tidewater.ConflictError):
        client.bulk_insert(table_name, frame, mode="create")
    assert client.bulk_insert(table_name, frame, mode="create_append") == 1
    with pytest.raises(tidewater.InvalidRequestError, match="no mode 'upsert'"):
        client.bulk_insert(table_name, frame, mode="upsert")
    client.execute(f"DROP TABLE {table_name}")


def test_errors_say_what_to_do(client):
    with pytest.raises(tidewater.NotFoundError) as raised:
        client.query("SELECT * FROM no_such_table")
    error = raised.value
    assert (error.status, error.reason, error.code) == ("NOT_FOUND", "TABLE_NOT_FOUND", "TW-1010")
    assert "no_such_table" in error.message and error.hint and not error.retryable


@pytest.mark.parametrize("read", ["arrow", "polars", "pandas", "rows", "dicts"])
def test_an_error_on_the_way_is_ours(client, read):
    with pytest.raises(tidewater.InvalidRequestError, match="division by zero") as raised:
        getattr(client.query("SELECT 1 / v AS x FROM (VALUES (0)) AS t(v)"), read)()
    assert raised.value.code == "TW-1101"


def test_a_server_that_is_not_there():
    with tidewater.connect("tidewater://127.0.0.1:1") as client, pytest.raises(tidewater.UnavailableError) as raised:
        client.query("SELECT 1")
    assert raised.value.retryable


def test_deadline(client):
    with pytest.raises(tidewater.TimedOutError):
        client.query(SLOW, timeout_s=0.2).rows()


def test_cancel(client):
    result = client.query(SLOW)
    timer = threading.Timer(0.2, result.cancel)
    timer.start()
    with pytest.raises(tidewater.CancelledError):
        result.rows()
    timer.join()


def test_threads_share_a_client(client):
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(client.query("SELECT ? AS v", [n]).value() == n)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 20


def test_asyncio(url):
    async def program():
        async with await tidewater.connect_async(url) as client:
            async def one(n):
                return await (await client.query("SELECT ? AS v", [n])).value()

            assert await asyncio.gather(*(one(n) for n in range(10))) == list(range(10))
            counts = [batch.num_rows async for batch in await client.query("SELECT value FROM generate_series(1, 30000) AS s(value)")]
            assert sum(counts) == 30_000
            with pytest.raises(tidewater.NotFoundError):
                await client.query("SELECT * FROM no_such_table")
            async with asyncio.timeout(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await (await client.query(SLOW)).rows()
            assert await client.execute("CREATE TABLE IF NOT EXISTS query_async (a BIGINT)") == 0
            assert await client.bulk_insert("query_async", [{"a": 1}]) == 1

    asyncio.run(program())


def test_read_your_writes(client, url, table):
    with tidewater.Producer(table, "reader", url) as producer:
        for n in range(20):
            producer.send({"id": n})
            token = producer.flush()
            assert client.query(f"SELECT count(*) AS n FROM {table}", wait_for=token).value() == n + 1
    with pytest.raises(tidewater.InvalidRequestError):
        client.query("SELECT 1 AS one", wait_for=b"no token").rows()


def test_settings_of_a_session(client, url):
    client.set(timezone="Europe/Berlin", schema="system")
    assert (client.settings["timezone"], client.settings["schema"]) == ("Europe/Berlin", "system")
    assert client.query("SELECT count(*) >= 0 AS v FROM tables").value() is True
    client.set(timezone=None)
    assert client.settings["timezone"] == "UTC"
    with pytest.raises(tidewater.Error):
        client.set(timezone="Mars/Olympus")
    with pytest.raises(tidewater.InvalidRequestError, match="no setting"):
        client.set(colour="red")
    with tidewater.connect(f"{url}/system?timezone=Asia/Tokyo") as other:
        assert (other.settings["schema"], other.settings["timezone"]) == ("system", "Asia/Tokyo")


def test_url_parameters_are_known(url):
    with pytest.raises(tidewater.InvalidRequestError, match="'colour' is no parameter"):
        tidewater.connect(f"{url}?colour=red")
    with pytest.raises(tidewater.InvalidRequestError, match="no number of seconds"):
        tidewater.connect(f"{url}?timeout=soon")


def test_dbapi(url):
    assert (dbapi.apilevel, dbapi.paramstyle) == ("2.0", "qmark")
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE query_dbapi (a UBIGINT)")
        assert cursor.description is None
        cursor.executemany("INSERT INTO query_dbapi VALUES (?)", [(1,), (2**64 - 1,)])
        assert cursor.rowcount == 2
        cursor.execute("SELECT a FROM query_dbapi WHERE a > ?", (1,))
        assert [column[0] for column in cursor.description] == ["a"] and cursor.fetchall() == [(2**64 - 1,)]
        with pytest.raises(dbapi.ProgrammingError):
            cursor.execute("SELECT ? AS v", (object(),))
        cursor.execute("DROP TABLE query_dbapi")
        connection.commit()
        connection.rollback()


WITH_POLARS_ALONE = """
import importlib.util, sys
assert importlib.util.find_spec("pyarrow") is None and importlib.util.find_spec("pandas") is None
import polars, tidewater
with tidewater.connect(sys.argv[1]) as client:
    client.execute("CREATE TABLE query_polars (id BIGINT, name VARCHAR, at TIMESTAMP)")
    assert client.bulk_insert("query_polars", polars.DataFrame({"id": [1], "name": ["a"], "at": [None]})) == 1
    assert client.bulk_insert("query_polars", [{"id": 2}, {"id": 3, "name": "c"}]) == 2
    assert client.execute_many("INSERT INTO query_polars VALUES (?, ?, ?)", [(4, None, None)]) == 1
    assert client.query("SELECT id, name FROM query_polars WHERE id > ? ORDER BY id", [1]).rows() == [(2, None), (3, "c"), (4, None)]
    assert client.query("SELECT id FROM query_polars ORDER BY id").polars()["id"].to_list() == [1, 2, 3, 4]
    assert sum(frame.height for frame in client.query("SELECT value FROM generate_series(1, 30000) AS s(value)")) == 30000
    try:
        client.query("SELECT 1 AS one").arrow()
        raise SystemExit("arrow() without pyarrow")
    except tidewater.InvalidRequestError as error:
        assert "tidewater-client[arrow]" in str(error)
"""


@pytest.mark.slow
def test_with_polars_alone(url, tmp_path):
    """In an environment of its own, without pyarrow."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", f"{PACKAGE}[polars]"], check=True, timeout=300)
    subprocess.run([python, "-c", WITH_POLARS_ALONE, url], check=True, timeout=60)
