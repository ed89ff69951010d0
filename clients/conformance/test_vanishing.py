"""What is left of clients that go away? A query that nobody waits for stops at once; connections that vanish leave nothing behind."""

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

from harness.client import Client
from harness.flight import content
from harness.flight_sql import Wire, prepared, statement
from harness.http import get
from harness.server import Server
from harness.waiting import until

TEN_MINUTES = "SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) WHERE (a.x * b.y) % 7 = 3"
"""Far more than ten minutes of work."""

ENDLESS = "SELECT a.x FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y)"
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


def gauges(server: Server) -> dict[str, float]:
    """What a client that is gone must not leave."""
    text = get(server.http, "/metrics")[1]
    names = ("tidewater_flight_sessions", "tidewater_prepared_statements", "tidewater_planned_queries", "tidewater_queries_running")
    held = {name: float(re.search(rf"^{name} (\S+)$", text, re.M)[1]) for name in names}
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


@pytest.mark.parametrize("how", [Adbc, CancelFlightInfo], ids=["dropped stream", "CancelFlightInfo"])
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
