"""How is an Arrow column written as text? Types as pyarrow prints them, and values as the cases of `cases/` write them."""

import decimal
import json
import re

import pyarrow as pa
import pyarrow.compute as pc

INNER = re.compile(r"(\w+)<(.*)>(?:\[(\d+)\])?")
MADE_OF = {
    "list": pa.list_,
    "large_list": pa.large_list,
    "fixed_size_list": pa.list_,
    "list_view": pa.list_view,
    "dictionary": lambda value: pa.dictionary(pa.int32(), value),
    "run_end_encoded": lambda value: pa.run_end_encoded(pa.int32(), value),
}


def data_type(text: str) -> pa.DataType:
    """The type of that name."""
    if made := INNER.fullmatch(text):
        return _made_of(*made.groups())
    if decimals := re.fullmatch(r"(decimal\d+)\((\d+), (\d+)\)", text):
        return getattr(pa, decimals[1])(int(decimals[2]), int(decimals[3]))
    if instant := re.fullmatch(r"timestamp\[(\w+), (.+)\]", text):
        return pa.timestamp(instant[1], instant[2])
    if fixed := re.fullmatch(r"fixed_size_binary\[(\d+)\]", text):
        return pa.binary(int(fixed[1]))
    return getattr(pa, text)() if text.endswith("_view") else pa.type_for_alias(text)


def _made_of(kind: str, inner: str, size: str | None) -> pa.DataType:
    if kind == "struct":
        return pa.struct([(name, data_type(of)) for name, of in (field.split(": ") for field in inner.split(", ") if field)])
    if kind == "map":
        return pa.map_(*(data_type(of) for of in inner.split(", ")))
    return MADE_OF[kind](data_type(inner), *([int(size)] if size else []))


def array(texts: list[str | None], of: pa.DataType) -> pa.Array:
    """A column of these values."""
    if pa.types.is_run_end_encoded(of):
        return pc.run_end_encode(array(texts, of.value_type))
    if pa.types.is_null(of):
        return pa.nulls(len(texts))
    if pa.types.is_time(of):
        counts = pa.int32() if pa.types.is_time32(of) else pa.int64()
        return pa.array([None if text is None else _units_of_day(text, of.unit) for text in texts], counts).cast(of)
    if pa.types.is_dictionary(of):
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        places = [None if text is None else distinct.index(text) for text in texts]
        return pa.DictionaryArray.from_arrays(pa.array(places, of.index_type), array(distinct, of.value_type))
    if read := _reader(of):
        return pa.array([None if text is None else read(text) for text in texts], of)
    return pa.array(texts, pa.string()).cast(of)


def _units_of_day(text: str, unit: str) -> int:
    """Arrow reads no text as a time, and Python's times have no nanoseconds."""
    hours, minutes, seconds = text.split(":")
    units = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    return int((int(hours) * 3600 + int(minutes) * 60 + decimal.Decimal(seconds)) * units)


def _reader(of: pa.DataType):
    """How a text is read that Arrow does not cast to this type."""
    if pa.types.is_map(of):
        return lambda text: [tuple(pair) for pair in json.loads(text)]
    if pa.types.is_nested(of):
        return json.loads
    if pa.types.is_decimal(of):
        return decimal.Decimal
    if pa.types.is_duration(of):
        return int
    if pa.types.is_floating(of):
        return float
    is_bytes = pa.types.is_binary(of) or pa.types.is_large_binary(of) or pa.types.is_fixed_size_binary(of) or pa.types.is_binary_view(of)
    return bytes.fromhex if is_bytes else None
