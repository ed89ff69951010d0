"""What does a test find ready? A server of its own folder, clients, and loaded tables."""

import pathlib
import subprocess

import adbc_driver_flightsql.dbapi
import pytest

from harness import known_bugs, results
from harness.client import Client
from harness.engines import ENGINES
from harness.server import Server, binary

HERE = pathlib.Path(__file__).parent
OTHERS = ("Tests from outside", f"pytest {pytest.__version__}")
"""What is of no suite, and the tests that run suites elsewhere: that one of them fails or is skipped must be seen as well."""


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: waits for time-outs; `make test` leaves these out, `make conformance` does not")
    config.addinivalue_line("markers", "browser: needs a Chromium; `make test` leaves these out, `make conformance` does not")
    config.addinivalue_line("markers", "spark: needs Spark and a JVM; `make test` leaves these out, `make conformance` does not")
    config.addinivalue_line("markers", "jdbc: needs a JVM; `make test` leaves these out, `make conformance` does not")
    config.addinivalue_line("markers", "go: needs Go; `make test` leaves these out, `make conformance` does not")
    config.addinivalue_line("markers", "node: needs Node; `make test` leaves these out, `make conformance` does not")
    config.addinivalue_line("markers", "superset: needs Apache Superset; `make test` leaves these out, `make conformance` does not")


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not binary().exists():
        pytest.exit(f"there is no server at {binary()}: build it, or set TIDEWATER_BIN", returncode=2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """The tests of a module that says `SUITE = (name, version)` are a suite's cases. Suites that run elsewhere record their own."""
    report = yield
    if suite := getattr(item.module, "SUITE", None):
        results.suite(*suite).reports(item.nodeid.partition("::")[2], report)
    else:
        results.suite(*OTHERS).reports(item.nodeid.removeprefix(known_bugs.FOLDER), report)
    return report


def part_of(config) -> str:
    """What pytest was told, unless it runs all tests of this folder."""
    is_whole = any(pathlib.Path(argument).resolve() == HERE for argument in config.args)
    return "" if is_whole and not config.option.markexpr and not config.option.keyword else " ".join(config.invocation_params.args)


def pytest_sessionfinish(session):
    if not session.config.option.collectonly:
        known_bugs.record(session.config.pluginmanager.get_plugin("terminalreporter").stats)
    program = subprocess.run([binary(), "--version"], capture_output=True, text=True).stdout if binary().exists() else ""
    results.write(program.strip(), part_of(session.config))


def pytest_terminal_summary(terminalreporter):
    """A check that this machine does not allow is no check: it is told, also with -q."""
    reasons = {}
    for report in terminalreporter.stats.get("skipped", []):
        _, _, reason = report.longrepr
        if "NOT CHECKED" in reason:
            reasons.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    for reason, tests in reasons.items():
        others = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
        terminalreporter.write_line(f"{tests[0]}{others}: {reason}", yellow=True, bold=True)


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


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    """Other engines by their names; each is started when a test first asks for it."""
    started = {}

    def engine(name: str):
        if name not in started:
            started[name] = ENGINES[name](tmp_path_factory.mktemp(name))
        return started[name]

    yield engine
    for engine in started.values():
        engine.close()


@pytest.fixture
def table_name(request):
    """A name of the test's own."""
    return "t_" + "".join(c if c.isalnum() else "_" for c in request.node.name).lower()[:60]
