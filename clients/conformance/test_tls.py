"""Do clients that know nothing of ours get along over TLS, and do certificates change under way?"""

import contextlib
import json
import os
import re
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
from harness.flight import content
from harness.flight_session import SERVICE
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
        server.wait_for_log("the TLS certificates were changed")
        with connect(server, other.pem) as after:
            assert ask(after) == [(1,)]
        assert https(server, "/readyz", other.pem) == (200, "ok\n")
        assert ask(before) == [(1,)]


def test_a_pair_that_does_not_fit_is_not_used(server, authority, files):
    files.put((authority.issue()[0], authority.issue()[1]))
    server.wait_for_log("ERROR", "the TLS certificates cannot be changed", "is not the key of the certificate")
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


class Mutual:
    """A server that takes client certificates of an authority. `anna` is its admin."""

    def __init__(self, folder, mode: str):
        self.servers, self.clients = Authority(), Authority()
        files, client_ca = Files(folder), folder / "clients.pem"
        files.put(self.servers.issue())
        client_ca.write_bytes(self.clients.pem)
        settings = {**files.settings, "auth": "on", "tls.client_ca": str(client_ca), "tls.client_auth": mode}
        self.server = Server(folder / "server", settings=settings, ca=self.servers.pem)

    def connect(self, pair=None, **options):
        options[DatabaseOptions.TLS_ROOT_CERTS.value] = self.servers.pem.decode()
        if pair is not None:
            chain, key = (part.decode() for part in pair)
            options |= {DatabaseOptions.MTLS_CERT_CHAIN.value: chain, DatabaseOptions.MTLS_PRIVATE_KEY.value: key}
        return adbc_driver_flightsql.dbapi.connect(f"grpc+tls://{self.server.grpc}", db_kwargs=options, autocommit=True)

    def asks(self, pair=None, **options):
        with self.connect(pair, **options) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            return cursor.fetchone()[0]


    def handshake(self, pair, *messages: bytes) -> str:
        """The bearer that a handshake with these messages gives, over a connection with this certificate."""
        credentials = grpc.ssl_channel_credentials(self.servers.pem, private_key=pair[1], certificate_chain=pair[0])
        with grpc.secure_channel(self.server.grpc, credentials) as channel:
            do = channel.stream_stream(SERVICE + "Handshake", lambda message: message, lambda message: message)
            call = do(iter(messages), timeout=TIMEOUT_S)
            list(call)
            return dict(call.initial_metadata())["authorization"]


def basic_auth(name: str, password: str) -> bytes:
    """A HandshakeRequest as older clients send it: its payload is a BasicAuth."""
    return content(2, content(2, name.encode()) + content(3, password.encode()))


def make_anna(server, ca: bytes):
    server.wait_for_log("setup https://")
    (code,) = re.findall(r"^setup https://\S+/setup\?code=(\S+)$", server.log.read_text(), re.MULTILINE)
    body = json.dumps({"code": code, "name": "anna", "password": "annas password"}).encode()
    request = urllib.request.Request(f"https://{server.http}/api/v1/setup", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=ssl.create_default_context(cadata=ca.decode())) as answer:
        assert answer.status == 201


def test_a_client_certificate_is_a_login(tmp_path):
    mutual = Mutual(tmp_path, "optional")
    server = mutual.server.start()
    try:
        make_anna(server, mutual.servers.pem)
        anna = mutual.clients.issue(name="anna")
        assert mutual.asks(anna) == "anna"
        assert mutual.asks(username="anna", password="annas password") == "anna", "without one it goes on as before"
        # A header counts more than a certificate.
        with pytest.raises(adbc_driver_manager.Error, match="UNAUTHENTICATED"):
            mutual.asks(anna, **{DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer tw_nosuch_secret"})
        for pair in [None, mutual.clients.issue(name="nobody")]:
            with pytest.raises(adbc_driver_manager.Error, match="UNAUTHENTICATED"):
                mutual.asks(pair)
        with pytest.raises(adbc_driver_manager.Error, match="(?i)certificate|tls|UNAVAILABLE"):
            mutual.asks(Authority().issue(name="anna"))
        # A handshake gives a bearer, as Java's clients ask for.
        with pyarrow.flight.connect(
            f"grpc+tls://{server.grpc}", tls_root_certs=mutual.servers.pem, cert_chain=anna[0], private_key=anna[1]
        ) as client:
            assert "SetSessionOptions" in [action.type for action in client.list_actions()]
        # Browsers show certificates for pages of others, too: over HTTP one is no login.
        context = ssl.create_default_context(cadata=mutual.servers.pem.decode())
        cert, key = tmp_path / "anna.pem", tmp_path / "anna.key"
        cert.write_bytes(anna[0])
        key.write_bytes(anna[1])
        context.load_cert_chain(cert, key)
        request = urllib.request.Request(f"https://{server.http}/api/v1/session", b"", method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context)
        assert refused.value.code == 401
    finally:
        server.kill()


def test_a_name_in_a_handshake_counts_more_than_a_certificate(tmp_path):
    mutual = Mutual(tmp_path, "optional")
    server = mutual.server.start()
    try:
        make_anna(server, mutual.servers.pem)
        anna, nobody = mutual.clients.issue(name="anna"), mutual.clients.issue(name="nobody")
        for pair, messages in [(anna, []), (anna, [b""]), (nobody, [basic_auth("anna", "annas password")])]:
            bearer = mutual.handshake(pair, *messages)
            assert mutual.asks(None, **{DatabaseOptions.AUTHORIZATION_HEADER.value: bearer}) == "anna"
        for pair, messages in [(anna, [basic_auth("anna", "another password")]), (anna, [basic_auth("bert", "x")]), (nobody, [])]:
            with pytest.raises(grpc.RpcError) as refused:
                mutual.handshake(pair, *messages)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    finally:
        server.kill()


def test_who_does_not_look_at_the_servers_certificate_shows_its_own(tmp_path):
    """https://github.com/gizmodata/gizmosql/blob/main/CHANGELOG.md#1225---2026-05-04"""
    mutual = Mutual(tmp_path, "optional")
    server = mutual.server.start()
    try:
        make_anna(server, mutual.servers.pem)
        chain, key = (part.decode() for part in mutual.clients.issue(name="anna"))
        own = {DatabaseOptions.MTLS_CERT_CHAIN.value: chain, DatabaseOptions.MTLS_PRIVATE_KEY.value: key}
        for options, who in [(own, "anna"), ({}, None)]:
            options = {DatabaseOptions.TLS_SKIP_VERIFY.value: "true", **options}
            with contextlib.nullcontext() if who else pytest.raises(adbc_driver_manager.Error, match="UNAUTHENTICATED"):
                with adbc_driver_flightsql.dbapi.connect(f"grpc+tls://{server.grpc}", db_kwargs=options, autocommit=True) as connection:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT current_user")
                        assert cursor.fetchone()[0] == who
    finally:
        server.kill()


def test_a_client_certificate_can_be_required(tmp_path):
    mutual = Mutual(tmp_path, "required")
    mutual.server.settings["tls.client_auth"] = "optional"
    server = mutual.server.start()
    make_anna(server, mutual.servers.pem)
    server.stop()
    server.settings["tls.client_auth"] = "required"
    server.log.unlink()
    server._spawn()
    try:
        server.wait_for_log("ready grpc=")
        assert mutual.asks(mutual.clients.issue(name="anna")) == "anna"
        for pair in [None, Authority().issue(name="anna")]:
            with pytest.raises(adbc_driver_manager.Error):
                mutual.asks(pair, username="anna", password="annas password")
        with pytest.raises((OSError, urllib.error.URLError)):
            https(server, "/readyz", mutual.servers.pem)
        ca, cert, key = tmp_path / "ca.pem", tmp_path / "anna.pem", tmp_path / "anna.key"
        for file, pem in zip((ca, cert, key), (mutual.servers.pem, *mutual.clients.issue(name="anna")), strict=True):
            file.write_bytes(pem)
        words = ["sql", "-c", "SELECT current_user AS u", "--format", "csv", "--server", f"https://{server.grpc}", "--ca", ca]
        assert cli(*words, "--client-cert", cert, "--client-key", key) == (0, "u\nanna\n")
        assert cli(*words)[0] == 1
    finally:
        server.kill()


def test_client_authorities_that_cannot_be_read_refuse_the_start(tmp_path, authority):
    files, client_ca = Files(tmp_path), tmp_path / "clients.pem"
    files.put(authority.issue())
    client_ca.write_text("nothing")
    for settings, part in [
        ({"tls.client_ca": str(client_ca)}, "has no certificate in it"),
        ({"tls.client_ca": str(tmp_path / "missing.pem")}, "cannot be read"),
        ({"tls.client_auth": "required"}, "tls.client_ca is not set"),
    ]:
        code, said = Server(tmp_path / part.split()[0], settings={**files.settings, **settings}).refused()
        assert code == 64 and part in said, said


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
