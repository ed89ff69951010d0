"""What goes over the wire when a client sets something in its session? The actions by hand, with the headers of their answers."""

import dataclasses
import struct

import grpc
import pyarrow.flight

from .flight import content, varint

TIMEOUT_S = 60
SERVICE = "/arrow.flight.protocol.FlightService/"
COOKIE = "arrow_flight_session_id"
INVALID_NAME, INVALID_VALUE = 1, 2
CLOSED = 1


def fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a message in their order."""
    found, at = [], 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
        elif key & 7 == 1:
            value, at = struct.unpack("<q", message[at : at + 8])[0], at + 8
        else:
            assert key & 7 == 2, f"a field of another kind: {key}"
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        found.append((key >> 3, value))
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return value, at


def _option(value) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bool):
        return varint(2 << 3) + varint(int(value))
    if isinstance(value, int):
        return varint(3 << 3 | 1) + struct.pack("<q", value)
    if isinstance(value, float):
        return varint(4 << 3 | 1) + struct.pack("<d", value)
    return content(1, value.encode())


@dataclasses.dataclass
class Answer:
    body: bytes
    headers: dict[str, str]

    @property
    def cookie(self) -> str | None:
        """What the client would send from now on as its cookie."""
        return self.headers.get("set-cookie", "").split(";")[0] or None


class RawClient:
    """A client that shows what it is told to show, and remembers nothing by itself."""

    def __init__(self, server, **headers: str):
        self.server = server
        self.headers = headers

    def action(self, name: str, body: bytes = b"") -> Answer:
        with self.server.channel() as channel:
            do = channel.unary_stream(SERVICE + "DoAction", lambda message: message, lambda message: message)
            call = do(content(1, name.encode()) + content(2, body), metadata=list(self.headers.items()), timeout=TIMEOUT_S)
            bodies = [dict(fields(result)).get(1, b"") for result in call]
            return Answer(bodies[0] if bodies else b"", dict(call.initial_metadata()))

    def set(self, **options) -> tuple[dict[str, int], Answer]:
        """The reason for each option that was refused, and the answer."""
        entries = [content(1, content(1, name.encode()) + content(2, _option(value))) for name, value in options.items()]
        answer = self.action("SetSessionOptions", b"".join(entries))
        entries = [dict(fields(entry)) for _, entry in fields(answer.body)]
        return {entry[1].decode(): dict(fields(entry[2]))[1] for entry in entries}, answer

    def get(self) -> dict[str, str | int]:
        entries = [dict(fields(entry)) for _, entry in fields(self.action("GetSessionOptions").body)]
        values = {entry[1].decode(): fields(entry[2])[0][1] for entry in entries}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

    def close(self) -> Answer:
        return self.action("CloseSession")

    def rows(self, sql: str) -> list[dict]:
        """Asks through pyarrow with the same headers."""
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        options = pyarrow.flight.FlightCallOptions(headers=headers, timeout=TIMEOUT_S)
        with pyarrow.flight.connect(f"grpc://{self.server.grpc}") as client:
            info = client.get_flight_info(pyarrow.flight.FlightDescriptor.for_command(sql.encode()), options)
            return client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist()

    def handshake(self) -> str:
        """The bearer that the server gives, as a header."""
        with self.server.channel() as channel:
            do = channel.stream_stream(SERVICE + "Handshake", lambda message: message, lambda message: message)
            call = do(iter(()), metadata=list(self.headers.items()), timeout=TIMEOUT_S)
            list(call)
            return dict(call.initial_metadata())["authorization"]


def code_of(error) -> str:
    return error.value.code().name
