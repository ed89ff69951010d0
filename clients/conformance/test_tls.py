"""Do clients that know nothing of ours get along over TLS, and do certificates change under way?"""

import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from http.client import HTTPException

import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import grpc
import pyarrow.flight
import pytest
from adbc_driver_flightsql import DatabaseOptions

from harness.certificates import Authority, Files
from harness.server import Server, binary

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture
def files(tmp_path, authority):
    files = Files(tmp_path)
    files.put(authority.issue())
    return files


@pytest.fixture
def server(tmp_path, authority, files):
    server = Server(tmp_path / "server", settings=files.settings, ca=authority.pem).start()
    yield server
    server.kill()


def connect(server, ca: bytes):
    trusted = {DatabaseOptions.TLS_ROOT_CERTS.value: ca.decode()}
    return adbc_driver_flightsql.dbapi.connect(f"grpc+tls://{server.grpc}", db_kwargs=trusted, autocommit=True)


def ask(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchall()


def https(server, path: str, ca: bytes) -> tuple[int, str]:
    context = ssl.create_default_context(cadata=ca.decode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(f"https://{server.http}{path}", timeout=TIMEOUT_S) as answer:
        return answer.status, answer.read().decode()


def cli(*words, **environment):
    """Exit code and what was said."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWATER_")}
    ended = subprocess.run(
        [binary(), *words], capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, env={**plain, **environment}
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_adbc(server, authority):
    with connect(server, authority.pem) as connection:
        assert ask(connection) == [(1,)]
    with pytest.raises(adbc_driver_manager.Error, match="certificate"):
        with connect(server, Authority().pem) as connection:
            ask(connection)


def test_flight(server, authority):
    client = pyarrow.flight.connect(f"grpc+tls://{server.grpc}", tls_root_certs=authority.pem)
    assert "CreatePreparedStatement" in [action.type for action in client.list_actions()]
    client.close()


def test_http(server, authority):
    assert https(server, "/readyz", authority.pem) == (200, "ok\n")
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        https(server, "/readyz", Authority().pem)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(server, authority, newest):
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.maximum_version = newest
    context.set_alpn_protocols(["h2", "http/1.1"])
    for address in (server.grpc, server.http):
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as plain:
            with context.wrap_socket(plain, server_hostname=host) as stream:
                assert stream.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[newest]
                assert stream.selected_alpn_protocol() == "h2"


def test_plain_text_is_no_way_in_and_hangs_nobody(server):
    with grpc.insecure_channel(server.grpc) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", lambda _: b"", lambda answer: answer)
        with pytest.raises(grpc.RpcError) as refused:
            check(None, timeout=TIMEOUT_S)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    with pytest.raises((OSError, HTTPException)):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{server.http}/readyz", timeout=TIMEOUT_S)


def test_a_changed_certificate_is_used_by_new_connections(server, authority, files):
    with connect(server, authority.pem) as before:
        assert ask(before) == [(1,)]
        other = Authority()
        files.put(other.issue())
        server.wait_for_log("the TLS certificate was changed")
        with connect(server, other.pem) as after:
            assert ask(after) == [(1,)]
        assert https(server, "/readyz", other.pem) == (200, "ok\n")
        assert ask(before) == [(1,)]


def test_a_pair_that_does_not_fit_is_not_used(server, authority, files):
    files.put((authority.issue()[0], authority.issue()[1]))
    server.wait_for_log("ERROR", "the TLS certificate cannot be changed", "is not the key of the certificate")
    with connect(server, authority.pem) as connection:
        assert ask(connection) == [(1,)]


def test_an_expired_certificate_is_told_and_refused(tmp_path, authority):
    files = Files(tmp_path)
    files.put(authority.issue(days=-1))
    server = Server(tmp_path / "server", settings=files.settings, ca=authority.pem)
    server._spawn()
    try:
        server.wait_for_log("WARN", "the TLS certificate expired")
        server.wait_for_log("ready grpc=")
        with pytest.raises(adbc_driver_manager.Error, match="expired"):
            with connect(server, authority.pem) as connection:
                ask(connection)
    finally:
        server.kill()


def test_a_start_without_a_pair_that_fits_is_refused(tmp_path, authority):
    files = Files(tmp_path)
    files.put((authority.issue()[0], authority.issue()[1]))
    server = Server(tmp_path / "server", settings=files.settings)
    code, said = server.refused()
    assert (code, "is not the key of the certificate" in said) == (64, True), said
    settings = [word for name, value in files.settings.items() for word in ("--set", f"{name}={value}")]
    code, said = cli("config", "check", *settings)
    assert (code, "is not the key of the certificate" in said) == (64, True), said


def test_command_line(server, authority, tmp_path):
    ca, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    ca.write_bytes(authority.pem)
    other.write_bytes(Authority().pem)
    address = f"https://{server.grpc}"
    assert cli("health", "--server", address, "--ca", ca) == (0, "ok\n")
    assert cli("sql", "-c", "SELECT 1 AS one", "--format", "csv", TIDEWATER_SERVER=address, TIDEWATER_CA=str(ca)) == (0, "one\n1\n")
    code, said = cli("health", "--server", address, "--ca", other)
    assert code == 1 and "certificate" in said and "--ca" in said, said
    code, said = cli("health", "--server", address, "--ca", tmp_path / "missing.pem")
    assert code == 1 and "missing.pem" in said, said
    # Whatever this machine trusts, it is not this authority.
    code, said = cli("health", "--server", address)
    assert code == 1 and "--ca" in said, said
