"""Do programs, and tools, with the Flight SQL JDBC driver get along? Every flow of `jdbc/`, for each version that `jdbc.sh` has built."""

import base64
import json
import pathlib
import re
import urllib.request

import adbc_driver_flightsql.dbapi
import pytest

from harness import cases, jdbc, programs, results
from harness.pages import DOCS, blocks
from harness.secured import secured
from harness.server import Server
from harness.stubs import admin, admin_grpc

pytestmark = [pytest.mark.slow, pytest.mark.jdbc]

NAME = "JDBC driver"
RECIPE = pathlib.Path(__file__).parent / "jdbc/src/main/java/conformance/Recipe.java"
TIMEOUT_S = 60
ADMIN, READER = "admin's password", "reader's password"
NOT_BUILT = "TIDEWATER_JDBC is not set: clients/conformance/jdbc.sh builds the programs"
VERSIONS = jdbc.versions() or [pytest.param(None, marks=pytest.mark.skip(reason=f"NOT CHECKED: {NOT_BUILT}"))]
# How many cases a suite has.
LEAST = {"connecting": 32, "metadata": 190, "reading": 23, "writing": 23, "parameters": 40, "stopping": 10, "tools": 10}
ZONES = ["UTC", "America/St_Johns", "Pacific/Apia"]


@pytest.fixture(scope="module", autouse=True)
def not_built():
    if not jdbc.versions():
        results.not_run(NAME, "18.3.0", NOT_BUILT)


class Guarded:
    """A server with users and without TLS: the first user, and one who reads `shop`. `token` is the reader's."""

    def __init__(self, folder: pathlib.Path):
        self.server = Server(folder, settings={"auth": "on"}).start()
        self.server.wait_for_log("setup http")
        (code,) = re.findall(r"^setup http://\S+/setup\?code=(\S+)$", self.server.log.read_text(), re.MULTILINE)
        body = json.dumps({"code": code, "name": "admin", "password": ADMIN}).encode()
        url, headers = f"http://{self.server.http}/api/v1/setup", {"Content-Type": "application/json"}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert opener.open(urllib.request.Request(url, body, headers), timeout=TIMEOUT_S).status == 201
        self.token = self._create_reader()
        self._create_tables()

    def _create_reader(self) -> str:
        metadata = [("authorization", "Basic " + base64.b64encode(f"admin:{ADMIN}".encode()).decode())]
        grant = admin.Grant(role="ROLE_READER", tables="shop.*")
        with self.server.channel() as channel:
            stub = admin_grpc.AdminStub(channel)
            stub.CreateUser(admin.CreateUserRequest(name="reader", password=READER, grants=[grant]), metadata=metadata)
            return stub.CreateToken(admin.CreateTokenRequest(user="reader"), metadata=metadata).secret

    def _create_tables(self):
        options = {"username": "admin", "password": ADMIN}
        with adbc_driver_flightsql.dbapi.connect(f"grpc://{self.server.grpc}", options, autocommit=True) as connection:
            with connection.cursor() as cursor:
                cursor.execute("CREATE TABLE shop.orders (id BIGINT)")
                cursor.execute("INSERT INTO shop.orders VALUES (1), (2)")
                cursor.execute("CREATE TABLE secret.plans (id BIGINT)")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    guarded = Guarded(tmp_path_factory.mktemp("guarded"))
    yield guarded
    guarded.server.kill()


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    with secured(tmp_path_factory.mktemp("encrypted")) as encrypted:
        yield encrypted


def check(version: str, outcomes: list[dict], least: int):
    """Records the cases, and fails with those that failed. `least` is how many there are at least."""
    told = f"{version}, the newest that Maven has" if version == jdbc.newest() else version
    suite = results.suite(f"{NAME} {version}", told, flows=True)
    for outcome in outcomes:
        programs.record(suite, **outcome)
    failed = [f"{one['case']}: {one['why']}" for one in outcomes if one["outcome"] == "failed"]
    if failed:
        pytest.fail(f"{len(failed)} of {len(outcomes)} cases:\n" + "\n".join(failed), pytrace=False)
    assert len(outcomes) >= least


@pytest.mark.parametrize("version", VERSIONS)
def test_connecting(server, guarded, encrypted, version, tmp_path):
    settings = {
        "open": server.grpc,
        "guarded": guarded.server.grpc,
        "encrypted": encrypted.server.grpc,
        "password": READER,
        "token": guarded.token,
        "ca": str(encrypted.ca),
        "encrypted_user": encrypted.user,
        "encrypted_password": encrypted.password,
        "encrypted_token": encrypted.token,
    }

    def asked(what: str):
        assert what == "restart"
        for one in (server, guarded.server):
            one.restart()

    check(version, jdbc.run(version, "connecting", settings, tmp_path / "jdbc.log", asked=asked), LEAST["connecting"])


@pytest.mark.parametrize("suite", [suite for suite in LEAST if suite != "connecting"])
@pytest.mark.parametrize("version", VERSIONS)
def test_flows(server, version, suite, tmp_path):
    check(version, jdbc.run(version, suite, {"open": server.grpc}, tmp_path / "jdbc.log"), LEAST[suite])


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("version", VERSIONS)
def test_time_zones(server, version, zone, tmp_path):
    """https://github.com/apache/arrow/issues/36518
    https://github.com/apache/arrow-java/issues/732
    """
    check(version, jdbc.run(version, "zones", {"open": server.grpc}, tmp_path / "jdbc.log", zone=zone), 10)


@pytest.mark.parametrize("version", VERSIONS)
def test_cases(server, version, tmp_path):
    """Those of `cases/`."""
    outcomes = jdbc.run(version, "cases", {"open": server.grpc, "cases": str(cases.FOLDER)}, tmp_path / "jdbc.log")
    check(version, outcomes, len(cases.load()))


def test_the_recipe_is_what_runs():
    """The lines of the documentation, but for the URL, are those of the program that the tools' flows run."""
    (block,) = [block for block in blocks(DOCS / "clients.md") if block.language == "java"]
    _, program, _ = re.split(r"// The recipe (?:begins|ends)\.", RECIPE.read_text())
    url, *shown = [line.strip() for line in block.text.splitlines()]
    assert url.startswith('String url = "jdbc:arrow-flight-sql://127.0.0.1:8815/?useEncryption=false"')
    assert shown == [line.strip() for line in program.splitlines() if line.strip()]
