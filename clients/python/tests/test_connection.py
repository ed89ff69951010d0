"""Does a URL mean what it says, and does nobody speak in clear over a network by mistake?"""

import base64

import grpc
import pytest

import tidewater
from tidewater import Connection
from tidewater.errors import error_of, of_rpc


def test_a_whole_url():
    found = Connection.parse("tidewater://anna:p%40ss%2Fword@db.example:9000/sales?tls=off&timeout=5")
    assert (found.host, found.port, found.user, found.password, found.schema) == ("db.example", 9000, "anna", "p@ss/word", "sales")
    assert (found.uses_tls, dict(found.options)) == (False, {"timeout": "5"})
    assert found.authorization == "Basic " + base64.b64encode(b"anna:p@ss/word").decode()
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize(
    "url, address, uses_tls",
    [
        ("127.0.0.1:8815", "127.0.0.1:8815", False),
        ("localhost", "localhost:8815", False),
        ("tidewater://[::1]:9", "[::1]:9", False),
        ("tidewater://db.example", "db.example:8815", True),
        ("tidewater://10.0.0.1", "10.0.0.1:8815", True),
        ("tidewater://10.0.0.1?tls=off", "10.0.0.1:8815", False),
        ("tidewater://127.0.0.1?tls=on", "127.0.0.1:8815", True),
        ("tidewater://127.0.0.1?ca=/ca.pem", "127.0.0.1:8815", True),
        ("grpc+tls://127.0.0.1", "127.0.0.1:8815", True),
    ],
)
def test_tls_is_on_but_for_this_machine(url, address, uses_tls):
    found = Connection.parse(url)
    assert (found.address, found.uses_tls) == (address, uses_tls)
    assert Connection.parse(found) is found


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "tidewater://127.0.0.1:port",
        "tidewater://127.0.0.1?tls=maybe",
        "tidewater://127.0.0.1?key=/k.pem",
        "x?tls=off&ca=/c",
        "tidewater://127.0.0.1?tsl=off",
        "tidewater://[::1",
        "tidewater://anna:12#34@db.example",
    ],
)
def test_a_url_that_means_nothing(url):
    with pytest.raises(tidewater.InvalidRequestError):
        Connection.parse(url)


def test_an_error_says_nothing_of_the_password():
    with pytest.raises(tidewater.InvalidRequestError) as wrong:
        Connection.parse("tidewater://anna:secret/1@db.example")
    assert "secret" not in str(wrong.value) and wrong.value.__context__ is None


def test_a_certificate_that_is_not_there():
    with pytest.raises(tidewater.InvalidRequestError, match="ca cannot be read"):
        tidewater.Producer("t", "p", "tidewater://127.0.0.1:1?ca=/nowhere.pem")


def test_the_environment():
    assert Connection.from_env({}).address == "127.0.0.1:8815"
    found = Connection.from_env({"TIDEWATER_SERVER": "db.example:1", "TIDEWATER_TOKEN": "tw_1", "TIDEWATER_CA": "/ca.pem"})
    assert (found.address, found.authorization, found.ca) == ("db.example:1", "Bearer tw_1", "/ca.pem")
    found = Connection.from_env({"TIDEWATER_SERVER": "tidewater://anna@db", "TIDEWATER_PASSWORD": "secret", "TIDEWATER_TOKEN": "tw_1"})
    assert found.authorization == "Basic " + base64.b64encode(b"anna:secret").decode()


def test_a_producer_finds_its_server_by_the_environment(server, monkeypatch):
    monkeypatch.setenv("TIDEWATER_SERVER", server.address)
    with tidewater.Producer("t", "p") as producer:
        producer.send({"id": 1})
    assert server.rows["t"] == [{"id": 1}]


def test_an_error_says_what_to_do():
    error = error_of("NOT_FOUND", "table 'public.t' not found; SHOW TABLES lists what there is (TW-1010)")
    assert isinstance(error, tidewater.NotFoundError)
    assert (error.code, error.message, error.hint) == ("TW-1010", "table 'public.t' not found", "SHOW TABLES lists what there is")
    assert not error.retryable


@pytest.mark.parametrize(
    "status, reason, retryable",
    [
        ("UNAVAILABLE", "", True),
        ("RESOURCE_EXHAUSTED", "MEMORY_PRESSURE", True),
        ("RESOURCE_EXHAUSTED", "TOO_MANY_PRODUCERS", False),
        ("RESOURCE_EXHAUSTED", "DEDUP_BUDGET", False),
        ("INTERNAL", "", True),
        ("INTERNAL", "BUG", False),
        ("FAILED_PRECONDITION", "PRODUCER_FENCED", False),
        ("UNAUTHENTICATED", "", False),
    ],
)
def test_what_may_be_tried_again(status, reason, retryable):
    assert tidewater.Error("x", status=status, reason=reason).retryable == retryable


def test_a_call_that_fails_before_it_begins():
    class Failed(grpc.RpcError):
        pass

    assert of_rpc(Failed("broken")).status == "UNKNOWN"
