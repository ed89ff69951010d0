"""Does the server pass the ADBC validation suite? A local copy of adbc-drivers/validation, with our quirks, in a Python of its own."""

import os
import pathlib
import re
import subprocess
import tomllib
import xml.etree.ElementTree

import pytest

from harness import results

pytestmark = pytest.mark.slow

NAME = "ADBC validation suite"
FOLDER = pathlib.Path(__file__).parent / "adbc_validation"
COPY, PYTHON = "TIDEWATER_ADBC_VALIDATION", "TIDEWATER_ADBC_VALIDATION_PYTHON"
MISSING = {COPY: "no copy of adbc-drivers/validation: make conformance ADBC_VALIDATION=DIR", PYTHON: "no Python 3.13 or newer for it"}
LIMIT_S = 600
LEAST = 320
"""Of 102 cases and 66 functions, each case with the functions that it fits."""

WHY_SKIPPED = {
    "test_get_objects_constraints_check": "there are no CHECK constraints",
    "test_get_objects_constraints_foreign": "there are no foreign keys",
    "test_get_objects_constraints_primary": "the driver asks for no keys in adbc_get_objects",
    "test_get_objects_constraints_unique": "the primary key is the only constraint",
    "test_get_statistics": "the driver has no statistics",
    "test_not_null": "the driver tells of no column whether it may be NULL, in adbc_get_objects",
    "test_temporary": "there are no temporary tables",
    "test_transaction_toggle": "there are no transactions: each statement is one",
}
"""Where the suite only says that it left a test out, by our quirks."""


def version(copy: pathlib.Path) -> str:
    with (copy / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["version"]


def command(python: str, report: pathlib.Path) -> list:
    return [python, "-m", "pytest", "-q", "-c", FOLDER / "pytest.ini", "--rootdir", FOLDER, "--junitxml", report, FOLDER / "published.py"]


def record(report: pathlib.Path, suite: results.Suite):
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name = case.get("name").replace("tidewater:current", "").replace("[:", "[").removesuffix("[]")
        if (failed := case.find("failure")) is None:
            failed = case.find("error")
        skipped = case.find("skipped")
        if failed is not None:
            suite.fails(name, " ".join(failed.get("message", "").split())[:300])
        elif skipped is not None:
            suite.skips(name, WHY_SKIPPED.get(re.match(r"\w+", name)[0], skipped.get("message")))
        else:
            suite.passes(name)


def test_the_published_suite(server, tmp_path):
    for variable, why in MISSING.items():
        if not os.environ.get(variable):
            results.not_run(NAME, "adbc-drivers/validation", why)
            pytest.skip(f"NOT CHECKED: {why}")
    copy, report = pathlib.Path(os.environ[COPY]).resolve(), tmp_path / "report.xml"
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "TIDEWATER_URI": f"grpc://{server.grpc}"}
    ended = subprocess.run(command(os.environ[PYTHON], report), env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    assert report.exists(), ended.stdout[-4000:] + ended.stderr[-4000:]
    suite = results.suite(NAME, version(copy))
    record(report, suite)
    suite.skips("test_rows_affected: its UPDATE", "rows are events and do not change: an INSERT in its place")
    assert not suite.failed, f"{len(suite.failed)} of {suite.n_cases} failed:\n" + "\n".join(
        f"{case}: {why}" for case, why in suite.failed.items()
    )
    assert suite.n_cases >= LEAST, f"only {suite.n_cases} cases ran"
    assert ended.returncode == 0, ended.stdout[-4000:]
