"""How does a Python program talk to Tidewater? Queries over ADBC, and rows that are stored exactly once.

import tidewater

with tidewater.Producer("readings", "sensor-7", "tidewater://127.0.0.1:8815") as producer:
    producer.send([{"id": 1, "value": 20.5}, {"id": 2, "value": 21.0}])
    token = producer.flush()
with tidewater.connect("tidewater://127.0.0.1:8815") as client:
    print(client.query("SELECT count(*) FROM readings", wait_for=token).rows())
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .connection import Connection as Connection
    from .errors import (
        AccessDeniedError as AccessDeniedError,
        AuthenticationError as AuthenticationError,
        BufferFullError as BufferFullError,
        CancelledError as CancelledError,
        ConflictError as ConflictError,
        DataLossError as DataLossError,
        Error as Error,
        GivenUpError as GivenUpError,
        InternalError as InternalError,
        InvalidRequestError as InvalidRequestError,
        LimitError as LimitError,
        NotFoundError as NotFoundError,
        ProducerStoppedError as ProducerStoppedError,
        RowError as RowError,
        TimedOutError as TimedOutError,
        UnavailableError as UnavailableError,
        UnsupportedError as UnsupportedError,
    )
    from .ingest import (
        AsyncProducer as AsyncProducer,
        BatchResult as BatchResult,
        CommitToken as CommitToken,
        Producer as Producer,
        ProducerOptions as ProducerOptions,
        ReplayResult as ReplayResult,
        Statistics as Statistics,
        replay as replay,
    )
    from .query import (
        AsyncClient as AsyncClient,
        AsyncResult as AsyncResult,
        Client as Client,
        Result as Result,
        connect as connect,
        connect_async as connect_async,
    )

__version__ = "0.1.0"

# Each half is imported when it is first used: a program that writes loads no driver for queries, one that asks no gRPC.
_ERRORS = """AccessDeniedError AuthenticationError BufferFullError CancelledError ConflictError DataLossError Error GivenUpError
    InternalError InvalidRequestError LimitError NotFoundError ProducerStoppedError RowError
    TimedOutError UnavailableError UnsupportedError"""
_MODULES = {
    ".connection": "Connection",
    ".errors": _ERRORS,
    ".ingest": "AsyncProducer BatchResult CommitToken Producer ProducerOptions ReplayResult Statistics replay",
    ".query": "AsyncClient AsyncResult Client Result connect connect_async",
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = ["__version__", *sorted(_WHERE)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
