"""Does flightsql-dbapi get along, which Superset has used so far? Every flow of `dialect_suite/flightsql_dbapi.py`, in a Python of its own."""

import os

import pytest

from harness import cases, results
from harness.dialects import FOLDER, recorded, run, version_of

NAME = "flightsql-dbapi"
PYTHON = os.environ.get("TIDEWATER_DBAPI_PYTHON")
NOT_THERE = "TIDEWATER_DBAPI_PYTHON is not set: `clients/conformance/venv.sh dbapi` prints it"


def test_flows(server, tmp_path):
    if not PYTHON:
        results.not_run(NAME, "0.2.2", NOT_THERE)
        pytest.skip(f"NOT CHECKED: {NOT_THERE}")
    told = run(PYTHON, tmp_path, server, FOLDER / "flightsql_dbapi.py")
    failed = recorded(NAME, version_of(PYTHON, "flightsql-dbapi"), told)
    assert not failed and len(told) >= 20 + len(cases.load()), failed or (tmp_path / "output").read_text()[-4000:]
