"""When are two answers the same? One rule: the same rows as a multiset, numbers to 1e-9, instants in UTC."""

import datetime
import decimal
import functools
import math

TOLERANCE = 1e-9
EPOCH = datetime.datetime(1970, 1, 1)


def normal(value):
    """Numbers as int or float, times as microseconds since 1970 UTC, bytes and text as they are."""
    match value:
        case bool() | None | str() | bytes() | int():
            return value
        case decimal.Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case float():
            return int(value) if value.is_integer() else value
        case datetime.datetime():
            if value.tzinfo is not None:
                value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
            return ("time", (value - EPOCH) // datetime.timedelta(microseconds=1))
        case datetime.date():
            return ("date", value.toordinal())
        case datetime.timedelta():
            return ("interval", value // datetime.timedelta(microseconds=1))
        case datetime.time():
            return ("time of day", value.isoformat())
        case dict():
            return tuple((key, normal(item)) for key, item in value.items())
        case list() | tuple():
            return tuple(normal(item) for item in value)
    raise TypeError(f"no rule to compare {type(value)}")


def order(value):
    """A total order over mixed values: NULL first; floats are rounded so that noise does not move a row."""
    match value:
        case None:
            return (0, 0)
        case bool():
            return (1, value)
        case int() | float() if isinstance(value, float) and math.isnan(value):
            return (3, 0)
        case int() | float():
            return (2, float(f"{value:.7g}") if isinstance(value, float) else value)
        case str():
            return (4, value)
        case bytes():
            return (5, value)
        case tuple():
            return (6, tuple(order(item) for item in value))
    raise TypeError(f"no order for {type(value)}")


def same(left, right) -> bool:
    if isinstance(left, float) or isinstance(right, float):
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            return False
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


def difference(ours, theirs) -> str | None:
    """What differs between two pyarrow tables; None if nothing."""
    if ours.num_columns != theirs.num_columns:
        return f"{ours.num_columns} columns {ours.column_names} for {theirs.num_columns} {theirs.column_names}"
    if [name.lower() for name in ours.column_names] != [name.lower() for name in theirs.column_names]:
        return f"columns {ours.column_names} for {theirs.column_names}"
    left, right = (sorted(map(normal, rows_of(table)), key=functools.partial(order)) for table in (ours, theirs))
    if len(left) != len(right):
        return f"{len(left)} rows for {len(right)}; ours begins {left[:3]}, the other {right[:3]}"
    for i, (a, b) in enumerate(zip(left, right)):
        if not same(a, b):
            return f"row {i} of {len(left)} in order: ours {a}, the other {b}"
    return None


def rows_of(table) -> list[tuple]:
    """By position, because column names may repeat."""
    columns = [column.to_pylist() for column in table.columns]
    return list(zip(*columns))
