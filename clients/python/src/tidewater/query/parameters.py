"""How do Python values become the Arrow rows that are bound to a statement? By pyarrow, or by Polars where that is all there is."""

from __future__ import annotations

import decimal
import importlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InvalidRequestError

_NEEDED = "needs pyarrow or Polars: pip install 'tidewater-client[arrow]' or 'tidewater-client[polars]'"


def has(module: str) -> bool:
    """Is this library here?"""
    return importlib.util.find_spec(module) is not None


def needed(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"{what} {_NEEDED}")


def is_arrow(data: Any) -> bool:
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")


def bound(rows: Sequence[Sequence[Any]]) -> Any:
    """Rows of values for `?`, as Arrow data."""
    if any(isinstance(row, Mapping | str | bytes) or not isinstance(row, Sequence) for row in rows):
        raise InvalidRequestError("parameters go by their place: give a list or tuple of values for ? or $1")
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise InvalidRequestError(f"rows of parameters differ in length: {sorted(widths)}")
    columns = {str(place): [row[place] for row in rows] for place in range(widths.pop() if widths else 0)}
    table = _table(columns, "binding parameters")
    return table if has("pyarrow") else _without_nulls(table, False)


def framed(data: Any, is_append: bool) -> Any:
    """Rows to be inserted as Arrow data: a frame as it is, or a list of dicts."""
    if type(data).__module__.partition(".")[0] == "pandas":
        if not has("pyarrow"):
            raise InvalidRequestError("frames of pandas need pyarrow: pip install 'tidewater-client[pandas]'")
        pyarrow = importlib.import_module("pyarrow")
        return _batches(pyarrow.Table.from_pandas(data, preserve_index=False))
    if type(data).__module__.partition(".")[0] == "polars" and hasattr(data, "select"):
        return _without_nulls(data, is_append)
    if is_arrow(data):
        return _batches(data)
    if isinstance(data, Mapping | str | bytes) or not isinstance(data, Iterable):
        raise InvalidRequestError(f"rows come as a frame, as Arrow data or as a list of dicts, not as {type(data).__name__}")
    rows = list(data)
    if not all(isinstance(row, Mapping) for row in rows):
        raise InvalidRequestError("each row is a dict of column and value")
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = _table({name: [row.get(name) for row in rows] for name in names}, "inserting dicts")
    return table if has("pyarrow") else _without_nulls(table, is_append)


def _table(columns: dict[str, list[Any]], what: str) -> Any:
    if has("pyarrow"):
        pyarrow = importlib.import_module("pyarrow")
        try:
            arrays = [_array(pyarrow, values) for values in columns.values()]
            return pyarrow.RecordBatch.from_arrays(arrays, names=list(columns))
        except (pyarrow.ArrowException, OverflowError, TypeError) as error:
            raise InvalidRequestError(f"these values have no type in Arrow: {error}") from error
    if not has("polars"):
        raise needed(what)
    polars = importlib.import_module("polars")
    try:
        frame = polars.DataFrame(columns, strict=True)
    except (polars.exceptions.PolarsError, OverflowError, TypeError) as error:
        raise InvalidRequestError(f"these values have no type in Arrow: {error}") from error
    return frame


def _without_nulls(frame: Any, is_append: bool) -> Any:
    """The driver reads no columns of type Null from Polars. A column that is not sent is NULL; where it has to be named it is text,
    which is cast to whatever is asked for."""
    polars = importlib.import_module("polars")
    nulls = polars.selectors.by_dtype(polars.Null)
    return frame.select(~nulls) if is_append and len(frame.columns) > 1 else frame.with_columns(nulls.cast(polars.String))


def _array(pyarrow: Any, values: list[Any]) -> Any:
    """Whole numbers are taken as BIGINT; larger ones are UBIGINT. Fractions of both kinds in one column are DOUBLE."""
    if {float, decimal.Decimal} <= {type(value) for value in values}:
        values = [float(value) if isinstance(value, decimal.Decimal) else value for value in values]
    try:
        return pyarrow.array(values)
    except OverflowError:
        return pyarrow.array(values, pyarrow.uint64())


def _batches(data: Any) -> Any:
    """A table of pyarrow without rows has no batches, and would say nothing to the server, not even its columns."""
    if type(data).__module__.partition(".")[0] == "pyarrow" and getattr(data, "num_rows", None) == 0:
        pyarrow = importlib.import_module("pyarrow")
        return pyarrow.RecordBatch.from_pylist([], schema=data.schema)
    return data
