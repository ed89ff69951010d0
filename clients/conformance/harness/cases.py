"""Which answers must every client see? The cases of `cases/`, and Arrow values as the texts that they are written in."""

import datetime
import decimal
import json
import math
import pathlib

import pyarrow as pa

FOLDER = pathlib.Path(__file__).parents[1] / "cases"

TYPES = {"float32": "float", "float64": "double", "utf8": "string", "date32": "date32[day]", "timestamp[us, UTC]": "timestamp[us, tz=UTC]"}
"""pyarrow's names where they are others."""


def load() -> list[dict]:
    cases = [case for file in sorted(FOLDER.glob("*.json")) for case in json.loads(file.read_text())]
    names = [case["name"] for case in cases]
    assert len(names) == len(set(names)), "two cases have the same name"
    return cases


def type_name(data_type: pa.DataType) -> str:
    """As the cases name it."""
    if pa.types.is_list(data_type):
        return f"list<{type_name(data_type.value_type)}>"
    names = {theirs: ours for ours, theirs in TYPES.items()}
    return names.get(str(data_type), str(data_type))


def texts(table: pa.Table) -> list[list[str | None]]:
    """Rows of texts."""
    columns = [[text(scalar) for scalar in column] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def text(scalar: pa.Scalar) -> str | None:
    if not scalar.is_valid:
        return None
    if pa.types.is_float32(scalar.type):
        # The shortest text of a 32-bit value is shorter than that of the same value in 64 bits.
        return fraction(float(scalar.cast(pa.string()).as_py()))
    if pa.types.is_time(scalar.type):
        return scalar.as_py().isoformat(timespec="microseconds")
    if pa.types.is_timestamp(scalar.type):
        value = scalar.as_py()
        return (value.astimezone(datetime.timezone.utc) if value.tzinfo else value).replace(tzinfo=None).isoformat(" ", "microseconds")
    if pa.types.is_nested(scalar.type):
        return json.dumps(scalar.as_py(), separators=(",", ":"), ensure_ascii=False)
    match scalar.as_py():
        case bool(value):
            return "true" if value else "false"
        case bytes(value):
            return value.hex()
        case float(value):
            return fraction(value)
        case decimal.Decimal() as value:
            return f"{value:f}"
        case value:
            return str(value)


def fraction(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)
