"""What does Flight SQL look like below its drivers? Its commands by hand, and what comes back as it is on the wire."""

import grpc
import pyarrow as pa
import pyarrow.flight as flight

from .commands import packed
from .flight import content, number
from .flight_session import SERVICE, fields

TIMEOUT_S = 60


def statement(sql: str) -> bytes:
    return packed("CommandStatementQuery", content(1, sql.encode()))


def prepared(handle: bytes) -> bytes:
    return packed("CommandPreparedStatementQuery", content(1, handle))


class Wire:
    """pyarrow's client for calls in an order of our own; a context manager. `headers` go with every call."""

    def __init__(self, server, **headers: str):
        self.server = server
        self.client = flight.connect(f"grpc://{server.grpc}")
        self.options = flight.FlightCallOptions(headers=[(k.encode(), v.encode()) for k, v in headers.items()], timeout=TIMEOUT_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def info(self, command: bytes) -> flight.FlightInfo:
        return self.client.get_flight_info(flight.FlightDescriptor.for_command(command), self.options)

    def schema(self, command: bytes) -> pa.Schema:
        return self.client.get_schema(flight.FlightDescriptor.for_command(command), self.options).schema

    def fetch(self, info: flight.FlightInfo) -> pa.Table:
        """The rows of the only endpoint."""
        (endpoint,) = info.endpoints
        return self.client.do_get(endpoint.ticket, self.options).read_all()

    def answer(self, command: bytes) -> pa.Table:
        """The rows, which have the types that were announced in both ways."""
        info = self.info(command)
        assert self.schema(command) == info.schema
        table = self.fetch(info)
        assert table.schema == info.schema
        return table

    def prepare(self, sql: str) -> dict[int, bytes | int]:
        """The fields of the answer: 1 is the handle, 2 and 3 are the schemas of rows and of parameters."""
        request = packed("ActionCreatePreparedStatementRequest", content(1, sql.encode()))
        (result,) = self.client.do_action(flight.Action("CreatePreparedStatement", request), self.options)
        return dict(fields(dict(fields(result.body.to_pybytes()))[2]))

    def bind(self, handle: bytes, rows: pa.RecordBatch):
        writer, reader = self.client.do_put(flight.FlightDescriptor.for_command(prepared(handle)), rows.schema, self.options)
        with writer:
            writer.write_batch(rows)
            writer.done_writing()
            assert reader.read() is not None


def sent(server, ticket: bytes) -> list[tuple[str, int, pa.Message]]:
    """The messages of an answer: kind, size on the wire, and the message. Taken by a client that takes 4 MiB, gRPC's default."""
    with server.channel() as channel:
        do = channel.unary_stream(SERVICE + "DoGet", lambda message: message, lambda message: message)
        found = []
        for data in do(content(1, ticket), timeout=TIMEOUT_S):
            parts = dict(fields(data))
            header = parts[2]
            padding = -len(header) % 8
            text = b"\xff\xff\xff\xff" + (len(header) + padding).to_bytes(4, "little") + header + bytes(padding) + parts.get(1000, b"")
            message = pa.ipc.read_message(pa.py_buffer(text))
            found.append((message.type, len(data), message))
        return found


def polled(server, command: bytes) -> dict[int, bytes | int]:
    """The fields of a PollInfo: 1 is the FlightInfo, 2 the descriptor to ask again with, 3 the progress."""
    with server.channel() as channel:
        poll = channel.unary_unary(SERVICE + "PollFlightInfo", lambda message: message, lambda message: message)
        return dict(fields(poll(number(1, 2) + content(2, command), timeout=TIMEOUT_S)))


def handshake(server, *messages: bytes, **headers: str) -> tuple[str | None, list[bytes]]:
    """The `authorization` of the answer's first headers, and the payloads. The messages are payloads of requests."""
    with server.channel() as channel:
        do = channel.stream_stream(SERVICE + "Handshake", lambda message: message, lambda message: message)
        call = do(iter([content(2, payload) for payload in messages]), metadata=list(headers.items()), timeout=TIMEOUT_S)
        payloads = [dict(fields(answer)).get(2, b"") for answer in call]
        return dict(call.initial_metadata()).get("authorization"), payloads


def trailers_of(error: grpc.RpcError) -> int:
    """Bytes of what came behind a refused call, as HTTP/2 counts them: 32 more for each."""
    return sum(len(name) + len(value) + 32 for name, value in error.trailing_metadata()) + len(error.details())
