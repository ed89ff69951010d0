"""How does a program ask? A connection that takes statements, parameters, deadlines and whole frames, from any thread."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import adbc_driver_manager.dbapi
from adbc_driver_flightsql import ConnectionOptions

from ..connection import Connection
from ..errors import InvalidRequestError
from . import parameters
from .driver import Token, min_commit, open_adbc, our_errors, set_session, timeouts
from .result import Result

MODES = ("append", "create", "replace", "create_append")


def connect(url: str | Connection | None = None, **settings: Any) -> Client:
    """A client of the server at this URL (`tidewater://user:password@host:8815/schema?tls=on`), or that of the environment
    (TIDEWATER_SERVER and so on). Settings replace fields of `Connection`: `connect("127.0.0.1:8815", token="…")`.
    """
    found = Connection.from_env() if url is None else Connection.parse(url)
    return Client(dataclasses.replace(found, **settings))


class Client:
    """An open connection. Statements of several threads may run at once on it; settings are those of all of them."""

    def __init__(self, connection: str | Connection):
        self.connection = Connection.parse(connection)
        with our_errors():
            database, opened = open_adbc(self.connection)
        self._dbapi = adbc_driver_manager.dbapi.Connection(database, opened, autocommit=True)

    def query(
        self,
        sql: str,
        params: Sequence[Any] | None = None,
        *,
        wait_for: Token | Iterable[Token] | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """Runs a statement with values for its `?` or `$1`.

        `wait_for` is what `flush()` of a producer returned: the answer has its rows. After `timeout_s` seconds it is cancelled and a
        `TimedOutError` is raised, here or where the rows are read.
        """
        return self._run(self._cursor(wait_for, timeout_s), sql, params)

    def execute(
        self,
        sql: str,
        params: Sequence[Any] | None = None,
        *,
        wait_for: Token | Iterable[Token] | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Runs a statement that changes something, and says how many rows: 0 for CREATE, DROP and the like."""
        with self.query(sql, params, wait_for=wait_for, timeout_s=timeout_s) as result:
            return result.affected_rows or 0

    def execute_many(self, sql: str, rows: Any, *, timeout_s: float | None = None) -> int:
        """Runs a statement once for each row of parameters, all or none: lists of values, or a frame. How many rows it changed."""
        data = rows if parameters.is_arrow(rows) else list(rows)
        if not parameters.is_arrow(data) and not data:
            return 0
        bound = data if parameters.is_arrow(data) else parameters.bound(data)
        with self._cursor(None, timeout_s) as cursor, our_errors():
            cursor.executemany(sql, bound)
            return max(cursor.rowcount, 0)

    def bulk_insert(
        self, table: str, frame: Any, *, mode: str = "append", schema: str | None = None, timeout_s: float | None = None
    ) -> int:
        """Inserts a frame of pandas, Polars or pyarrow, anything else that is Arrow data, or dicts: all rows or none. Returns how many.

        `mode` is "append" (the table is there), "create" (it is not), "create_append" (either) or "replace" (what was there goes).
        For rows that keep coming there is `tidewater.Producer`, which may send them again without storing them twice.
        """
        if mode not in MODES:
            raise InvalidRequestError(f"there is no mode '{mode}'; there are {', '.join(MODES)}")
        data = parameters.framed(frame, mode == "append")
        with self._cursor(None, timeout_s) as cursor, our_errors():
            return int(cursor.adbc_ingest(table, data, mode=mode, db_schema_name=schema))  # type: ignore[arg-type]

    def set(self, **settings: Any) -> None:
        """Changes the session's settings: schema, timezone, statement_timeout_ms, max_rows, types; None takes one back."""
        with our_errors():
            set_session(self._dbapi.adbc_connection, settings)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the session, by name, as the server has them."""
        with our_errors():
            text = self._dbapi.adbc_connection.get_option(ConnectionOptions.OPTION_SESSION_OPTIONS.value)
        return dict(json.loads(text))

    def cancel(self) -> None:
        """Stops whatever runs on this connection."""
        with our_errors():
            self._dbapi.adbc_cancel()

    def close(self) -> None:
        self._dbapi.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _cursor(self, wait_for: Token | Iterable[Token] | None, timeout_s: float | None) -> adbc_driver_manager.dbapi.Cursor:
        options = timeouts(timeout_s) | min_commit(wait_for)
        with our_errors():
            return self._dbapi.cursor(adbc_stmt_kwargs=options)

    def _run(self, cursor: adbc_driver_manager.dbapi.Cursor, sql: str, params: Sequence[Any] | None) -> Result:
        try:
            bound = parameters.bound([params]) if params else None
            with our_errors():
                cursor.execute(sql, bound)
        except BaseException:
            cursor.close()
            raise
        return Result(cursor)
