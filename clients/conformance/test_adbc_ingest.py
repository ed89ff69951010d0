"""What becomes of every Arrow type, and of every mode, of a bulk ingest over ADBC? The cases of `ingest_cases/`."""

import importlib.metadata
import json
import pathlib
import re

import adbc_driver_manager
import pyarrow as pa
import pytest

from harness import arrays, cases

SUITE = ("ADBC Python driver: bulk ingest", importlib.metadata.version("adbc-driver-flightsql"))
FOLDER = pathlib.Path(__file__).parent / "ingest_cases"
TYPES, MODES = (json.loads((FOLDER / f"{name}.json").read_text()) for name in ("types", "modes"))

DATA = pa.table({"id": pa.array([10, 20], pa.int32()), "name": ["a", None]})
TABLES = {
    "not there": None,
    "same columns": "(id INTEGER, name VARCHAR)",
    "another order": "(name VARCHAR, id INTEGER)",
    "another column, nullable": "(id INTEGER, name VARCHAR, more DOUBLE)",
    "another column, required": "(id INTEGER, name VARCHAR, more DOUBLE NOT NULL)",
    "a column less": "(id INTEGER)",
    "wider types": "(id BIGINT, name VARCHAR)",
    "types that do not fit": "(id BIGINT[], name VARCHAR)",
}

FILLED = {"another column, required": "more", "types that do not fit": "name"}
"""The column of the row that is there before, where it is not `id`."""


@pytest.fixture
def cursor(adbc):
    with adbc.cursor() as cursor:
        yield cursor


def fetched(cursor, sql: str) -> pa.Table:
    cursor.execute(sql)
    return cursor.fetch_arrow_table()


@pytest.mark.parametrize("case", TYPES, ids=lambda case: case["name"])
def test_type(cursor, table_name, case):
    column = arrays.array(case["values"], arrays.data_type(case["type"]))
    data = pa.table({"n": list(range(len(column))), "v": column})
    if "error" in case:
        with pytest.raises(adbc_driver_manager.Error, match=case["error"]) as refused:
            cursor.adbc_ingest(table_name, data, mode="create")
        assert refused.value.status_code != adbc_driver_manager.AdbcStatusCode.INTERNAL
        assert cases.texts(fetched(cursor, f"SELECT count(*) FROM system.tables WHERE name = '{table_name}'")) == [["0"]]
        return
    assert cursor.adbc_ingest(table_name, data, mode="create") == len(column)
    back = fetched(cursor, f"SELECT v FROM {table_name} ORDER BY n")
    assert cases.type_name(back.schema.field("v").type) == case.get("stored", cases.type_name(column.type))
    assert [text for (text,) in cases.texts(back)] == case.get("back", case["values"])
    # What came back is taken as it is.
    assert cursor.adbc_ingest(f"{table_name}_again", back, mode="create") == len(column)
    assert cases.texts(fetched(cursor, f"SELECT v FROM {table_name}_again"))[0] == cases.texts(back)[0]


@pytest.fixture
def target(cursor, table_name, request):
    """The table of a case as it is before, with one row; its name, and the rows that it has."""
    case = request.getfixturevalue("case")
    name = f"t{MODES.index(case)}_{table_name}"[:60]
    if case["table"] == "a view":
        cursor.execute(f"CREATE VIEW {name} AS SELECT 1 AS id, 'a' AS name")
    elif columns := TABLES[case["table"]]:
        cursor.execute(f"CREATE TABLE {name} {columns}")
        cursor.execute(f"INSERT INTO {name} ({FILLED.get(case['table'], 'id')}) VALUES ('1')")
    return name, count(cursor, name)


@pytest.mark.parametrize("case", MODES, ids=lambda case: f"{case['mode']}, {case['table']}")
def test_mode(cursor, target, case):
    name, before = target
    if "error" in case:
        with pytest.raises(adbc_driver_manager.Error, match=f"{case.get('contains', '')}.*TW-") as caught:
            cursor.adbc_ingest(name, DATA, mode=case["mode"])
        assert re.fullmatch(case["error"], caught.value.status_code.name), caught.value
        assert count(cursor, name) == before
        return
    assert cursor.adbc_ingest(name, DATA, mode=case["mode"]) == DATA.num_rows
    assert count(cursor, name) == case["rows"]
    assert cases.texts(fetched(cursor, f"SELECT id, name FROM {name} WHERE id >= 10 ORDER BY id")) == [["10", "a"], ["20", None]]
    if case["mode"] == "replace":
        assert fetched(cursor, f"SELECT * FROM {name} LIMIT 0").schema.names == DATA.schema.names


def count(cursor, name: str) -> int | None:
    """Its rows; None if there is no such table."""
    try:
        cursor.execute(f"SELECT count(*) FROM {name}")
    except adbc_driver_manager.Error as error:
        assert error.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND
        return None
    return cursor.fetchone()[0]


def test_catalog_and_schema_are_named(cursor, table_name):
    cursor.adbc_ingest(table_name, DATA, mode="create", catalog_name="tidewater", db_schema_name="elsewhere")
    cursor.adbc_ingest(table_name, DATA, mode="append", db_schema_name="elsewhere")
    assert count(cursor, f"tidewater.elsewhere.{table_name}") == 4
    assert count(cursor, table_name) is None
    with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT.*catalog 'other'"):
        cursor.adbc_ingest(table_name, DATA, mode="create", catalog_name="other")


def test_temporary_tables_are_refused(cursor, table_name):
    with pytest.raises(adbc_driver_manager.NotSupportedError, match="temporary"):
        cursor.adbc_ingest(table_name, DATA, mode="create", temporary=True)
    assert count(cursor, table_name) is None


@pytest.mark.parametrize("name", ["UpperCase", 'quo"te', "per%cent_", "back\\slash", "apos'trophe", "größe-世界", "select", "a.b"])
def test_names_are_taken_as_they_are(cursor, name):
    data = pa.table({name: [1, 2], f"{name}2": ["a", "b"]})
    assert cursor.adbc_ingest(name, data, mode="create") == 2
    quoted = '"' + name.replace('"', '""') + '"'
    assert fetched(cursor, f"SELECT * FROM {quoted} ORDER BY 1").to_pylist() == data.to_pylist()


@pytest.mark.parametrize("name", ["with space", "a,b", "new\nline", "x" * 256, ""])
def test_names_that_files_cannot_have_are_refused(cursor, name):
    with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT"):
        cursor.adbc_ingest("names", pa.table({name: [1]}), mode="create")
    assert count(cursor, "names") is None


@pytest.mark.slow
def test_many_columns(cursor, table_name):
    data = pa.table({f"c{i}": [i, None] for i in range(2_000)})
    assert cursor.adbc_ingest(table_name, data, mode="create") == 2
    assert fetched(cursor, f"SELECT * FROM {table_name} WHERE c0 = 0").to_pylist() == [{f"c{i}": i for i in range(2_000)}]
    with pytest.raises(adbc_driver_manager.Error, match="2000|2,000"):
        cursor.adbc_ingest(f"{table_name}_more", data.append_column("one_more", pa.array([1, 2])), mode="create")


def test_columns_of_one_name_are_refused(cursor, table_name):
    data = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["same", "same"])
    with pytest.raises(adbc_driver_manager.Error, match="INVALID_ARGUMENT.*same"):
        cursor.adbc_ingest(table_name, data, mode="create")
    assert count(cursor, table_name) is None


def test_long_values(cursor, table_name):
    data = pa.table(
        {"n": range(8), "text": ["x" * (1024 << i) for i in range(8)], "bytes": [bytes(range(256)) * (4 << i) for i in range(8)]}
    )
    assert cursor.adbc_ingest(table_name, data, mode="create") == 8
    assert fetched(cursor, f"SELECT * FROM {table_name} ORDER BY n").to_pylist() == data.to_pylist()
