"""How do rows become bytes? Dictionaries are lines of JSON; frames are Arrow IPC, by whichever library is there."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import io
import json
import math
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import Error, InvalidRequestError
from .v1 import ingest_pb2 as pb

Rows = Any
"""A dict, an iterable of dicts, or a frame: pandas, Polars, pyarrow, or any object with `__arrow_c_stream__`."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """What is taken into the buffer or not, as a whole."""

    data: bytes
    n_rows: int
    first_row: int
    """Its place in what was handed over."""
    is_json: bool
    """A line of a batch; otherwise an Arrow stream that is a batch of its own."""


def payload_of(data: bytes, is_json: bool) -> pb.Payload:
    return pb.Payload(json_rows=data) if is_json else pb.Payload(arrow_ipc_stream=data)


def pieces(rows: Rows, max_rows: int, max_bytes: int) -> Iterator[Piece]:
    """Rows one by one, frames in slices of at most so many rows and about so many bytes."""
    if isinstance(rows, Mapping):
        yield Piece(encode_row(rows, 0), 1, 0, True)
    elif is_frame(rows):
        yield from _slices(rows, max_rows, max_bytes)
    elif isinstance(rows, Iterable) and not isinstance(rows, str | bytes):
        for number, row in enumerate(rows):
            yield Piece(encode_row(row, number), 1, number, True)
    else:
        raise InvalidRequestError(f"rows of type {type(rows).__name__} cannot be sent; give a dict, an iterable of dicts, or a frame")


def is_frame(rows: Rows) -> bool:
    return hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__") or _is_pandas(rows)


def encode_row(row: Rows, number: int) -> bytes:
    """A line of JSON without its end."""
    if not isinstance(row, Mapping):
        raise InvalidRequestError(f"row {number} is of type {type(row).__name__}; a row is a dict of values by column")
    try:
        return _ENCODER.encode(dict(row)).encode()
    except (TypeError, ValueError):
        # Infinity and NaN, and what only some column has: looked for column by column.
        try:
            return _ENCODER.encode({_name(name, number): _plain(value, name, number) for name, value in row.items()}).encode()
        except RecursionError:
            raise InvalidRequestError(f"row {number} is nested too deep; no column has so many levels") from None


def _other(value: Any) -> Any:
    """A value that JSON has no form for, as the server reads it."""
    match value:
        case datetime.datetime() | datetime.date() | datetime.time():
            # NaT of pandas is a time that is not equal to itself.
            return value.isoformat() if value == value else None
        case decimal.Decimal() | uuid.UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case enum.Enum():
            return value.value
        case Mapping():
            return dict(value)
    # Scalars and arrays of numpy, whose times would be numbers of nanoseconds where the server reads microseconds.
    match getattr(getattr(value, "dtype", None), "kind", None):
        case "M":
            return _without_nat(sys.modules["numpy"].datetime_as_string(value).tolist())
        case "m":
            raise TypeError(f"a value of type {value.dtype} cannot be sent")
    for method in ("tolist", "item"):
        if callable(found := getattr(value, method, None)):
            return found()
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent")


def _without_nat(times: Any) -> Any:
    if isinstance(times, list):
        return [_without_nat(one) for one in times]
    return None if times == "NaT" else times


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other)


def _name(name: Any, number: int) -> str:
    if isinstance(name, str):
        return _text(name, f"row {number}")
    raise InvalidRequestError(f"row {number} has a column named {name!r}; names are texts")


def _text(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{where}: a text that is no Unicode ({error.reason}); give bytes, or replace what is wrong") from None
    return text


def _plain(value: Any, column: Any, number: int) -> Any:
    match value:
        case None | bool() | int():
            return value
        case str():
            return _text(value, f"row {number}, column '{column}'")
        case float():
            return value if math.isfinite(value) else _NOT_FINITE.get(value, "NaN")
        case Mapping():
            return {_name(name, number): _plain(inner, column, number) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner, column, number) for inner in value]
    try:
        return _plain(_other(value), column, number)
    except TypeError as error:
        raise InvalidRequestError(f"row {number}, column '{column}': {error}; give a number, a text, a time, a list or a dict") from None


_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}


def _is_pandas(rows: Rows) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(rows, pandas.DataFrame)


def _is_polars(rows: Rows) -> bool:
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(rows, polars.DataFrame)


def _has(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def _slices(frame: Rows, max_rows: int, max_bytes: int) -> Iterator[Piece]:
    if _is_polars(frame):
        yield from _of_polars([frame], max_rows, max_bytes)
    elif _has("pyarrow"):
        yield from _of_pyarrow(frame, max_rows, max_bytes)
    elif _is_pandas(frame):
        for number, row in enumerate(frame.to_dict("records")):
            yield Piece(encode_row({name: None if _is_missing(value) else value for name, value in row.items()}, number), 1, number, True)
    elif _has("polars"):
        import polars

        found = polars.from_arrow(frame)
        yield from _of_polars([found if isinstance(found, polars.DataFrame) else found.struct.unnest()], max_rows, max_bytes)
    else:
        raise InvalidRequestError(
            f"a frame of type {type(frame).__name__} needs pyarrow or Polars; install tidewater-client[polars] or tidewater-client[arrow]"
        )


def _is_missing(value: Any) -> bool:
    """NaN, NaT and NA of pandas, which stand for NULL there."""
    try:
        return value is None or bool(value != value) or type(value).__name__ in ("NAType", "NaTType")
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"


def _of_polars(frames: Iterable[Any], max_rows: int, max_bytes: int) -> Iterator[Piece]:
    import polars

    first = 0
    for frame in frames:
        size = _rows_of_slice(frame.height, frame.estimated_size(), max_rows, max_bytes)
        for part in frame.iter_slices(size):
            sink = io.BytesIO()
            # Types that every reader of Arrow knows.
            part.write_ipc_stream(sink, compat_level=polars.CompatLevel.oldest())
            yield Piece(sink.getvalue(), part.height, first, False)
            first += part.height


def _of_pyarrow(frame: Rows, max_rows: int, max_bytes: int) -> Iterator[Piece]:
    import pyarrow

    if _is_pandas(frame):
        # An index that somebody named is a column.
        named = any(name is not None for name in frame.index.names)
        table = pyarrow.Table.from_pandas(frame, preserve_index=named)
        reader = table.replace_schema_metadata(None).to_reader()
    elif hasattr(frame, "__arrow_c_stream__"):
        reader = pyarrow.RecordBatchReader.from_stream(frame)
    else:
        batch = pyarrow.record_batch(frame)
        reader = pyarrow.RecordBatchReader.from_batches(batch.schema, [batch])
    first = 0
    for batch in reader:
        size = _rows_of_slice(batch.num_rows, batch.nbytes, max_rows, max_bytes)
        for start in range(0, batch.num_rows, size):
            part = batch.slice(start, size)
            sink = io.BytesIO()
            with pyarrow.ipc.new_stream(sink, part.schema) as writer:
                writer.write(part)
            yield Piece(sink.getvalue(), part.num_rows, first, False)
            first += part.num_rows


def _rows_of_slice(n_rows: int, n_bytes: int, max_rows: int, max_bytes: int) -> int:
    return max(1, min(max_rows, n_rows * max_bytes // n_bytes if n_bytes else max_rows))


def rows_in(data: bytes, is_json: bool, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Some rows of a batch, as they were sent."""
    wanted = list(numbers)
    if is_json:
        lines = data.split(b"\n")
        return [json.loads(lines[number]) for number in wanted]
    if _has("pyarrow"):
        import pyarrow

        found: list[dict[str, Any]] = pyarrow.ipc.open_stream(data).read_all().take(wanted).to_pylist()
        return found
    if _has("polars"):
        import polars

        found = polars.read_ipc_stream(io.BytesIO(data))[wanted].to_dicts()
        return found
    raise Error("the rejected rows of a frame cannot be shown without pyarrow or polars", status="UNIMPLEMENTED")
