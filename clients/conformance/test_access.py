"""Who gets in when `auth` is on? The first user by the link, then ADBC, pyarrow, gRPC and curl with passwords and tokens."""

import base64
import json
import re
import urllib.request

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import grpc
import pyarrow.flight
import pytest
from adbc_driver_flightsql import DatabaseOptions
from google.protobuf import duration_pb2

from harness import http
from harness.flight import content
from harness.flight_session import RawClient
from harness.flight_sql import Wire, statement
from harness.server import Server
from harness.stubs import admin, admin_grpc, query, query_grpc
from harness.waiting import until

TIMEOUT_S = 60
BRIEF_S = 8
"""A token that a slow machine can use once, and need not wait for long."""

PASSWORDS = {"admin": "admin password", "anna": "annas password", "bert": "berts passwords", "carl": "carls password"}


def post(address: str, path: str, body, headers: dict[str, str]) -> tuple[int, dict, bytes]:
    return http._ask(urllib.request.Request(f"http://{address}{path}", data=body, headers=headers))


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def setup(server: Server, code: str, name: str, password: str) -> int:
    body = json.dumps({"code": code, "name": name, "password": password}).encode()
    return post(server.http, "/api/v1/setup", body, {"Content-Type": "application/json"})[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("access"), settings={"auth": "on"}).start()
    server.wait_for_log("setup http://")
    (code,) = re.findall(r"^setup http://\S+/setup\?code=(\S+)$", server.log.read_text(), re.MULTILINE)
    assert http.get(server.http, "/setup")[0] == 200
    assert setup(server, "guessed", "admin", PASSWORDS["admin"]) == 401
    assert setup(server, code, "admin", PASSWORDS["admin"]) == 201
    assert setup(server, code, "second", PASSWORDS["admin"]) == 409
    with Admin(server, "admin") as first:
        for name, grants in {"anna": [("READER", "shop.*")], "bert": [], "carl": []}.items():
            granted = [admin.Grant(role=f"ROLE_{role}", tables=tables) for role, tables in grants]
            first.stub.CreateUser(
                admin.CreateUserRequest(name=name, password=PASSWORDS[name], grants=granted), metadata=first.metadata
            )
    with connect(server, "admin") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE shop.orders (id BIGINT NOT NULL, PRIMARY KEY (id))")
        cursor.execute("INSERT INTO shop.orders VALUES (1), (2)")
    yield server
    server.kill()


class Admin:
    """A user at the admin service."""

    def __init__(self, server: Server, name: str):
        self.channel = grpc.insecure_channel(server.grpc)
        self.stub = admin_grpc.AdminStub(self.channel)
        self.metadata = [("authorization", basic(name, PASSWORDS[name]))]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def token(self, **options) -> str:
        return self.stub.CreateToken(admin.CreateTokenRequest(**options), metadata=self.metadata).secret


def connect(server: Server, name: str, password: str | None = None):
    options = {"username": name, "password": password or PASSWORDS[name]}
    return adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", options, autocommit=True)


def connect_with(server: Server, token: str):
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}
    return adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", options, autocommit=True)


def count(connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM shop.orders")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("name", ["admin", "anna"])
def test_adbc_with_a_password(server, name):
    with connect(server, name) as connection:
        assert count(connection) == 2


@pytest.mark.parametrize("n_signs", [0, 1, 2])
def test_a_password_is_read_in_every_base64(server, n_signs):
    """With and without its signs of padding, in both alphabets: Go's clients send none, others do as they like."""
    name = f"dora{n_signs}"
    # These bytes have different signs in the two alphabets, wherever they stand.
    password = ">>>???>>>???"
    password += "x" * ((-len(f"{name}:{password}") - n_signs) % 3)
    with Admin(server, "admin") as first:
        first.stub.CreateUser(admin.CreateUserRequest(name=name, password=password), metadata=first.metadata)
    text = f"{name}:{password}".encode()
    padded = {encode(text).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    assert len(padded) == 2 and {form.count("=") for form in padded} == {n_signs}
    for form in padded | {form.rstrip("=") for form in padded}:
        headers = {"Content-Type": "text/plain", "Authorization": f"Basic {form}"}
        assert post(server.http, "/api/v1/sql", b"SELECT 1", headers)[0] == 200, form
        assert RawClient(server, authorization=f"Basic {form}").handshake().startswith("Bearer ")
    with connect(server, name, password) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (name,)


def test_an_answer_is_its_users_and_is_fetched_once(server):
    """Whoever has got hold of a ticket may neither fetch nor cancel it, and does not use it up."""
    by_name = {name: Wire(server, authorization=basic(name, PASSWORDS[name])) for name in ("anna", "bert")}
    with by_name["anna"] as anna, by_name["bert"] as bert:
        info = anna.info(statement("SELECT id FROM shop.orders ORDER BY id"))
        with pytest.raises(pyarrow.flight.FlightUnauthorizedError):
            bert.fetch(info)
        cancel = pyarrow.flight.Action("CancelFlightInfo", content(1, info.serialize()))
        with pytest.raises(pyarrow.flight.FlightUnauthorizedError):
            list(bert.client.do_action(cancel, bert.options))
        assert anna.fetch(info).to_pylist() == [{"id": 1}, {"id": 2}]
        with pytest.raises(pyarrow.ArrowInvalid, match="TW-1112"):
            anna.fetch(info)
        with pytest.raises(KeyError, match="TW-"):
            list(anna.client.do_action(cancel, anna.options))


def test_adbc_with_a_wrong_password(server):
    for name, password in [("anna", "wrong password"), ("nobody", "wrong password")]:
        with pytest.raises(adbc_driver_manager.Error, match="(?i)unauthenticated"):
            with connect(server, name, password) as connection:
                count(connection)


def test_adbc_without_anything(server):
    with pytest.raises(adbc_driver_manager.Error, match="TW-1401"):
        with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection:
            count(connection)


def test_what_a_user_may_not_see_is_not_there(server):
    with connect(server, "bert") as connection:
        with pytest.raises(adbc_driver_manager.Error, match="not found"):
            count(connection)
        tables = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        assert "orders" not in json.dumps(tables, default=str)


def test_a_reader_writes_nothing(server):
    with connect(server, "anna") as connection, connection.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error, match="TW-1402"):
            cursor.execute("INSERT INTO shop.orders VALUES (3)")


def test_a_token_until_it_is_revoked(server):
    with Admin(server, "anna") as anna:
        token = anna.token(label="dashboard")
        with connect_with(server, token) as connection:
            assert count(connection) == 2
        status, _, _ = post(
            server.http, "/api/v1/sql", b"SELECT 1", {"Content-Type": "text/plain", "Authorization": f"Bearer {token}"}
        )
        assert status == 200
        anna.stub.RevokeToken(admin.RevokeTokenRequest(id=token.split("_")[1]), metadata=anna.metadata)
        with pytest.raises(adbc_driver_manager.Error, match="TW-1401"):
            with connect_with(server, token) as connection:
                count(connection)


def refusals(server, token: str) -> list[tuple[int, str]]:
    """What HTTP, gRPC and Flight SQL say to a token: 200 or OK, or the refusal and its text."""
    status, _, body = post(server.http, "/api/v1/sql", b"SELECT 1", {"Content-Type": "text/plain", "Authorization": f"Bearer {token}"})
    said = [(status, json.loads(body).get("detail", ""))]
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            metadata = [("authorization", f"Bearer {token}")]
            list(query_grpc.QueryStub(channel).Execute(query.QueryRequest(sql="SELECT 1"), metadata=metadata, timeout=TIMEOUT_S))
            said.append((0, ""))
        except grpc.RpcError as error:
            said.append((error.code().value[0], error.details()))
    try:
        with connect_with(server, token) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            said.append((0, ""))
    except adbc_driver_manager.Error as error:
        said.append((int(error.status_code), str(error)))
    return said


ACCEPTED = [200, 0, 0]
REFUSED = [401, grpc.StatusCode.UNAUTHENTICATED.value[0], int(adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED)]


def test_a_token_that_is_wrong_is_refused_on_each_interface(server):
    with Admin(server, "anna") as anna:
        token = anna.token(label="right")
    assert [code for code, _ in refusals(server, token)] == ACCEPTED
    prefix, id, secret = token.split("_", 2)
    other = "a" if secret[-1] != "a" else "b"
    for wrong in (token[:-1], f"{token[:-1]}{other}", f"{prefix}_{id}x_{secret}", f"{prefix}_{id}", secret, "x", "tw__", token.upper(), "x" * 4096):
        said = refusals(server, wrong)
        assert [code for code, _ in said] == REFUSED, (wrong, said)
        # Nobody is told which part was right, and no part of a secret comes back.
        assert not any(secret[:8] in text for _, text in said), said


def test_a_token_until_it_expires(server):
    with Admin(server, "anna") as anna:
        token = anna.token(label="brief", expires_in=duration_pb2.Duration(seconds=BRIEF_S))
    with connect_with(server, token) as connection:
        assert count(connection) == 2
        until(lambda: refusals(server, token)[0][0] != 200, "it has expired", TIMEOUT_S)
        said = refusals(server, token)
        assert [code for code, _ in said] == REFUSED and all("expired" in text for _, text in said), said
        # A connection that was made while it held is no way round.
        with pytest.raises(adbc_driver_manager.Error, match="expired.*TW-1401|TW-1401.*expired"):
            count(connection)


def test_a_token_is_never_wider_than_its_user(server):
    with Admin(server, "anna") as anna, pytest.raises(grpc.RpcError) as refused:
        anna.token(grants=[admin.Grant(role="ROLE_WRITER", tables="shop.*")])
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_pyarrow_logs_in_once(server):
    with pyarrow.flight.connect(f"grpc://{server.grpc}") as client:
        header = client.authenticate_basic_token("anna", PASSWORDS["anna"])
        options = pyarrow.flight.FlightCallOptions(headers=[header])
        info = client.get_flight_info(pyarrow.flight.FlightDescriptor.for_command(b"SELECT id FROM shop.orders"), options)
        assert client.do_get(info.endpoints[0].ticket, options).read_all().num_rows == 2
        with pytest.raises(pyarrow.flight.FlightUnauthenticatedError):
            client.authenticate_basic_token("anna", "wrong password")


def test_http_says_how_to_log_in(server):
    status, headers, body = post(server.http, "/api/v1/sql", b"SELECT 1", {"Content-Type": "text/plain"})
    assert (status, json.loads(body)["title"]) == (401, "UNAUTHENTICATED")
    assert headers["www-authenticate"].startswith("Basic realm=")
    assert http.get(server.http, "/healthz")[0] == 200
    assert http.get(server.http, "/readyz")[0] == 200
    assert http.get(server.http, "/metrics")[0] == 401


def test_who_may_not_write_sends_small_messages(server):
    with grpc.insecure_channel(server.grpc) as channel:
        info = channel.unary_unary("/arrow.flight.protocol.FlightService/GetFlightInfo")
        for name in ("bert", "anna"):
            with pytest.raises(grpc.RpcError, match="too large") as refused:
                info(b"x" * (5 << 20), metadata=[("authorization", basic(name, PASSWORDS[name]))], timeout=TIMEOUT_S)
            assert refused.value.code() == grpc.StatusCode.OUT_OF_RANGE


# Addresses of documentation, which a proxy on this machine could name.
HERE, THERE, ELSEWHERE = "192.0.2.1", "198.51.100.7", "203.0.113.9"


def ask_from(server, place: str, authorization: str) -> tuple[int, dict, dict]:
    """What a client behind a proxy is answered: status, headers and body."""
    headers = {"Content-Type": "text/plain", "Authorization": authorization, "X-Forwarded-For": place}
    status, headers, body = post(server.http, "/api/v1/sql", b"SELECT 1", headers)
    return status, headers, json.loads(body)


def guess(server, place: str, name: str) -> tuple[int, dict, dict]:
    """How many wrong passwords are looked at, and what is said to the next one: headers and body."""
    for n in range(100):
        status, headers, body = ask_from(server, place, basic(name, f"guess {n}"))
        if status != 401:
            assert status == 429, body
            return n, headers, body
    raise AssertionError("a hundred were looked at")


def test_who_guesses_passwords_is_slowed_down_and_keeps_nobody_out(server):
    with Admin(server, "carl") as carl:
        token = carl.token()
    right = basic("carl", PASSWORDS["carl"])
    assert ask_from(server, THERE, right)[0] == 200
    n, headers, said = guess(server, HERE, "carl")
    assert n >= 10 and said["title"] == "TOO_MANY_WRONG_PASSWORDS" and 1 <= int(headers["retry-after"]) <= 6, said
    # Which users there are is not told.
    n, _, of_nobody = guess(server, ELSEWHERE, "nobody-of-that-name")
    assert n >= 10 and (of_nobody["title"], of_nobody["detail"]) == (said["title"], said["detail"])
    # Who guesses does not see the right one pass; carl is let in elsewhere, and here with a token.
    assert [ask_from(server, place, right)[0] for place in (HERE, THERE, "203.0.113.10")] == [429, 200, 200]
    assert ask_from(server, HERE, f"Bearer {token}")[0] == 200
    assert ask_from(server, HERE, basic("anna", PASSWORDS["anna"]))[0] == 200
    # The one that was wrong last is no new guess.
    assert ask_from(server, ELSEWHERE, basic("nobody-of-that-name", f"guess {n - 1}"))[0] == 401
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError, match="TW-1427") as refused:
        metadata = [("authorization", right), ("x-forwarded-for", HERE)]
        list(query_grpc.QueryStub(channel).Execute(query.QueryRequest(sql="SELECT 1"), metadata=metadata, timeout=TIMEOUT_S))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_an_admin_is_told_who_guesses(server):
    guess(server, "192.0.2.77", "carl")
    with connect(server, "admin") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT principal, details FROM system.events WHERE kind = 'login.limited'")
        told = [(principal, json.loads(details)) for principal, details in cursor.fetchall()]
    of_carl = [details for principal, details in told if principal == "carl" and details["address"].startswith("192.0.2.")]
    assert of_carl and all(details["limit"] == "place" and details["wait_s"] > 0 for details in of_carl), told
    status, _, body = post(server.http, "/metrics", None, {"Authorization": basic("admin", PASSWORDS["admin"])})
    (limited,) = re.findall(r'^tidewater_logins_failed_total\{by="limited"\} (\d+)$', body.decode(), re.MULTILINE)
    assert status == 200 and int(limited) >= 1


def test_users_and_tokens_outlive_a_restart(server):
    with Admin(server, "anna") as anna:
        token = anna.token()
    server.restart()
    assert "setup http://" not in server.log.read_text().rpartition("ready grpc=")[2]
    with connect(server, "anna") as connection:
        assert count(connection) == 2
    with connect_with(server, token) as connection:
        assert count(connection) == 2
