"""Which SQLAlchemy type is which type of the server? Its own ones, and all of them from Arrow types."""

from __future__ import annotations

from typing import Any, Callable

import pyarrow as pa
from sqlalchemy import types


class TINYINT(types.Integer):
    """8 bits, signed."""

    __visit_name__ = "TINYINT"


class UTINYINT(types.Integer):
    """8 bits, unsigned."""

    __visit_name__ = "UTINYINT"


class USMALLINT(types.Integer):
    """16 bits, unsigned."""

    __visit_name__ = "USMALLINT"


class UINTEGER(types.Integer):
    """32 bits, unsigned."""

    __visit_name__ = "UINTEGER"


class UBIGINT(types.Integer):
    """64 bits, unsigned."""

    __visit_name__ = "UBIGINT"


class STRUCT(types.TypeEngine):  # type: ignore[type-arg]
    """A row in a column: `STRUCT({"a": BigInteger(), "b": String()})`. Its values are dicts."""

    __visit_name__ = "STRUCT"

    def __init__(self, fields: dict[str, Any]):
        # Pairs: they are a part of the key under which compiled statements are kept.
        self.fields = tuple((name, types.to_instance(type_)) for name, type_ in dict(fields).items())

    def __repr__(self) -> str:
        return f"STRUCT({dict(self.fields)!r})"

    @property
    def python_type(self) -> type:
        return dict


_SCALARS: list[tuple[Callable[[pa.DataType], bool], Callable[[], Any]]] = [
    (pa.types.is_boolean, types.BOOLEAN),
    (pa.types.is_int8, TINYINT),
    (pa.types.is_int16, types.SMALLINT),
    (pa.types.is_int32, types.INTEGER),
    (pa.types.is_int64, types.BIGINT),
    (pa.types.is_uint8, UTINYINT),
    (pa.types.is_uint16, USMALLINT),
    (pa.types.is_uint32, UINTEGER),
    (pa.types.is_uint64, UBIGINT),
    (pa.types.is_float32, types.REAL),
    # `types.DOUBLE` came with SQLAlchemy 2.
    (pa.types.is_float64, getattr(types, "DOUBLE", types.FLOAT)),
    (pa.types.is_date, types.DATE),
    (pa.types.is_time, types.TIME),
    (pa.types.is_binary, types.VARBINARY),
    (pa.types.is_string, types.VARCHAR),
]


_PRECISION = b"ARROW:FLIGHT:SQL:PRECISION"

# What the server says of text without a length.
_ANY_LENGTH = 65_535


def from_arrow(data_type: pa.DataType) -> Any:
    """The SQLAlchemy type of a column; `NullType` for one that no table can have."""
    for matches, type_ in _SCALARS:
        if matches(data_type):
            return type_()
    if pa.types.is_decimal(data_type):
        return types.DECIMAL(data_type.precision, data_type.scale)
    if pa.types.is_timestamp(data_type):
        return types.TIMESTAMP(timezone=data_type.tz is not None)
    if pa.types.is_list(data_type):
        item, dimensions = data_type.value_type, 1
        while pa.types.is_list(item):
            item, dimensions = item.value_type, dimensions + 1
        return types.ARRAY(from_arrow(item), dimensions=dimensions)
    if pa.types.is_struct(data_type):
        return STRUCT({field.name: from_arrow(field.type) for field in data_type})
    return types.NullType()


def of_column(field: pa.Field) -> Any:
    """As `from_arrow`; text with the length that the column has, which Flight SQL tells in the field's metadata."""
    size = (field.metadata or {}).get(_PRECISION)
    if pa.types.is_string(field.type) and size is not None and int(size) != _ANY_LENGTH:
        return types.VARCHAR(int(size))
    return from_arrow(field.type)
