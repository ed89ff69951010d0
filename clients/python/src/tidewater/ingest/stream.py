"""How does one connection to the server go? Requests go out by a queue; what comes back is handed to whoever opened it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import grpc

from ..errors import Error, of_rpc
from .v1 import ingest_pb2 as pb

_END = object()


class Ended:
    """The server ended the stream, well or with an error."""

    def __init__(self, error: Error | None):
        self.error = error


class Stream:
    """One WriteStream. `on_event` gets each response, and Ended at last, on a thread of the stream's own."""

    def __init__(self, stub: Any, metadata: list[tuple[str, str]], request: pb.Open, on_event: Callable[[Any, Any], None]):
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._on_event = on_event
        self.send(pb.WriteStreamRequest(open=request))
        self._call = stub.WriteStream(iter(self._requests.get, _END), metadata=metadata)
        threading.Thread(target=self._read, name="tidewater-answers", daemon=True).start()

    def send(self, request: pb.WriteStreamRequest) -> None:
        self._requests.put(request)

    def half_close(self) -> None:
        """Nothing more will be sent; answers still come."""
        self._requests.put(_END)

    def cancel(self) -> None:
        self._requests.put(_END)
        self._call.cancel()

    def _read(self) -> None:
        error = None
        try:
            for response in self._call:
                self._on_event(self, response)
        except grpc.RpcError as failure:
            error = of_rpc(failure)
        self._on_event(self, Ended(error))
