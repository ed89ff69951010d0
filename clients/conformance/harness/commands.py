"""What does a Flight SQL client put into a descriptor? The commands by hand, so that any of their fields can be left out, or forged."""

import pyarrow as pa
import pyarrow.flight as flight

from .flight import content, number
from .flight_session import fields

PREFIX = "type.googleapis.com/arrow.flight.protocol.sql."
"""Of the names of messages in an Any."""


def packed(name: str, message: bytes = b"") -> bytes:
    """In a google.protobuf.Any."""
    return content(1, (PREFIX + name).encode()) + content(2, message)


def unpacked(message: bytes) -> dict:
    """The fields of what is in an Any."""
    return dict(fields(dict(fields(message))[2]))


def descriptor(name: str, message: bytes = b"") -> flight.FlightDescriptor:
    return flight.FlightDescriptor.for_command(packed(name, message))


def text(field: int, value: str | None) -> bytes:
    """A field that may be left out, which is something else than an empty text."""
    return b"" if value is None else content(field, value.encode())


def get_tables(catalog=None, schema=None, table=None, types=(), include_schema=False) -> bytes:
    named = text(1, catalog) + text(2, schema) + text(3, table) + b"".join(text(4, one) for one in types)
    return packed("CommandGetTables", named + number(5, int(include_schema)))


def get_sql_info(*ids: int) -> flight.FlightDescriptor:
    return descriptor("CommandGetSqlInfo", b"".join(number(1, one) for one in ids))


def prepare(client: flight.FlightClient, sql: str) -> dict:
    """Field 1 is the handle, 2 the schema of the answer, 3 that of the parameters."""
    (result,) = client.do_action(flight.Action("CreatePreparedStatement", packed("ActionCreatePreparedStatementRequest", text(1, sql))))
    return unpacked(result.body.to_pybytes())


def prepared_query(handle: bytes) -> flight.FlightDescriptor:
    return descriptor("CommandPreparedStatementQuery", content(1, handle))


def answer(client: flight.FlightClient, wanted: flight.FlightDescriptor | bytes) -> pa.Table:
    """The rows of a descriptor, or of a command that has none yet."""
    info = client.get_flight_info(wanted if isinstance(wanted, flight.FlightDescriptor) else flight.FlightDescriptor.for_command(wanted))
    return client.do_get(info.endpoints[0].ticket).read_all()
