"""What may a client put on the wire of a Flight bulk append? Messages made by hand, so that they can be forged."""

from collections.abc import Iterable

import grpc
import pyarrow as pa

from .client import OPTIONS, TIMEOUT_S, refused_call

PUT = "/arrow.flight.protocol.FlightService/DoPut"
INGEST = "type.googleapis.com/arrow.flight.protocol.sql.CommandStatementIngest"
COMMAND = 2
FAIL, APPEND = 1, 2


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def content(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def append_to(table: str) -> bytes:
    """The FlightDescriptor of an append to a table that is there."""
    options = content(1, number(1, FAIL) + number(2, APPEND))
    command = content(1, INGEST.encode()) + content(2, options + content(2, table.encode()))
    return number(1, COMMAND) + content(2, command)


def messages(stream: bytes) -> list[tuple[bytes, bytes]]:
    """Header and body of each message of an IPC stream, as they are."""
    found, at = [], 0
    while at < len(stream):
        length = int.from_bytes(stream[at + 4 : at + 8], "little")
        if length == 0:
            break
        header = stream[at + 8 : at + 8 + length]
        body = pa.ipc.read_message(stream[at:]).body
        found.append((header, body.to_pybytes() if body else b""))
        at += 8 + length + len(found[-1][1])
    return found


def bulk_append(address: str, table: str, parts: Iterable[tuple[bytes, bytes]]):
    """Sends these messages as one bulk append, each when it is its turn; raises Refused."""
    target = content(1, append_to(table))
    data = ((b"" if i else target) + content(2, header) + content(1000, body) for i, (header, body) in enumerate(parts))
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        put = channel.stream_stream(PUT, lambda message: message, lambda message: message)
        try:
            return list(put(data, timeout=TIMEOUT_S))
        except grpc.RpcError as error:
            raise refused_call(error) from error
