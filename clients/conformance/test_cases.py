"""Does ADBC see what every client must see? The cases of `cases/`, by statements that the driver prepares."""

import importlib.metadata

import adbc_driver_flightsql.dbapi
import pytest

from harness import cases

SUITE = ("ADBC Python driver: cases", importlib.metadata.version("adbc-driver-flightsql"))

STATUS = {"NOT_FOUND": "NotFound", "INVALID_ARGUMENT": "InvalidArgument", "ALREADY_EXISTS": "AlreadyExists"}


@pytest.mark.parametrize("case", cases.load(), ids=lambda case: case["name"])
def test_case(adbc, case):
    with adbc.cursor() as cursor:
        for statement in case.get("setup", []):
            cursor.execute(statement)
        if error := case.get("error"):
            with pytest.raises(adbc_driver_flightsql.dbapi.Error) as raised:
                answer(cursor, case)
            assert error["contains"] in str(raised.value)
            assert f"({STATUS[error['status']]};" in str(raised.value)
            return
        table = answer(cursor, case)
        if "affected" in case:
            assert cursor.rowcount == case["affected"]
        else:
            assert [[field.name, cases.type_name(field.type)] for field in table.schema] == case["columns"]
            check_rows(table, case)
        if check := case.get("check"):
            cursor.execute(check["sql"])
            check_rows(cursor.fetch_arrow_table(), check)


def answer(cursor, case):
    cursor.execute(case["sql"], case.get("parameters"))
    return cursor.fetch_arrow_table()


def check_rows(table, wanted):
    got = cases.texts(table)
    if wanted.get("order") == "any":
        assert sorted(got, key=repr) == sorted(wanted["rows"], key=repr)
    else:
        assert got == wanted["rows"]
