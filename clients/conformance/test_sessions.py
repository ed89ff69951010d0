"""Does what a Flight SQL client sets hold for its later calls, for nobody else's, and is it never forgotten in silence?"""

import base64
import json
import re
import urllib.request

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import grpc
import pyarrow.flight
import pytest
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions

from harness import http
from harness.flight_session import CLOSED, COOKIE, INVALID_NAME, INVALID_VALUE, RawClient, code_of, fields
from harness.server import Server
from harness.stubs import admin, admin_grpc

PASSWORDS = {"admin": "admin password", "anna": "annas password"}
OPTION = ConnectionOptions.OPTION_SESSION_OPTION_PREFIX.value
WITH_COOKIES = {DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("sessions")).start()
    with connect(server) as connection:
        execute(connection, "CREATE TABLE sales.orders (id BIGINT)")
        execute(connection, "INSERT INTO sales.orders VALUES (1), (2)")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with access control, an admin and anna, who may do everything as well."""
    server = Server(tmp_path_factory.mktemp("guarded"), settings={"auth": "on"}).start()
    server.wait_for_log("setup http://")
    (code,) = re.findall(r"^setup http://\S+/setup\?code=(\S+)$", server.log.read_text(), re.MULTILINE)
    body = json.dumps({"code": code, "name": "admin", "password": PASSWORDS["admin"]}).encode()
    request = urllib.request.Request(f"http://{server.http}/api/v1/setup", body, {"Content-Type": "application/json"})
    assert http._ask(request)[0] == 201
    grants = [admin.Grant(role="ROLE_ADMIN", tables="*")]
    with server.channel() as channel:
        admin_grpc.AdminStub(channel).CreateUser(
            admin.CreateUserRequest(name="anna", password=PASSWORDS["anna"], grants=grants),
            metadata=[("authorization", basic("admin"))],
        )
    with connect(server, **login("admin")) as connection:
        execute(connection, "CREATE TABLE sales.orders (id BIGINT)")
        execute(connection, "INSERT INTO sales.orders VALUES (1), (2)")
    yield server
    server.kill()


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{PASSWORDS[name]}".encode()).decode()


def login(name: str) -> dict[str, str]:
    return {"username": name, "password": PASSWORDS[name]}


def connect(server, **options):
    return adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", db_kwargs=options, autocommit=True)


def execute(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def set_option(connection, name: str, value: str):
    connection.adbc_connection.set_options(**{OPTION + name: value})


def sessions(server) -> int:
    return int(re.search(r"^tidewater_flight_sessions (\d+)$", http.get(server.http, "/metrics")[1], re.MULTILINE)[1])


def known(server, answer) -> RawClient:
    """The client that shows what it was told to show."""
    return RawClient(server, cookie=answer.cookie)


def check_holds_for_its_connection(server, options):
    with connect(server, **options) as one, connect(server, **options) as other:
        assert (one.adbc_current_catalog, one.adbc_current_db_schema) == ("tidewater", "public")
        one.adbc_current_db_schema = "sales"
        set_option(one, "timezone", "Europe/Berlin")
        assert one.adbc_current_db_schema == "sales"
        assert one.adbc_connection.get_option(OPTION + "timezone") == "Europe/Berlin"
        assert execute(one, "SELECT count(*) FROM orders") == [(2,)]
        assert execute(one, "SHOW timezone") == [("Europe/Berlin",)]
        assert execute(one, "SELECT current_schema") == [("sales",)]
        assert other.adbc_current_db_schema == "public"
        with pytest.raises(adbc_driver_manager.Error, match="orders"):
            execute(other, "SELECT count(*) FROM orders")
        execute(other, "SET schema = 'sales'")
        execute(other, "SET max_rows = 1")
        assert other.adbc_current_db_schema == "sales"
        with pytest.raises(adbc_driver_manager.Error, match="more than 1 rows"):
            execute(other, "SELECT id FROM orders")
        assert len(execute(one, "SELECT id FROM orders")) == 2
        execute(other, "RESET ALL")
        assert other.adbc_current_db_schema == "public"


def test_adbc_with_cookies(server):
    check_holds_for_its_connection(server, WITH_COOKIES)


def test_adbc_with_a_login(guarded):
    check_holds_for_its_connection(guarded, login("anna"))


def test_adbc_with_a_login_where_nobody_is_asked(server):
    check_holds_for_its_connection(server, {"username": "anybody", "password": "anything"})


def test_adbc_with_neither_is_refused(server):
    with connect(server) as connection:
        for change in [
            lambda: execute(connection, "SET schema = 'sales'"),
            lambda: set_option(connection, "schema", "sales"),
        ]:
            with pytest.raises(adbc_driver_manager.Error, match="with_cookie_middleware"):
                change()
        assert connection.adbc_current_db_schema == "public"
        assert execute(connection, "SELECT id FROM sales.orders ORDER BY id") == [(1,), (2,)]


def test_bulk_append_goes_into_the_schema_of_the_session(server, table_name):
    with connect(server, **WITH_COOKIES) as connection, connection.cursor() as cursor:
        connection.adbc_current_db_schema = "sales"
        cursor.adbc_ingest(table_name, pyarrow.table({"id": [7]}), mode="create")
        assert execute(connection, f"SELECT id FROM sales.{table_name}") == [(7,)]


def test_options_are_told_and_set_one_by_one(server):
    client = RawClient(server)
    defaults = {
        "catalog": "tidewater",
        "schema": "public",
        "timezone": "UTC",
        "statement_timeout_ms": 300_000,
        "max_rows": 0,
        "types": "portable",
    }
    assert client.get() == defaults
    refused, answer = client.set(
        catalog="tidewater", schema="sales", timezone="+02:00", statement_timeout_ms=1500, max_rows=9, types="native"
    )
    assert refused == {} and COOKIE in answer.headers["set-cookie"]
    client = known(server, answer)
    changed = {
        "catalog": "tidewater",
        "schema": "sales",
        "timezone": "+02:00",
        "statement_timeout_ms": 1500,
        "max_rows": 9,
        "types": "native",
    }
    assert client.get() == changed
    refused, answer = client.set(schema="public", timezone="Mars", nosuch="x", catalog="other", max_rows=None, types=7)
    assert refused == {"timezone": INVALID_VALUE, "nosuch": INVALID_NAME, "catalog": INVALID_VALUE, "types": INVALID_VALUE}
    assert "set-cookie" not in answer.headers, "it has one"
    assert client.get() == {**changed, "schema": "public", "max_rows": 0}
    assert client.set(statement_timeout_ms=None, timezone="", types=None, catalog=None)[0] == {}
    assert client.get() == defaults


@pytest.mark.parametrize("options", [
    {"schema": "nosuch"}, {"schema": 7}, {"schema": True}, {"catalog": 7}, {"timezone": 1.5}, {"statement_timeout_ms": -1},
    {"statement_timeout_ms": 0}, {"statement_timeout_ms": 10_000_000}, {"statement_timeout_ms": 1.5}, {"max_rows": -1},
    {"max_rows": "many"}, {"types": "modern"}, {"schema": "x" * 5000},
], ids=repr)  # fmt: skip
def test_a_wrong_value_begins_no_session(server, options):
    refused, answer = RawClient(server).set(**options)
    assert refused == dict.fromkeys(options, INVALID_VALUE)
    assert "set-cookie" not in answer.headers


def test_a_body_of_many_options_is_refused(server):
    with pytest.raises(grpc.RpcError, match="at most 65536 are read") as error:
        RawClient(server).set(**{f"option{number}": "x" for number in range(10_000)})
    assert code_of(error) == "INVALID_ARGUMENT"


def test_to_ask_begins_no_session(server):
    """https://github.com/gizmodata/gizmosql/issues/174"""
    client, before = RawClient(server), sessions(server)
    assert "set-cookie" not in client.action("GetSessionOptions").headers
    assert "set-cookie" not in client.set()[1].headers
    assert sessions(server) == before
    assert known(server, client.set(max_rows=5)[1]).get()["max_rows"] == 5
    assert sessions(server) == before + 1
    assert fields(client.close().body) == [(1, CLOSED)]


def test_set_gives_a_cookie_to_whom_it_can_be_given(server):
    headers = {}

    class Watch(pyarrow.flight.ClientMiddleware):
        def received_headers(self, received):
            headers.update(received)

    class Factory(pyarrow.flight.ClientMiddlewareFactory):
        def start_call(self, info):
            return Watch()

    with pyarrow.flight.FlightClient(f"grpc://{server.grpc}", middleware=[Factory()]) as client:
        client.get_flight_info(pyarrow.flight.FlightDescriptor.for_command(b"SET schema = 'sales'"))
    (cookie,) = headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=") and "HttpOnly" in cookie and "Path=/" in cookie
    client = RawClient(server, cookie=f"other=1; {cookie.split(';')[0]}")
    assert client.rows("SELECT current_schema() AS s") == [{"s": "sales"}]


@pytest.mark.parametrize("cookie", [f"{COOKIE}={'0' * 32}", f"{COOKIE}=", f"{COOKIE}=x", f'{COOKIE}="{"f" * 32}"'])
def test_a_session_that_is_not_known_is_told(server, cookie):
    client = RawClient(server, cookie=cookie)
    for call in [client.get, lambda: client.set(schema="sales"), lambda: client.action("CreatePreparedStatement")]:
        with pytest.raises(grpc.RpcError, match="session expired, reconnect") as error:
            call()
        assert code_of(error) == "NOT_FOUND"
    with pytest.raises(KeyError, match="session expired, reconnect"):
        client.rows("SELECT 1")
    # JDBC closes what is there or not.
    assert fields(client.close().body) == [(1, CLOSED)]


def test_a_closed_session_is_gone(server):
    client = known(server, RawClient(server).set(schema="sales")[1])
    answer = client.close()
    assert fields(answer.body) == [(1, CLOSED)]
    assert "Max-Age=0" in answer.headers["set-cookie"]
    with pytest.raises(grpc.RpcError, match="session expired"):
        client.get()


def test_a_session_is_of_its_user(guarded):
    anna = RawClient(guarded, authorization=basic("anna"))
    answer = anna.set(schema="sales")[1]
    assert RawClient(guarded, authorization=basic("anna"), cookie=answer.cookie).get()["schema"] == "sales"
    with pytest.raises(grpc.RpcError, match="session expired") as error:
        RawClient(guarded, authorization=basic("admin"), cookie=answer.cookie).get()
    assert code_of(error) == "NOT_FOUND"
    with pytest.raises(grpc.RpcError) as error:
        RawClient(guarded, cookie=answer.cookie).get()
    assert code_of(error) == "UNAUTHENTICATED"


def test_to_close_a_session_revokes_no_bearer(guarded):
    """https://github.com/apache/doris/issues/67578"""
    bearer = RawClient(guarded, authorization=basic("anna")).handshake()
    client = RawClient(guarded, authorization=bearer)
    answer = client.set(schema="sales")[1]
    assert client.get()["schema"] == "sales"
    after = RawClient(guarded, authorization=answer.headers["authorization"])
    closed = after.close()
    assert fields(closed.body) == [(1, CLOSED)]
    for header in (bearer, closed.headers["authorization"]):
        assert RawClient(guarded, authorization=header).get()["schema"] == "public"


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_session_outlives_the_server(guarded, kill):
    """https://github.com/apache/doris/issues/36331"""
    bearer = RawClient(guarded, authorization=basic("anna")).handshake()
    cookie = RawClient(guarded, authorization=basic("anna")).set(schema="sales")[1].cookie
    with connect(guarded, **login("anna")) as plain, connect(guarded, **login("anna")) as one, connect(guarded, **login("anna")) as other:
        one.adbc_current_db_schema = "sales"
        execute(other, "SET schema = 'sales'")
        execute(other, "SET max_rows = 5")
        guarded.restart(kill=kill)
        assert RawClient(guarded, authorization=bearer).get()["schema"] == "public"
        assert execute(plain, "SELECT current_user") == [("anna",)]
        assert plain.adbc_current_db_schema == "public"
        for changed in [one, other]:
            assert execute(changed, "SELECT count(*) FROM orders") == [(2,)]
        assert execute(other, "SHOW max_rows") == [("5",)]
    assert RawClient(guarded, authorization=basic("anna"), cookie=cookie).get()["schema"] == "sales"


def schema_and_rows(client: RawClient) -> tuple[str, list[dict]]:
    return client.get()["schema"], client.rows("SELECT id FROM same ORDER BY id")


@pytest.mark.parametrize("asked", [False, True], ids=["nobody is asked", "with users"])
def test_a_client_that_shows_its_first_bearer_for_ever_asks_the_same_table_after_a_crash(request, asked):
    """pyarrow: a fixed header, and no cookies. Another schema has a table of that name: to fall back to it would go unnoticed."""
    server = request.getfixturevalue("guarded" if asked else "server")
    options = login("admin") if asked else {}
    with connect(server, **options) as connection:
        for schema, number in [("public", 1), ("sales", 2)]:
            execute(connection, f"CREATE TABLE IF NOT EXISTS {schema}.same AS SELECT CAST({number} AS BIGINT) AS id")
    first = RawClient(server, authorization=basic("anna")).handshake()
    client, untouched = RawClient(server, authorization=first), RawClient(server, authorization=basic("anna")).handshake()
    assert client.set(schema="sales")[0] == {}
    assert schema_and_rows(client) == ("sales", [{"id": 2}])
    server.restart(kill=True)
    assert schema_and_rows(client) == ("sales", [{"id": 2}])
    assert schema_and_rows(RawClient(server, authorization=untouched)) == ("public", [{"id": 1}])
    # What was changed last holds; and what was ended stays so.
    assert client.set(schema=None, max_rows=9)[0] == {}
    server.restart(kill=True)
    assert (*schema_and_rows(client), client.get()["max_rows"]) == ("public", [{"id": 1}], 9)
    assert fields(client.close().body) == [(1, CLOSED)]
    server.restart(kill=True)
    assert client.get()["max_rows"] == 0


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_cookie_outlives_the_server(server, kill):
    with connect(server, **WITH_COOKIES) as connection:
        connection.adbc_current_db_schema = "sales"
        server.restart(kill=kill)
        assert execute(connection, "SELECT count(*) FROM orders") == [(2,)]


def test_a_bearer_ends_with_its_user(guarded):
    with guarded.channel() as channel:
        stub, metadata = admin_grpc.AdminStub(channel), [("authorization", basic("admin"))]
        grants = [admin.Grant(role="ROLE_READER", tables="*")]
        for _ in range(2):
            stub.CreateUser(admin.CreateUserRequest(name="carl", password="carls password", grants=grants), metadata=metadata)
            header = "Basic " + base64.b64encode(b"carl:carls password").decode().rstrip("=")
            bearer = RawClient(guarded, authorization=header).handshake()
            assert RawClient(guarded, authorization=bearer).get()["schema"] == "public"
            stub.DropUser(admin.DropUserRequest(name="carl"), metadata=metadata)
            with pytest.raises(grpc.RpcError) as error:
                RawClient(guarded, authorization=bearer).get()
            assert code_of(error) == "UNAUTHENTICATED"


@pytest.mark.parametrize("headers, schema", [
    ({"schema": "sales"}, "sales"), ({"database": "sales"}, "sales"), ({"database": "tidewater"}, "public"),
    ({"database": "tidewater", "schema": "sales", "catalog": "tidewater"}, "sales"), ({"schema": ""}, "public"),
], ids=repr)  # fmt: skip
def test_headers_name_a_schema(server, headers, schema):
    """JDBC makes headers of parameters of its URL, Grafana of its metadata (https://github.com/apache/arrow-java/issues/829)."""
    client = RawClient(server, **headers)
    assert client.get()["schema"] == schema
    assert client.rows("SELECT current_schema() AS s") == [{"s": schema}]
    # What is set counts more, and begins with what the headers say.
    answer = client.set(max_rows=5)[1]
    assert RawClient(server, cookie=answer.cookie).get()["schema"] == schema
    assert known(server, answer).set(schema="public")[0] == {}
    assert RawClient(server, cookie=answer.cookie, **headers).get()["schema"] == "public"


@pytest.mark.parametrize("headers", [{"schema": "nosuch"}, {"database": "nosuch"}, {"catalog": "nosuch"}], ids=repr)
def test_headers_that_name_nothing_are_refused(server, headers):
    with pytest.raises(grpc.RpcError, match="nosuch") as error:
        RawClient(server, **headers).get()
    assert code_of(error) in ("NOT_FOUND", "INVALID_ARGUMENT")
