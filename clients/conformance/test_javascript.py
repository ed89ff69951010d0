"""Do programs for Node get along? Two Flight SQL clients of npm, and the flows that neither has by gRPC and Arrow for JavaScript."""

import json
import os
import pathlib

import pytest

from harness import cases, programs, results
from harness.secured import secured

pytestmark = [pytest.mark.slow, pytest.mark.node]

SOURCE = pathlib.Path(__file__).parent / "javascript"
PACKAGES = os.environ.get("TIDEWATER_NODE_PACKAGES")
NOT_INSTALLED = "TIDEWATER_NODE_PACKAGES is not set: `node.sh` installs the packages"
VERSIONS = json.loads((SOURCE / "package.json").read_text())["dependencies"]
SUITES = {
    "gizmosql": ("@gizmodata/gizmosql-client", VERSIONS["@gizmodata/gizmosql-client"]),
    "lancedb": ("@lancedb/arrow-flight-sql-client", VERSIONS["@lancedb/arrow-flight-sql-client"]),
    "protocol": (
        "JavaScript, what no client has: @grpc/grpc-js and apache-arrow",
        f"{VERSIONS['@grpc/grpc-js']}, {VERSIONS['apache-arrow']}",
    ),
}
# Each suite's own cases, beside those of the files.
LEAST = {"gizmosql": 20, "lancedb": 5, "protocol": 17}


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    with secured(tmp_path_factory.mktemp("secure")) as server:
        yield server


@pytest.mark.parametrize("program", SUITES)
def test_suite(server, secure, program):
    if not PACKAGES:
        results.not_run(*SUITES[program], NOT_INSTALLED)
        pytest.skip(f"NOT CHECKED: {NOT_INSTALLED}")
    environment = {"NODE_PATH": PACKAGES}
    if program == "gizmosql":
        # It trusts whom gRPC trusts, and cannot be told of others; `protocol` tries a server that nobody trusts.
        environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(secure.ca)
    command = ["node", SOURCE / f"{program}.js", *programs.arguments(server, secure)]
    programs.run(command, results.suite(*SUITES[program], flows=True), LEAST[program] + len(cases.load()), environment)


def test_recipe(server, tmp_path):
    """The program of the page of clients."""
    if not PACKAGES:
        pytest.skip(f"NOT CHECKED: {NOT_INSTALLED}")
    program = tmp_path / "recipe.js"
    program.write_text(programs.recipe(server, "javascript"))
    assert programs.printed(["node", program], env={**os.environ, "NODE_PATH": PACKAGES}) == "1n a\n2n b\n"
