"""What does a test find ready? A server of its own folder, clients, and loaded tables."""

import adbc_driver_flightsql.dbapi
import pytest

from harness.client import Client
from harness.server import Server, binary


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not binary().exists():
        pytest.exit(f"there is no server at {binary()}: build it, or set TIDEWATER_BIN", returncode=2)


def pytest_terminal_summary(terminalreporter):
    """A check that this machine does not allow is no check: it is told, also with -q."""
    for report in terminalreporter.stats.get("skipped", []):
        _, _, reason = report.longrepr
        if "NOT CHECKED" in reason:
            terminalreporter.write_line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}", yellow=True, bold=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One a test module."""
    server = Server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.kill()


@pytest.fixture
def client(server):
    with Client(server.grpc) as client:
        yield client


@pytest.fixture
def adbc(server):
    with adbc_driver_flightsql.dbapi.connect(f"grpc://{server.grpc}", autocommit=True) as connection:
        yield connection


@pytest.fixture
def table_name(request):
    """A name of the test's own."""
    return "t_" + "".join(c if c.isalnum() else "_" for c in request.node.name).lower()[:60]
