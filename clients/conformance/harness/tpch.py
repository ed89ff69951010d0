"""What are TPC-H's tables, queries and answers? The data is generated; queries and answers come with the engine's files."""

import datetime
import decimal
import pathlib
import subprocess
import sys
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from . import compare, slt

TABLES = ("nation", "region", "part", "supplier", "partsupp", "customer", "orders", "lineitem")
ANSWERED_SCALE = 0.1
"""The scale factor of the published answers."""
FLOAT_DIGITS = 12
"""Behind the point, of floating-point numbers in the published answers."""
GENERATE_TIMEOUT_S = 120


class Query(NamedTuple):
    name: str
    sql: str
    answer: list[str]


def generate(scale: float, folder: pathlib.Path) -> dict[str, pa.Table]:
    """The eight tables by name."""
    program = pathlib.Path(sys.executable).with_name("tpchgen-cli")
    command = [program, "parquet", "-s", str(scale), "--output-dir", folder]
    subprocess.run(command, check=True, capture_output=True, timeout=GENERATE_TIMEOUT_S)
    return {name: pq.read_table(folder / f"{name}.parquet") for name in TABLES}


def queries() -> list[Query]:
    """Q1 to Q22, with the parameters of the specification's validation run."""
    folder = slt.files() / "tpch/answers"
    return [_read(f"q{i}", (folder / f"q{i}.slt.part").read_text()) for i in range(1, 23)]


def _read(name: str, text: str) -> Query:
    """The one record of a file: a line `query …`, the statement, `----`, the rows."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    begin = next(i for i, line in enumerate(lines) if line.startswith("query "))
    middle = lines.index("----")
    return Query(name, "\n".join(lines[begin + 1 : middle]).rstrip().rstrip(";"), [line for line in lines[middle + 1 :] if line])


def printed(table: pa.Table) -> list[str]:
    """Rows as the published answers print them."""
    return [" ".join(map(_cell, row)) for row in compare.rows_of(table)]


def _cell(value) -> str:
    match value:
        case decimal.Decimal():
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case float():
            return _cell(round(decimal.Decimal(repr(value)), FLOAT_DIGITS))
        case datetime.date():
            return value.isoformat()
    return str(value)


def as_ours(ours: pa.Table, theirs: pa.Table) -> pa.Table:
    """`theirs` with our names of columns that the query does not name, and our values where they differ by less than our last digit.

    An average or quotient of decimals is a decimal here and a double in DuckDB. Both are in the order that the query asks for.
    """
    for i, (our, their) in enumerate(zip(ours.schema, theirs.schema)):
        if not (pa.types.is_decimal(our.type) and pa.types.is_floating(their.type)) or ours.num_rows != theirs.num_rows:
            continue
        last_digit = 10.0**-our.type.scale
        pairs = zip(ours.column(i).to_pylist(), theirs.column(i).to_pylist(), strict=True)
        if all(a is b is None or (a is not None and b is not None and abs(float(a) - b) <= last_digit) for a, b in pairs):
            theirs = theirs.set_column(i, their.name, ours.column(i))
    if theirs.num_columns != ours.num_columns:
        return theirs
    return theirs.rename_columns([our if "(" in their else their for our, their in zip(ours.column_names, theirs.column_names)])
