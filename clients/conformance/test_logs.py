"""Is the log what programs can read, does it say what a person needs, and no values of rows?"""

import json
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request

import grpc
import pytest

from harness.http import sql
from harness.server import Server, binary
from harness.stubs import query, query_grpc

CANARY = "canary-5e3d"


def events(server: Server) -> list[dict]:
    lines = server.log.read_text().splitlines()
    return [json.loads(line) for line in lines if not line.startswith("ready ")]


def one(server: Server, message: str) -> dict:
    (event,) = [event for event in events(server) if event["message"] == message]
    return event


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """Its log is a file, so it is JSON; every statement is slow."""
    server = Server(tmp_path_factory.mktemp("logged"), settings={"log.slow_query": "0"}).start()
    yield server
    server.kill()


def ask(server: Server, statement: str, headers: dict) -> tuple[int, dict, bytes]:
    request = urllib.request.Request(
        f"http://{server.http}/api/v1/sql", data=statement.encode(), headers={"Content-Type": "application/sql", **headers}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def test_a_start_says_what_holds(logged):
    started = one(logged, "started")
    assert started["level"] == "INFO" and started["data"] == str(logged.data) and started["version"] and started["disk_format"]
    listening = one(logged, "listening")
    assert (listening["grpc"], listening["http"]) == (f"grpc://{logged.grpc}", f"http://{logged.http}")
    assert one(logged, "auth is off: every caller on this machine is admin")["level"] == "WARN"
    limits = one(logged, "limits")
    assert limits["memory_bytes"] >= 512 << 20 and limits["min_free_bytes"] >= 512 << 20 and limits["queries_waiting"] == 64
    assert one(logged, "TLS is off")
    assert any(event["message"].startswith("rows are on disk when") for event in events(logged))


def test_slow_statements_are_logged_without_their_values(logged):
    assert sql(logged.http, "CREATE TABLE slow (id BIGINT NOT NULL, v VARCHAR, PRIMARY KEY (id))")[0] == 200
    assert sql(logged.http, f"INSERT INTO slow VALUES (471147, '{CANARY}')")[0] == 200
    status, headers, answer = sql(logged.http, f"SELECT id FROM slow WHERE v = '{CANARY}' AND id > 471146")
    assert (status, len(answer["rows"])) == (200, 1)
    # What cannot be done is told to who asked.
    status, _, refused = sql(logged.http, f"SELECT CAST('{CANARY}' AS BIGINT)")
    assert status >= 400 and CANARY in json.dumps(refused)
    logged.wait_for_log("a statement was slow", "SELECT CAST(? AS BIGINT)")
    slow = [event for event in events(logged) if event["message"] == "a statement was slow"]
    shown = {event["sql"]: event for event in slow}
    event = shown["SELECT id FROM slow WHERE v = ? AND id > ?"]
    assert event["query_id"] == answer["query_id"] and event["principal"] and event["interface"] and event["rows"] == 1
    assert event["level"] == "WARN" and event["duration_ms"] >= 0 and event["error"] == "none"
    assert shown["SELECT CAST(? AS BIGINT)"]["error"].startswith("TW-")
    assert "INSERT INTO slow VALUES (?, ?)" in shown
    text = logged.log.read_text()
    assert CANARY not in text and "471147" not in text


def test_every_answer_has_an_id(logged):
    minted = {ask(logged, "SELECT 1", {})[1]["x-request-id"] for _ in range(3)}
    assert len(minted) == 3 and all(len(id) == 36 for id in minted)
    assert ask(logged, "SELECT 1", {"X-Request-Id": "trace/7:a_b-c.d"})[1]["x-request-id"] == "trace/7:a_b-c.d"
    for bad in ("a b", 'a"b', "x" * 129):
        assert ask(logged, "SELECT 1", {"X-Request-Id": bad})[1]["x-request-id"] != bad
    status, headers, _ = ask(logged, "SELECT 1", {"X-Request-Id": "refused-1", "Origin": "http://example.org"})
    assert (status, headers["x-request-id"]) == (403, "refused-1")


def test_every_answer_over_grpc_has_an_id(logged):
    def id_of(answered) -> str:
        # An error without a message has its headers among the trailers.
        return dict((*(answered.initial_metadata() or ()), *(answered.trailing_metadata() or ())))["x-request-id"]

    with grpc.insecure_channel(logged.grpc) as channel:
        stub = query_grpc.QueryStub(channel)
        answer = stub.Execute(query.QueryRequest(sql="SELECT 1"), timeout=60, metadata=[("x-request-id", "grpc-1")])
        assert list(answer) and id_of(answer) == "grpc-1"
        with pytest.raises(grpc.RpcError) as refused:
            stub.Cancel(query.CancelRequest(query_id="nothing"), timeout=60)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND and len(id_of(refused.value)) == 36


def test_text_when_it_is_asked_for(tmp_path):
    server = Server(tmp_path / "text", settings={"log.format": "text", "log.slow_query": "off"}).start()
    try:
        lines = server.log.read_text().splitlines()
        assert any("INFO" in line and "started" in line and "version=" in line for line in lines), lines
        assert "\x1b" not in server.log.read_text()
        assert sql(server.http, "SELECT 1")[0] == 200
        assert server.stop() == 0
        assert "a statement was slow" not in server.log.read_text()
    finally:
        server.kill()


def test_mistakes_in_a_file_are_told_together_with_their_lines(tmp_path):
    (tmp_path / "tidewater.toml").write_text('[server]\ngprc = "127.0.0.1:1"\n\n[query]\nthreads = 0\n')
    done = subprocess.run([binary(), "config", "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 64
    assert "tidewater.toml:2:1" in done.stderr and "did you mean 'server.grpc'?" in done.stderr
    assert "tidewater.toml:5:11" in done.stderr and "TW-1407" in done.stderr
    (tmp_path / "tidewater.toml").write_text("[query]\nthreads = 1\n")
    done = subprocess.run([binary(), "config", "show", "--origin"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "file tidewater.toml:2:11" in done.stdout, done


def test_the_example_is_a_configuration(tmp_path):
    example = subprocess.run([binary(), "config", "example"], capture_output=True, text=True, timeout=60).stdout
    taken = [line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line for line in example.splitlines()]
    (tmp_path / "tidewater.toml").write_text("\n".join(taken))
    done = subprocess.run([binary(), "config", "check"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done


def test_the_service_manager_is_told(tmp_path):
    # Paths of sockets have 108 bytes at most, and tmp_path is long.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = f"{folder}/notify"
        manager.bind(address)
        manager.settimeout(60)
        server = Server(tmp_path / "served", environment={"NOTIFY_SOCKET": address}).start()
        try:
            assert manager.recv(4096) == b"READY=1\n"
            assert server.stop() == 0
            assert manager.recv(4096) == b"STOPPING=1\n"
        finally:
            server.kill()
