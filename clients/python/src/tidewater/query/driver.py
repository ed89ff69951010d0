"""How is ADBC's Flight SQL driver told what we know of a server, and what do its errors mean?"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import adbc_driver_flightsql
import adbc_driver_manager
import adbc_driver_manager.dbapi
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions

from ..connection import MAX_MESSAGE_BYTES, SESSION_OPTIONS, Connection, refuse_unknown
from ..errors import Error, InvalidRequestError, details_in, error_of

Token = bytes | str
"""What an ingest call returned: at which point of the log the rows are. As bytes, or as the text that HTTP has for it."""

_MIN_COMMIT = f"{ConnectionOptions.RPC_CALL_HEADER_PREFIX.value}x-tidewater-min-commit"
_TIMEOUTS = (ConnectionOptions.TIMEOUT_QUERY, ConnectionOptions.TIMEOUT_FETCH, ConnectionOptions.TIMEOUT_UPDATE)
# "NOT_FOUND: [FlightSQL] table 'x' not found; … (TW-1010) (NotFound; Prepare)", and so from each Arrow library that passes it on.
_TEXT = re.compile(r"\[Flight ?SQL\] (?P<message>.*) \((?P<status>[A-Z][A-Za-z]+); (?P<call>[^()]*)\)", re.DOTALL)
_STATUS_OF_ADBC = {
    adbc_driver_manager.AdbcStatusCode.NOT_IMPLEMENTED: "UNIMPLEMENTED",
    adbc_driver_manager.AdbcStatusCode.NOT_FOUND: "NOT_FOUND",
    adbc_driver_manager.AdbcStatusCode.ALREADY_EXISTS: "ALREADY_EXISTS",
    adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT: "INVALID_ARGUMENT",
    adbc_driver_manager.AdbcStatusCode.INVALID_STATE: "FAILED_PRECONDITION",
    adbc_driver_manager.AdbcStatusCode.INVALID_DATA: "INVALID_ARGUMENT",
    adbc_driver_manager.AdbcStatusCode.INTEGRITY: "INVALID_ARGUMENT",
    adbc_driver_manager.AdbcStatusCode.INTERNAL: "INTERNAL",
    adbc_driver_manager.AdbcStatusCode.IO: "UNAVAILABLE",
    adbc_driver_manager.AdbcStatusCode.CANCELLED: "CANCELLED",
    adbc_driver_manager.AdbcStatusCode.TIMEOUT: "DEADLINE_EXCEEDED",
    adbc_driver_manager.AdbcStatusCode.UNAUTHENTICATED: "UNAUTHENTICATED",
    adbc_driver_manager.AdbcStatusCode.UNAUTHORIZED: "PERMISSION_DENIED",
}


def open_adbc(connection: Connection) -> tuple[adbc_driver_manager.AdbcDatabase, adbc_driver_manager.AdbcConnection]:
    """A database and a connection of ADBC, to be closed by the caller, in the session that the URL describes."""
    options = dict(connection.options)
    timeout = options.pop("timeout", None)
    settings = {name: options.pop(name) for name in SESSION_OPTIONS if name in options}
    refuse_unknown(options)
    if connection.schema != "public":
        settings.setdefault("schema", connection.schema)
    database = adbc_driver_flightsql.connect(connection.flight_url, _database_options(connection, timeout))
    try:
        opened = adbc_driver_manager.AdbcConnection(database)
    except BaseException:
        database.close()
        raise
    try:
        set_session(opened, settings)
    except BaseException:
        opened.close()
        database.close()
        raise
    return database, opened


def _database_options(connection: Connection, timeout: str | None) -> dict[str, str]:
    options = {
        # Settings of a session are kept by a cookie where nobody logs in.
        DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: "true",
        DatabaseOptions.WITH_MAX_MSG_SIZE.value: str(MAX_MESSAGE_BYTES),
    }
    if connection.token is not None:
        options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {connection.token}"
    elif connection.user is not None:
        options |= {"username": connection.user, "password": connection.password or ""}
    pems = (
        ("ca", DatabaseOptions.TLS_ROOT_CERTS),
        ("certificate", DatabaseOptions.MTLS_CERT_CHAIN),
        ("key", DatabaseOptions.MTLS_PRIVATE_KEY),
    )
    options |= {option.value: pem.decode() for name, option in pems if (pem := connection.pem(name)) is not None}
    return options | timeouts(timeout)


def timeouts(seconds: float | str | None) -> dict[str, str]:
    """Options that end a statement, and each call of it, after so many seconds."""
    if seconds is None:
        return {}
    try:
        value = float(seconds)
    except ValueError:
        raise InvalidRequestError(f"timeout={seconds} is no number of seconds") from None
    if value <= 0:
        raise InvalidRequestError(f"a timeout is more than 0 seconds, not {seconds}")
    return {option.value: str(value) for option in _TIMEOUTS}


def min_commit(wait_for: Token | Iterable[Token] | None) -> dict[str, str]:
    """The header with which a query waits until it sees what these tokens stand for."""
    if wait_for is None:
        return {}
    tokens = [wait_for] if isinstance(wait_for, bytes | str) else list(wait_for)
    return {_MIN_COMMIT: ",".join(base64.b64encode(one).decode() if isinstance(one, bytes) else one for one in tokens)} if tokens else {}


def set_session(opened: adbc_driver_manager.AdbcConnection, settings: dict[str, Any]) -> None:
    """Sets options of the session, or takes them back if they are None."""
    for name, value in settings.items():
        if name not in SESSION_OPTIONS:
            raise InvalidRequestError(f"'{name}' is no setting of a session; there are {', '.join(SESSION_OPTIONS)}")
        if value is None:
            opened.set_options(**{f"{ConnectionOptions.OPTION_ERASE_SESSION_OPTION_PREFIX.value}{name}": ""})
        else:
            opened.set_options(**{f"{ConnectionOptions.OPTION_SESSION_OPTION_PREFIX.value}{name}": str(value)})


@contextlib.contextmanager
def our_errors() -> Iterator[None]:
    """Errors of ADBC, and those that an Arrow library hands on from it, become ours."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        translated = of_adbc(error)
        if translated is None:
            raise
        raise translated from error


def of_adbc(error: Exception) -> Error | None:
    """Our error for one of ADBC's; None if it is none."""
    text = str(error)
    found = _TEXT.search(text)
    status = _status_of_go(found["status"]) if found else None
    if isinstance(error, adbc_driver_manager.Error):
        status = status or _STATUS_OF_ADBC.get(error.status_code, "UNKNOWN")
        details = [
            detail
            for key, value in error.details
            if key in (b"grpc-status-details-bin", "grpc-status-details-bin")
            for detail in details_in(value.encode() if isinstance(value, str) else value)
        ]
        return error_of(status, found["message"] if found else text, details)
    return error_of(status, found["message"]) if found and status else None


def _status_of_go(name: str) -> str:
    """`InvalidArgument` is INVALID_ARGUMENT, and Go's `Canceled` CANCELLED."""
    return "CANCELLED" if name == "Canceled" else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
