"""What is left of clients that go away? A query that nobody waits for stops at once; connections that vanish leave nothing behind."""

import contextlib
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import adbc_driver_flightsql.dbapi
import pyarrow as pa
import pyarrow.flight as flight
import pytest
from adbc_driver_flightsql import DatabaseOptions

from harness.client import Client
from harness.flight import content
from harness.flight_sql import Wire, prepared, statement
from harness.http import get
from harness.server import Server
from harness.waiting import until

TEN_MINUTES = "SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) WHERE (a.x * b.y) % 7 = 3"
"""Far more than ten minutes of work."""

ENDLESS = "SELECT a.x FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y)"
HELD = ("tidewater_flight_sessions", "tidewater_prepared_statements", "tidewater_planned_queries", "tidewater_queries_running")
ROUNDS = 3
CONNECTIONS = 1_000
ADBC_CONNECTIONS = 50
AT_ONCE = 50
MINUTE_S = 120
"""What is to go after a minute has gone by then."""


def cpu_s(server: Server) -> float:
    """Processor time of the process so far, user and system."""
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used_in_a_second(server: Server) -> float:
    before = cpu_s(server)
    time.sleep(1)
    return cpu_s(server) - before


def resident_bytes(server: Server) -> int:
    return int(re.search(r"VmRSS:\s+(\d+) kB", pathlib.Path(f"/proc/{server.process.pid}/status").read_text())[1]) * 1024


def gauge(server: Server, name: str) -> float:
    return float(re.search(rf"^{name} (\S+)$", get(server.http, "/metrics")[1], re.M)[1])


def gauges(server: Server) -> dict[str, float]:
    """What a client that is gone must not leave."""
    held = {name: gauge(server, name) for name in HELD}
    return held | {"open files": open_files(server)}


def open_files(server: Server) -> int:
    """Once the number stays the same for a second: the connection that asked for metrics closes in its own time."""
    seen = []
    deadline = time.monotonic() + 60
    while len(seen) < 20 or len(set(seen[-20:])) > 1:
        assert time.monotonic() < deadline, f"open files come and go: {seen[-20:]}"
        seen.append(len(os.listdir(f"/proc/{server.process.pid}/fd")))
        time.sleep(0.05)
    return seen[-1]


def running(client: Client) -> int:
    return client.value("SELECT count(*) FROM system.queries WHERE state = 'running' AND sql LIKE '%generate_series%' AND sql NOT LIKE '%system.queries%'")


class Adbc:
    """By dropping the stream, as most clients do."""

    def __init__(self, server: Server):
        self.connection = adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True)
        self.cursor = self.connection.cursor()
        self.cursor.execute(TEN_MINUTES)

    def cancel(self):
        self.cursor.adbc_cancel()
        self.cursor.close()

    def close(self):
        self.connection.close()


class CancelFlightInfo:
    """By the action; the stream stays open until the server ends it."""

    def __init__(self, server: Server):
        self.client = flight.connect(f"grpc://{server.grpc}")
        self.info = self.client.get_flight_info(flight.FlightDescriptor.for_command(TEN_MINUTES.encode()))
        self.reader = self.client.do_get(self.info.endpoints[0].ticket)
        self.ended = threading.Thread(target=self._read)
        self.ended.start()

    def _read(self):
        with pytest.raises((flight.FlightError, pa.ArrowException)):
            # `read_all` takes a server's CANCELLED for Ctrl-C, and interrupts the whole run.
            while True:
                self.reader.read_chunk()

    def cancel(self):
        # CancelFlightInfoRequest{info = 1}, bare.
        list(self.client.do_action(flight.Action("CancelFlightInfo", content(1, self.info.serialize()))))

    def close(self):
        self.ended.join(timeout=20)
        assert not self.ended.is_alive()
        self.client.close()


class ClosedConnection(Adbc):
    """By closing the connection with everything that was opened over it."""

    def cancel(self):
        self.connection.close()

    def close(self):
        pass


class Killed:
    """By the end of the process, which says nothing to anybody."""

    def __init__(self, server: Server):
        self.process = subprocess.Popen([sys.executable, "-c", ENDLESS_CLIENT, server.grpc, TEN_MINUTES])

    def cancel(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.cancel()


class Reset:
    """By RST: a proxy between the two that fails."""

    def __init__(self, server: Server):
        self.proxy = Proxy(server.grpc)
        self.client = flight.connect(f"grpc://{self.proxy.address}")
        info = self.client.get_flight_info(flight.FlightDescriptor.for_command(TEN_MINUTES.encode()))
        self.reader = self.client.do_get(info.endpoints[0].ticket)

    def cancel(self):
        self.proxy.reset()

    def close(self):
        self.proxy.reset()
        self.client.close()


class Proxy:
    """Passes on the bytes of one connection, until it is reset on both sides."""

    def __init__(self, address: str):
        host, port = address.split(":")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.server_side = socket.create_connection((host, int(port)), timeout=MINUTE_S)
        self.client_side = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        self.client_side, _ = self.listener.accept()
        threading.Thread(target=self._pass_on, args=(self.server_side, self.client_side), daemon=True).start()
        self._pass_on(self.client_side, self.server_side)

    @staticmethod
    def _pass_on(source: socket.socket, to: socket.socket):
        with contextlib.suppress(OSError):
            while some := source.recv(1 << 16):
                to.sendall(some)

    def reset(self):
        self.listener.close()
        for side in (self.server_side, self.client_side):
            if side is not None and side.fileno() >= 0:
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Also where the other thread waits for bytes of it.
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RD)
                side.close()


ENDLESS_CLIENT = """
import sys
import adbc_driver_flightsql.dbapi as dbapi
with dbapi.connect("grpc://" + sys.argv[1], autocommit=True) as connection, connection.cursor() as cursor:
    cursor.execute(sys.argv[2])
    cursor.fetchall()
"""


@pytest.mark.parametrize(
    "how", [Adbc, ClosedConnection, Killed, Reset, CancelFlightInfo],
    ids=["dropped stream", "closed connection", "killed process", "reset connection", "CancelFlightInfo"],
)  # fmt: skip
def test_a_cancelled_query_stops_within_a_second(server, how):
    """https://github.com/PostHog/duckgres/issues/232
    https://github.com/lakeops-org/queryflux/issues/111
    """
    with Client(server.grpc, timeout_s=20) as client:
        query = how(server)
        try:
            until(lambda: running(client) == 1, "the query runs")
            before = used_in_a_second(server)
            assert before > 0.1, "the query does nothing that could be stopped"
            query.cancel()
            after = used_in_a_second(server)
            assert after < before / 10, f"{before:.2f} s of processor time in the second before, {after:.2f} s in the second after"
            assert running(client) == 0
            assert "tidewater_queries_running 0\n" in get(server.http, "/metrics")[1]
        finally:
            query.close()


def vanish(server: Server, nth: int):
    """Connects, prepares, queries, and is gone: what it prepared it never closes."""
    with Wire(server) as wire:
        handle = wire.prepare(f"SELECT {nth} AS n")[1]
        info = wire.info(prepared(handle) if nth % 2 else statement(f"SELECT {nth} AS n"))
        # One in three never fetches, one fetches, one leaves in the middle of an endless answer.
        if nth % 3 == 1:
            assert wire.fetch(info).to_pylist() == [{"n": nth}]
        if nth % 3 == 2:
            (endpoint,) = wire.info(statement(ENDLESS)).endpoints
            wire.client.do_get(endpoint.ticket).read_chunk()


ADBC_CLIENT = f"""
import os, sys
import adbc_driver_flightsql.dbapi as dbapi
kept = []
for nth in range({ADBC_CONNECTIONS}):
    connection = dbapi.connect("grpc://" + sys.argv[1], autocommit=True)
    cursor = connection.cursor()
    cursor.execute("SELECT CAST(? AS BIGINT) AS n", (nth,))
    assert cursor.fetchone() == (nth,)
    kept.append((connection, cursor))
os._exit(7)
"""
"""A process that ends with everything open."""


def vanish_over_adbc(server: Server):
    ended = subprocess.run([sys.executable, "-c", ADBC_CLIENT, server.grpc], capture_output=True, text=True, timeout=100)
    assert ended.returncode == 7, ended.stderr


def reset(server: Server):
    """A connection that ends with RST in the middle of HTTP/2's first words."""
    host, port = server.grpc.split(":")
    raw = socket.create_connection((host, int(port)), timeout=20)
    raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def test_a_prepared_statement_outlives_its_connection(server):
    """A proxy may cut a connection at any time: its client connects again, and goes on with the handle that it has."""
    with Wire(server) as first:
        handle = first.prepare("SELECT 7 AS n")[1]
    with Wire(server) as second:
        assert second.fetch(second.info(prepared(handle))).to_pylist() == [{"n": 7}]


def come_and_go(server: Server, nth: int):
    """As a program does that closes what it opens; its session is one that cookies hold."""
    options = {DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true"}
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", db_kwargs=options, autocommit=True) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET max_rows = 5")
            cursor.execute("SELECT CAST(? AS BIGINT) AS n", (nth,))
            assert cursor.fetchone() == (nth,)
        if nth == 0:
            assert gauge(server, "tidewater_flight_sessions") > 0, "there is no session that could be left"


@pytest.mark.slow
def test_connections_that_are_closed_leave_nothing(tmp_path):
    """No session, no statement and, from the second round of 1,000 on, no memory."""
    server = Server(tmp_path / "server").start()
    try:
        memory = []
        for _ in range(ROUNDS):
            with ThreadPoolExecutor(AT_ONCE) as threads:
                list(threads.map(lambda nth: come_and_go(server, nth), range(CONNECTIONS)))
            for name in HELD:
                # CloseSession and the others are answered before a connection is closed.
                until(lambda: gauge(server, name) == 0, f"{name} is 0")
            memory.append(resident_bytes(server))
        assert memory[2] <= memory[1] * 1.05, f"resident memory after each round: {memory}"
    finally:
        server.kill()


@pytest.mark.slow
def test_connections_that_vanish_leave_nothing(tmp_path):
    """After each of three rounds of 1,000 all counts are those of the first; the third takes no more memory than the second."""
    server = Server(tmp_path / "server").start()
    try:
        held, memory = [], []
        for _ in range(ROUNDS):
            with ThreadPoolExecutor(AT_ONCE) as threads:
                list(threads.map(lambda nth: vanish(server, nth), range(CONNECTIONS)))
                list(threads.map(lambda _: reset(server), range(CONNECTIONS // 10)))
            vanish_over_adbc(server)
            until(lambda: gauges(server)["tidewater_queries_running"] == 0, "no query runs", MINUTE_S)
            # Planned queries that nobody fetches wait for a minute, and so do prepared statements once their connection has ended.
            if not held:
                assert gauges(server)["tidewater_prepared_statements"] > 0, "nothing was prepared that could be left"
            until(lambda: gauges(server)["tidewater_planned_queries"] == 0, "no planned query waits", MINUTE_S)
            until(lambda: gauges(server)["tidewater_prepared_statements"] == 0, "no prepared statement is left", MINUTE_S)
            held.append(gauges(server))
            memory.append(resident_bytes(server))
        assert held == [held[0]] * ROUNDS
        assert memory[2] <= memory[1] * 1.05, f"resident memory after each round: {memory}"
    finally:
        server.kill()
