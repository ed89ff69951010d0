"""How does a program that knows Python's DB-API 2.0 (PEP 249) ask? ADBC's DB-API with our URL; pyarrow makes the values.

Each statement commits by itself: `commit` and `rollback` do nothing. Parameters are `?`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from adbc_driver_manager import AdbcStatusCode
from adbc_driver_manager import dbapi as adbc
from adbc_driver_manager.dbapi import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    DatabaseError,
    DataError,
    Date,
    DateFromTicks,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    Warning,
)

from .connection import Connection as Server
from .errors import InvalidRequestError
from .query.driver import open_adbc
from .query.parameters import bound, is_arrow

__all__ = [
    "BINARY", "DATETIME", "NUMBER", "ROWID", "STRING", "Binary", "Connection", "Cursor", "DataError", "DatabaseError", "Date",
    "DateFromTicks", "Error", "IntegrityError", "InterfaceError", "InternalError", "NotSupportedError", "OperationalError",
    "ProgrammingError", "Time", "TimeFromTicks", "Timestamp", "TimestampFromTicks", "Warning", "apilevel", "connect", "paramstyle",
    "threadsafety",
]  # fmt: skip

apilevel = "2.0"
threadsafety = 1
paramstyle = "qmark"
Binary = bytes


def connect(url: str | Server | None = None, **settings: Any) -> Connection:
    """A connection to the server at this URL, or that of the environment. Settings replace fields of `tidewater.connection.Connection`."""
    found = Server.from_env() if url is None else Server.parse(url)
    database, opened = open_adbc(dataclasses.replace(found, **settings))
    return Connection(database, opened, autocommit=True)


class Cursor(adbc.Cursor):
    """ADBC's, but a statement without rows has no description, and numbers may be as large as a UBIGINT."""

    def execute(self, operation: bytes | str, parameters: Any = None) -> Cursor:
        super().execute(operation, _bound([parameters]) if _are_values(parameters) else parameters)
        return self

    def executemany(self, operation: bytes | str, seq_of_parameters: Any) -> None:
        are_values = seq_of_parameters is not None and not is_arrow(seq_of_parameters)
        rows = list(seq_of_parameters) if are_values else seq_of_parameters
        super().executemany(operation, _bound(rows) if are_values and rows else rows)

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        return super().description or None


def _are_values(parameters: Any) -> bool:
    return not is_arrow(parameters) and bool(parameters)


def _bound(rows: list[Any]) -> Any:
    try:
        return bound(rows)
    except InvalidRequestError as error:
        raise ProgrammingError(str(error), status_code=AdbcStatusCode.INVALID_ARGUMENT) from error


class Connection(adbc.Connection):
    """ADBC's, with our cursors."""

    def cursor(self, *, adbc_stmt_kwargs: Mapping[str, Any] | None = None) -> Cursor:
        cursor = Cursor(self, adbc_stmt_kwargs, dbapi_backend=self._backend)
        self._cursors.add(cursor)
        return cursor
