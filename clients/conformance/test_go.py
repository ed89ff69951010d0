"""Do Go programs get along? arrow-go's Flight SQL client, its driver for database/sql, and what Grafana's data source sends."""

import os
import pathlib
import re
import shutil

import pytest

from harness import cases, programs, results
from harness.secured import secured

pytestmark = [pytest.mark.slow, pytest.mark.go]

SOURCE = pathlib.Path(__file__).parent / "go"
FOLDER = os.environ.get("TIDEWATER_GO_PROGRAMS")
NOT_BUILT = "TIDEWATER_GO_PROGRAMS is not set: `go.sh` builds the programs"


def version(folder: pathlib.Path, module: str) -> str:
    (found,) = re.findall(rf"{re.escape(module)} (\S+)", (folder / "go.mod").read_text())
    return found


ARROW_GO = version(SOURCE, "github.com/apache/arrow-go/v18")
ARROW_12 = version(SOURCE / "grafana", "github.com/apache/arrow/go/v12")
SUITES = {
    "flightsql": ("arrow-go flightsql.Client", ARROW_GO),
    "driver": ("arrow-go driver for database/sql", ARROW_GO),
    "grafana": ("Grafana data source influxdata-flightsql-datasource, as 1.1.1 asks", f"arrow-go {ARROW_12}"),
}
# Each suite's own cases, beside those of the files.
LEAST = {"flightsql": 60, "driver": 30, "grafana": 20}
ROUNDS = {"flightsql": 2, "driver": 1, "grafana": 1}


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    with secured(tmp_path_factory.mktemp("secure")) as server:
        yield server


@pytest.mark.parametrize("program", SUITES)
def test_suite(server, secure, program):
    if not FOLDER:
        results.not_run(*SUITES[program], NOT_BUILT)
        pytest.skip(f"NOT CHECKED: {NOT_BUILT}")
    least = LEAST[program] + ROUNDS[program] * len(cases.load())
    command = [pathlib.Path(FOLDER) / program, *programs.arguments(server, secure)]
    if program == "grafana":
        (settings,) = re.findall(r"jsonData: (.+)", programs.recipe(server, "yaml"))
        command += ["-settings", settings]
    programs.run(command, results.suite(*SUITES[program], flows=True), least)


def test_recipe(server, tmp_path):
    """The program of the page of clients, in a module of its own."""
    if not FOLDER:
        pytest.skip(f"NOT CHECKED: {NOT_BUILT}")
    for name in ("go.mod", "go.sum"):
        shutil.copy(SOURCE / name, tmp_path)
    (tmp_path / "main.go").write_text(programs.recipe(server, "go"))
    assert programs.printed([pathlib.Path(FOLDER) / "go", "run", "."], cwd=tmp_path) == "a\n"
